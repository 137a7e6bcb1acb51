"""`python -m tests.chaos.stepped FILE ARGUMENT…`: the `westward` command on a host whose wall clock
is off by as many seconds as FILE says, one double, which may change at any time. The monotonic
clocks of a host cannot be stepped, and are not.
"""

import mmap
import struct
import sys
import time
from datetime import datetime, tzinfo
from pathlib import Path

import scheduler.app
import scheduler.clock
import scheduler.rpc.convert_nodes
from scheduler.cli.main import main

OFF_S = struct.Struct("d")
wall_s = time.time


def write(file: Path, off_s: float) -> None:
    """Steps the clock of whoever reads this file. In place, as it is mapped."""
    with file.open("r+b" if file.exists() else "wb") as target:
        target.write(OFF_S.pack(off_s))


def step_with(file: Path) -> None:
    """Steps this process's wall clock from now on."""
    with file.open("rb") as source:
        mapped = mmap.mmap(source.fileno(), OFF_S.size, access=mmap.ACCESS_READ)

    def stepped_s() -> float:
        [off_s] = OFF_S.unpack(mapped[: OFF_S.size])
        return float(wall_s() + off_s)

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(stepped_s(), tz)

    time.time = stepped_s
    for module in (scheduler.clock, scheduler.app, scheduler.rpc.convert_nodes):
        module.datetime = Stepped  # type: ignore[attr-defined]


if __name__ == "__main__":
    step_with(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
