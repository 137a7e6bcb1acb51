"""What is put first on the PYTHONPATH of Ray drivers, in processes of its own as it is there."""

import os
import subprocess
import sys
from pathlib import Path

from agents.executor import driver_leash

GROUP = {"WESTWARD_PLACEMENT_GROUP": "ab" * 18}


def python(code: str, *paths: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60.0,
    )


def test_the_users_own_sitecustomize_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("MINE = 'mine'")
    tell = "import sitecustomize, sys; print(sitecustomize.MINE, 'ray' in sys.modules)"
    done = python(tell, driver_leash.PATH, tmp_path, **GROUP)
    assert (done.stdout, done.stderr) == ("mine False\n", "")


def test_processes_that_never_import_ray_notice_nothing() -> None:
    tell = "import sys; print('ray' in sys.modules, 'westward_capture' in sys.modules)"
    done = python(tell, driver_leash.PATH, **GROUP)
    assert (done.stdout, done.stderr) == ("False False\n", "")


def test_importing_ray_captures_it() -> None:
    tell = """
from ray.util.placement_group import placement_group
import ray
print(placement_group is ray.util.placement_group, placement_group.__module__)
print(placement_group.__code__.co_filename.rsplit("/", 1)[1])
"""
    done = python(tell, driver_leash.PATH, **GROUP)
    assert done.stdout.split() == ["True", "ray.util.placement_group", "westward_capture.py"]


def test_a_ray_that_cannot_be_captured_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("")
    done = python("import ray; print('ran')", driver_leash.PATH, tmp_path, **GROUP)
    assert done.returncode != 0
    assert done.stdout == ""


def test_bundles_are_packed_into_the_reserved_ones() -> None:
    cases: list[tuple[list[dict[str, int]], list[dict[str, int]], list[int] | None]] = [
        ([{"CPU": 1}, {"CPU": 1}], [{"CPU": 2}, {"CPU": 2}], [0, 1]),
        ([{"CPU": 1}, {"GPU": 1}], [{"CPU": 2, "GPU": 1}], [0, 0]),
        ([{"GPU": 1}], [{"CPU": 1}, {"GPU": 1}], [1]),
        ([{"CPU": 2}, {"CPU": 1}], [{"CPU": 2}], None),
        ([{"GPU": 1}], [{"CPU": 1}], None),
    ]
    asked = [(bundles, reserved) for bundles, reserved, _ in cases]
    tell = f"from westward_capture import pack; print([pack(*case) for case in {asked}])"
    done = python(tell, driver_leash.PATH)
    assert done.stdout == f"{[places for _, _, places in cases]}\n", done.stderr


def test_a_command_survives_the_shell_and_exit_codes_tell_of_signals() -> None:
    command = driver_leash.command("127.0.0.1", 7, "a-1", "s", "echo 'two  words' && exit 3")
    echoed = subprocess.run(
        ["/bin/sh", "-c", command.replace("exec ", "printf '%s|' ")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert echoed.stdout.split("|")[-2] == "echo 'two  words' && exit 3"
    assert [driver_leash.exit_code_of(code) for code in (0, 3, 137, 128, 255)] == [
        0,
        3,
        -9,
        128,
        255,
    ]
