"""Ends a worker's processes when the worker is gone: ``python -m agents.executor.warden``.

The kernel would do so for direct children, but a child can ask it to only in a slow start of its
own: 1 to 10 ms on a big process, where a task of an array may take less.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from agents.executor import processes


@contextmanager
def guarded(attempt_id: str, rank: int) -> Iterator[None]:
    """Whatever a worker has started is ended after the block, or when this process dies in it."""
    # Open in no process but this one, so that the kernel closes it with it.
    watched, held = os.pipe()
    try:
        command = (sys.executable, "-m", __name__, str(watched), attempt_id, str(rank))
        # Through a shell, which leaves it behind: it must not count as a child of this process.
        subprocess.run(  # noqa: S603 - a program of ours, with words of ours
            ("/bin/sh", "-c", '"$@" &', "sh", *command),
            pass_fds=(watched,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
        )
        yield
    finally:
        os.close(watched)
        os.close(held)


def main() -> int:
    """Waits for the other end of the pipe to close."""
    watched, attempt_id, rank = sys.argv[1:]
    os.read(int(watched), 1)
    return len(processes.end(attempt_id, rank=int(rank)))


if __name__ == "__main__":
    sys.exit(main())
