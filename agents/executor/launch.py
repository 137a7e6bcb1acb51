"""One worker's command: its environment, its files, its process, and what became of it.

Files, in the folder of the attempt: ``rank-<r>.stdout``, ``rank-<r>.stderr``, the working directory
``rank-<r>.cwd/`` and the lock ``rank-<r>.lock`` while it runs, and ``rank-<r>.done``, written last.
"""

import errno
import fcntl
import functools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.executor import archive, processes
from agents.executor.wire import Order
from scheduler.domain.reason import ReasonCode

# Of processes, memory or open files: another try may find it.
NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
LAST_LINE_BYTES = 4096
LAST_LINE_CHARS = 300
# What NVIDIA's, Huawei's, AMD's, Cambricon's and Enflame's runtimes go by.
ACCELERATORS_IN_SIGHT = (
    "CUDA_VISIBLE_DEVICES",
    "ASCEND_RT_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "MLU_VISIBLE_DEVICES",
    "TOPS_VISIBLE_DEVICES",
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker ended. Times are seconds since the Unix epoch; ``started_at_s`` and
    ``exit_code`` are None when no process ever ran. ``exit_code`` is negative for a signal.
    ``told_to_stop``: it ended after our SIGTERM, so that an exit with 0 is no success."""

    code: ReasonCode
    message: str
    exit_code: int | None = None
    started_at_s: float | None = None
    ended_at_s: float | None = None
    told_to_stop: bool = False


class LaunchError(Exception):
    """No process could be started; ``ending`` says why."""

    def __init__(self, code: ReasonCode, message: str) -> None:
        super().__init__(message)
        self.ending = Ending(code, message, ended_at_s=time.time())


def environment(
    order: Order, rank: int, *, base: Mapping[str, str], master_host: str, master_port: int
) -> dict[str, str]:
    """The environment of a worker: the host's without Ray's own, the user's, then ours."""
    node_id = order.nodes[rank]
    peers = [peer for peer, node in enumerate(order.nodes) if node == node_id]
    distinct_nodes = list(dict.fromkeys(order.nodes))
    return {
        **{name: value for name, value in base.items() if not name.startswith("RAY_")},
        **order.env,
        **attempt_environment(order),
        processes.RANK_VARIABLE: str(rank),
        "WESTWARD_NODE_ID": node_id,
        "RANK": str(rank),
        "WORLD_SIZE": str(len(order.nodes)),
        "LOCAL_RANK": str(peers.index(rank)),
        "LOCAL_WORLD_SIZE": str(len(peers)),
        "NODE_RANK": str(distinct_nodes.index(node_id)),
        "MASTER_ADDR": master_host,
        "MASTER_PORT": str(master_port),
        # To a task without accelerators Ray leaves the sight of all of them.
        **(dict.fromkeys(ACCELERATORS_IN_SIGHT, "") if order.gpus == 0 else {}),
    }


def attempt_environment(order: Order) -> dict[str, str]:
    """What every process of an attempt is told, whatever kind of work it is."""
    return {
        processes.ATTEMPT_VARIABLE: order.attempt_id,
        "WESTWARD_JOB_ID": order.job_id,
        "WESTWARD_ATTEMPT": str(order.number),
        "WESTWARD_CLUSTER": order.cluster,
        **({"WESTWARD_CHECKPOINT_URI": order.checkpoint_uri} if order.checkpoint_uri else {}),
    }


@contextmanager
def held(folder: Path, rank: int) -> Iterator[None]:
    """Shows that a worker lives: its lock is held within the block, and free as soon as this
    process is gone, however it went.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"rank-{rank}.lock.part"
    with draft.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Under its name only when it is held: it would pass for that of a dead worker.
        draft.rename(folder / f"rank-{rank}.lock")
        yield


def prepare(folder: Path, rank: int, working_dir: bytes | None) -> Path:
    """Makes the worker's folder and its working directory. Raises LaunchError."""
    cwd = folder / f"rank-{rank}.cwd"
    try:
        cwd.mkdir(parents=True, exist_ok=True)
        if working_dir is not None:
            archive.unpack(working_dir, cwd)
    except (archive.ArchiveError, OSError) as error:
        raise LaunchError(ReasonCode.WORKING_DIR, f"worker {rank}: {error}") from error
    return cwd


def launch(
    argv: Sequence[str], folder: Path, rank: int, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Starts a worker's process in a session of its own. Raises LaunchError."""
    with (
        (folder / f"rank-{rank}.stdout").open("ab") as stdout,
        (folder / f"rank-{rank}.stderr").open("ab") as stderr,
    ):
        try:
            return subprocess.Popen(  # noqa: S603 - running the user's command is the purpose
                argv,
                cwd=folder / f"rank-{rank}.cwd",
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                # The only way to have the kernel kill the child when its parent dies. What runs
                # between fork and exec is one system call through a function already loaded.
                preexec_fn=functools.partial(  # noqa: PLW1509 - see above
                    processes.die_with_parent, os.getpid()
                ),
            )
        except (OSError, ValueError) as error:
            raise not_launched(argv, rank, error) from error


def not_launched(argv: Sequence[str], rank: int, error: Exception) -> LaunchError:
    """A program of the user's that the system refuses to start."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        told = f"worker {rank}: its node has no room for another process: {error}"
        return LaunchError(ReasonCode.RAY_ERROR, told)
    return LaunchError(
        ReasonCode.COMMAND_NOT_FOUND,
        f"worker {rank}: {argv[0]!r} cannot be started: {error}; name a program that is"
        " installed on the nodes or shipped, executable, in the working directory",
    )


def ending_of(order: Order, rank: int, exit_code: int, *, started_at_s: float) -> Ending:
    """What a finished process tells, with the last line it wrote to stderr."""
    where = f"worker {rank} on {order.nodes[rank]}"
    last = last_line(order.folder(order.nodes[rank]) / f"rank-{rank}.stderr")
    told = f"; last line of stderr: {last}" if last else ""
    if exit_code == 0:
        code, message = ReasonCode.OK, "every worker exited with 0"
    elif exit_code < 0:
        code, message = ReasonCode.KILLED, f"{where} was ended by {signal_name(-exit_code)}{told}"
    else:
        code, message = ReasonCode.NONZERO_EXIT, f"{where}: exit code {exit_code}{told}"
    return Ending(code, message, exit_code, started_at_s, time.time())


def signal_name(number: int) -> str:
    """What people call a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_line(path: Path, since: int = 0) -> str:
    """The last line that is not blank of what a file has from byte ``since`` on, shortened; empty
    when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(since, file.tell() - LAST_LINE_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    told = [line.strip() for line in lines if line.strip()]
    return told[-1][:LAST_LINE_CHARS] if told else ""


def finish(folder: Path, rank: int, ending: Ending) -> None:
    """Removes the working directory and writes, as a whole, what says that no more will come."""
    shutil.rmtree(folder / f"rank-{rank}.cwd", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for stream in ("stdout", "stderr"):
        (folder / f"rank-{rank}.{stream}").touch()
    draft = folder / f"rank-{rank}.done.part"
    draft.write_text(json.dumps(asdict(ending)))
    draft.rename(folder / f"rank-{rank}.done")
    (folder / f"rank-{rank}.lock").unlink(missing_ok=True)
