"""Finding and ending the processes of an attempt on this host, without Ray.

Every process of an attempt carries the attempt's id in its environment, which children inherit and
/proc shows; so they are found whatever session, group or parent they have moved to. What dropped
its environment is found as a descendant or a member of the session of one that did not. Linux only.
"""

import ctypes
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ATTEMPT_VARIABLE = "WESTWARD_ATTEMPT_ID"
RANK_VARIABLE = "WESTWARD_RANK"

PROC = Path("/proc")
PF_KTHREAD = 0x00200000
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.05
# After SIGKILL only a process in uninterruptible sleep stays; waiting longer would not help.
KILL_WAIT_S = 5.0
# In the midst of an exec a process shows no environment. That takes well below a millisecond unless
# it has to wait for a processor; a few processes of a host have none for good.
EXEC_S = 0.002
EXEC_LOOKS = 4

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one with the same pid by its start, in ticks since boot."""

    pid: int
    started_ticks: int
    parent_pid: int
    session: int


def read(pid: int) -> Process | None:
    """The living process of this pid; None when there is none, or it is a zombie or the kernel's
    own."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field, the name, is in parentheses and may itself hold blanks and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in "ZX" or int(fields[6]) & PF_KTHREAD:
        return None
    return Process(pid, int(fields[19]), int(fields[1]), int(fields[3]))


def _marked(pids: Iterable[int], markers: Sequence[bytes]) -> set[int]:
    """Which of some living processes have all these in their environment."""
    found, blank = set[int](), set(pids)
    for look in range(EXEC_LOOKS):
        if look:
            time.sleep(EXEC_S)  # the kernel tells nobody when an exec is over
        shown = {pid: _environment(pid) for pid in blank}
        found |= {pid for pid, names in shown.items() if names and names.issuperset(markers)}
        blank = {pid for pid, names in shown.items() if names == {b""}}
        if not blank:
            break
    return found


def _environment(pid: int) -> set[bytes] | None:
    """``NAME=value`` of a process; None if it is gone, or another user's, which cannot be ours."""
    try:
        return set((PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except OSError:
        return None


def find(attempt_id: str, rank: int | None = None) -> list[Process]:
    """The living processes of an attempt, or of one worker of it, except the caller."""
    return find_marked(_markers(attempt_id, rank))


def _markers(attempt_id: str, rank: int | None) -> list[str]:
    ranks = [] if rank is None else [f"{RANK_VARIABLE}={rank}"]
    return [f"{ATTEMPT_VARIABLE}={attempt_id}", *ranks]


def find_marked(markers: Sequence[str]) -> list[Process]:
    """The living processes with these ``NAME=value`` in their environment, and what hangs on
    them, except the caller."""
    wanted = [marker.encode() for marker in markers]
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    living = {process.pid: process for pid in pids if (process := read(pid))}
    found = _marked(living, wanted)
    sessions = {pid for pid in found if living[pid].session == pid}
    found |= {pid for pid, process in living.items() if process.session in sessions}
    grown = True
    while grown:
        children = {pid for pid, process in living.items() if process.parent_pid in found}
        grown = not children <= found
        found |= children
    return [living[pid] for pid in sorted(found - {os.getpid()})]


def send(process: Process, number: signal.Signals) -> None:
    """Sends a signal to this very process, never to a later one with its pid."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        now = read(process.pid)
        if now is not None and now.started_ticks == process.started_ticks:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        # Gone, or another user's (a set-user-id program): whoever looks again finds it.
        return
    finally:
        os.close(handle)


def end(attempt_id: str, *, grace_s: float = 0.0, rank: int | None = None) -> list[Process]:
    """Ends every process of an attempt: SIGTERM, then SIGKILL after ``grace_s``. Blocks.

    Returns what could not be ended: processes in uninterruptible sleep, or of another user.
    """
    return end_marked(_markers(attempt_id, rank), grace_s=grace_s)


def end_marked(markers: Sequence[str], *, grace_s: float = 0.0) -> list[Process]:
    """``end``, for all that ``find_marked`` finds."""
    if grace_s > 0:
        for process in find_marked(markers):
            send(process, signal.SIGTERM)
        grace_ends_at = time.monotonic() + grace_s
        # Not our children, and more of them may appear: they cannot be waited for, only looked for.
        while find_marked(markers) and time.monotonic() < grace_ends_at:
            time.sleep(POLL_S)  # called in a thread: see above, they can only be looked for
    gives_up_at = time.monotonic() + KILL_WAIT_S
    # Again and again, as a process may have forked between being listed and being killed.
    while left := find_marked(markers):
        for process in left:
            send(process, signal.SIGKILL)
        if time.monotonic() > gives_up_at:
            return left
        time.sleep(POLL_S / 10)  # for the kernel to end them; then those that they have forked
    return []


def die_with_parent(parent_pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Asks the kernel to signal the calling process when ``parent_pid``, its parent, dies."""
    _prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), number)


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """Within the block, what a descendant leaves behind becomes a child of the calling process:
    that none is left can then be told without a look at every process of the host."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(PR_SET_CHILD_SUBREAPER, 0)


def childless() -> bool:
    """Whether the calling process has no living child. Reaps the dead ones."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            continue
    except ChildProcessError:
        return True
    return False


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")
