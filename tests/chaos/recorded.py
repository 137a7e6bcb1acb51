"""The job of a chaos run: writes down that it lives, in a file that nothing of ours ever touches.

``python -I -S recorded.py FOLDER SECONDS FAILING [stubborn]``: attempts up to number FAILING end
with exit code 1; a stubborn one pays no heed to SIGTERM. Lines are CLOCK_MONOTONIC in ns and a
word. Plain Python on purpose: it starts in milliseconds.
"""

import os
import signal
import sys
import time

BEAT_S = 0.05
TERMINATED = 143


def main() -> int:
    folder, seconds, failing, *more = sys.argv[1:]
    attempt, rank = os.environ["WESTWARD_ATTEMPT_ID"], os.environ["RANK"]
    name = f"{attempt}.{rank}.{os.getpid()}.{time.monotonic_ns()}"
    file = os.open(
        os.path.join(folder, name),  # noqa: PTH118 - pathlib would double the time to start
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND,
    )

    def record(word: str) -> None:
        os.write(file, f"{time.monotonic_ns()} {word}\n".encode())

    def terminated(_number: int, _frame: object) -> None:
        record("terminated")
        os._exit(TERMINATED)

    record("start")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in more else terminated)
    until_s = time.monotonic() + float(seconds)
    while time.monotonic() < until_s:
        time.sleep(BEAT_S)
        record("beat")
    failed = int(os.environ["WESTWARD_ATTEMPT"]) <= int(failing)
    record("failed" if failed else "succeeded")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
