"""Ends what a worker of this node left behind when it died without a word.

A Ray that is killed takes its worker processes along, and the kernel their children, but not what
those have started; and where Ray is gone, nobody else can. A worker holds its lock for as long as
its process lives (``launch.held``), so a lock that is free belongs to a dead one.
"""

import asyncio
import fcntl
import os
import stat
import time
from pathlib import Path

import structlog

from agents.executor import processes
from agents.executor.launch import Ending, finish
from agents.finding import find
from scheduler.domain.reason import ReasonCode

log = structlog.get_logger()

# Well within the time after which a silent worker's attempt is given up (gang.REAP_TIMEOUT_S).
LOOK_EVERY_S = 1.0


async def watch(attempts_dir: Path) -> None:
    """Looks until cancelled; needs neither the scheduler nor Ray."""
    while True:
        await asyncio.to_thread(end_orphans, attempts_dir)
        await asyncio.sleep(LOOK_EVERY_S)


def end_orphans(attempts_dir: Path) -> None:
    """Ends the processes of every dead worker, and closes its files. Blocks."""
    for lock in find(attempts_dir, "*/rank-*.lock"):
        rank = lock.stem.removeprefix("rank-")
        try:
            if rank.isdecimal() and _abandoned(lock):
                _end_orphan(lock, int(rank))
        except OSError as error:
            # A full disk, perhaps: tried again at the next look.
            log.error("orphan_not_closed", lock=str(lock), error=str(error))


def _end_orphan(lock: Path, rank: int) -> None:
    folder = lock.parent
    if left := processes.end(folder.name, rank=rank):
        log.error("orphans_cannot_be_ended", attempt=folder.name, rank=rank, left=left)
        return
    if lock.with_suffix(".done").exists():
        lock.unlink()
        return
    log.warning("worker_died", attempt=folder.name, rank=rank)
    told = f"worker {rank}: its Ray worker died"
    finish(folder, rank, Ending(ReasonCode.WORKER_LOST, told, ended_at_s=time.time()))


def _abandoned(lock: Path) -> bool:
    """Nobody holds it, and it is still the one of this name."""
    try:
        held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        found = os.fstat(held)
        if not stat.S_ISREG(found.st_mode):
            return False
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A worker that ends well removes its lock before it lets go of it.
        return found.st_ino == lock.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(held)
