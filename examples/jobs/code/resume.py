"""Counts steps, and goes on from its checkpoint when it was stopped in between.

Saves to a directory (file://); with fsspec the same few lines save to any store.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

SAVE_EVERY_STEPS = 600
STEP_S = 0.05


def checkpoint() -> Path:
    """The file that every attempt of this job is told of."""
    uri = os.environ["WESTWARD_CHECKPOINT_URI"]
    if not uri.startswith("file://"):
        sys.exit(f"{uri}: this example saves to file:// alone; use fsspec for other stores")
    return Path(uri.removeprefix("file://")) / "steps"


def save(file: Path, steps: int) -> None:
    """Writes the checkpoint as a whole: whoever is killed while saving keeps the one before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".part")
    draft.write_text(str(steps))
    draft.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=2000)
    wanted = parser.parse_args().steps
    file = checkpoint()
    done = int(file.read_text()) if file.exists() else 0
    print(f"attempt {os.environ['WESTWARD_ATTEMPT']} begins at step {done}", flush=True)

    def stop(_number: int, _frame: FrameType | None) -> None:
        save(file, done)
        print(f"told to stop, saved at step {done}", flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    while done < wanted:
        time.sleep(STEP_S)
        done += 1
        if done % SAVE_EVERY_STEPS == 0:
            save(file, done)
    print(f"done after {done} steps", flush=True)


if __name__ == "__main__":
    main()
