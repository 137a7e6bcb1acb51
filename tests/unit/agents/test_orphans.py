"""What a killed worker leaves behind is ended; what lives is left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents import orphans
from agents.executor import processes
from agents.executor.launch import Ending, finish, held
from scheduler.domain.reason import ReasonCode

# A worker: it holds its lock, has a working directory and a child with a child of its own, which
# the kernel does not end with it.
WORKER = """
import os, sys
from pathlib import Path
from agents.executor.launch import held, launch, prepare
folder = Path(sys.argv[1])
with held(folder, 0):
    prepare(folder, 0, None)
    env = {**os.environ, "WESTWARD_ATTEMPT_ID": folder.name, "WESTWARD_RANK": "0"}
    process = launch(["bash", "-c", "setsid sleep 60 & exec sleep 60"], folder, 0, env)
    print("up", flush=True)
    process.wait()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / f"orphans-{os.getpid()}"
    yield folder
    processes.end(folder.name)


def soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10.0
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def test_a_killed_worker_leaves_nothing(folder: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None and worker.stdout.readline() == "up\n"
    assert soon(lambda: len(processes.find(folder.name)) == 2)
    orphans.end_orphans(folder.parent)
    assert len(processes.find(folder.name)) == 2 and worker.poll() is None

    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert soon(lambda: len(processes.find(folder.name)) == 1), "the setsid child outlives it"
    orphans.end_orphans(folder.parent)
    assert processes.find(folder.name) == []
    told = json.loads((folder / "rank-0.done").read_text())
    assert told["code"] == ReasonCode.WORKER_LOST
    left = {path.name for path in folder.iterdir()}
    assert left == {"rank-0.done", "rank-0.stdout", "rank-0.stderr"}


def test_a_worker_that_ended_well_keeps_its_last_words(folder: Path) -> None:
    with held(folder, 3):
        finish(folder, 3, Ending(ReasonCode.OK, "every worker exited with 0", 0))
    orphans.end_orphans(folder.parent)
    assert json.loads((folder / "rank-3.done").read_text())["code"] == ReasonCode.OK
    assert not (folder / "rank-3.lock").exists()


def test_what_cannot_be_closed_now_is_closed_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(folder, 0):
        pass

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(orphans, "finish", full)
        orphans.end_orphans(folder.parent)
    assert not (folder / "rank-0.done").exists()
    orphans.end_orphans(folder.parent)
    assert (folder / "rank-0.done").exists()
