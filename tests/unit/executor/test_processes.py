"""Finding and ending processes by their marker."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.executor import processes


def spawn(attempt_id: str, script: str, *, rank: int = 0) -> subprocess.Popen[str]:
    env = {
        "PATH": os.environ["PATH"],
        processes.ATTEMPT_VARIABLE: attempt_id,
        processes.RANK_VARIABLE: str(rank),
    }
    return subprocess.Popen(
        ["bash", "-c", script],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10.0
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def test_all_of_an_attempt_is_found_and_nothing_else() -> None:
    mine = spawn("p-1", "setsid sleep 60 & sleep 60 & echo up; wait")
    other = spawn("p-10", "echo up; exec sleep 60")
    assert (line_of(mine), line_of(other)) == ("up", "up")
    assert soon(lambda: len(processes.find("p-1")) == 3)
    assert [found.pid for found in processes.find("p-10")] == [other.pid]
    assert processes.end("p-1") == []
    assert mine.wait() == -signal.SIGKILL
    assert other.poll() is None
    assert processes.end("p-10") == []
    other.wait()


def test_one_in_the_midst_of_an_exec_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, flags in ((7, 0x400000), (8, 0x400000), (9, processes.PF_KTHREAD)):
        (tmp_path / str(pid)).mkdir()
        stat = f"{pid} (a b) S 1 {pid} {pid} 0 -1 {flags} " + "0 " * 12 + "5 0"
        (tmp_path / str(pid) / "stat").write_text(stat)
        (tmp_path / str(pid) / "environ").touch()
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        (tmp_path / "7" / "environ").write_text("A=1\0WESTWARD_ATTEMPT_ID=p-0\0")

    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setattr(processes.time, "sleep", wait)
    assert [found.pid for found in processes.find("p-0")] == [7]
    # One that has none for good is waited for a little, the kernel's own not at all.
    assert sum(waits) < 0.01
    (tmp_path / "8" / "environ").write_text("B=2\0")
    waits.clear()
    assert [found.pid for found in processes.find("p-0")] == [7]
    assert waits == []


def test_what_drops_its_environment_is_found_by_descent_and_session() -> None:
    child = spawn("p-2", "env -i sleep 60 & env -i setsid sleep 60 & echo up; wait")
    assert line_of(child) == "up"
    assert soon(lambda: len(processes.find("p-2")) == 3)
    assert processes.end("p-2") == []
    child.wait()


def test_one_worker_of_several_on_a_host() -> None:
    first = spawn("p-3", "echo up; exec sleep 60", rank=0)
    second = spawn("p-3", "echo up; exec sleep 60", rank=1)
    assert (line_of(first), line_of(second)) == ("up", "up")
    assert [found.pid for found in processes.find("p-3", rank=1)] == [second.pid]
    assert processes.end("p-3", rank=0) == []
    assert first.wait() == -signal.SIGKILL
    assert second.poll() is None
    processes.end("p-3")
    second.wait()


def test_sigterm_comes_first_and_grace_is_kept() -> None:
    polite = spawn("p-4", "trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done")
    assert line_of(polite) == "up"
    assert processes.end("p-4", grace_s=10.0) == []
    assert polite.wait() == 7

    deaf = spawn("p-5", "trap '' TERM; echo up; while :; do sleep 0.02; done")
    assert line_of(deaf) == "up"
    asked_at = time.monotonic()
    assert processes.end("p-5", grace_s=0.3) == []
    assert 0.3 <= time.monotonic() - asked_at < 3.0
    assert deaf.wait() == -signal.SIGKILL


def test_a_reused_pid_is_spared() -> None:
    innocent = spawn("p-6", "echo up; exec sleep 60")
    assert line_of(innocent) == "up"
    now = processes.read(innocent.pid)
    assert now is not None
    earlier = processes.Process(now.pid, now.started_ticks - 1, now.parent_pid, now.session)
    processes.send(earlier, signal.SIGKILL)
    assert innocent.poll() is None
    processes.send(now, signal.SIGKILL)
    assert innocent.wait() == -signal.SIGKILL


def test_what_may_not_be_signalled_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = spawn("p-8", "echo up; exec sleep 60")
    assert line_of(theirs) == "up"

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(processes, "KILL_WAIT_S", 0.05)
        patch.setattr(signal, "pidfd_send_signal", refused)
        assert [left.pid for left in processes.end("p-8")] == [theirs.pid]
    assert processes.end("p-8") == []
    theirs.wait()


def test_names_with_blanks_and_parentheses(tmp_path: Path) -> None:
    odd = tmp_path / "a ) (b"
    odd.symlink_to("/bin/sleep")
    child = spawn("p-7", f'exec "{odd}" 60')
    assert soon(lambda: "a ) (b" in Path(f"/proc/{child.pid}/stat").read_text())
    assert [found.pid for found in processes.find("p-7")] == [child.pid]
    processes.end("p-7")
    child.wait()


def test_a_child_dies_with_its_parent() -> None:
    script = """
import functools, os, subprocess
from agents.executor import processes
child = subprocess.Popen(
    ["sleep", "60"], preexec_fn=functools.partial(processes.die_with_parent, os.getpid())
)
print(child.pid, flush=True)
child.wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = processes.read(int(line_of(parent)))
    assert child is not None
    parent.kill()
    parent.wait()
    assert soon(lambda: processes.read(child.pid) is None)
