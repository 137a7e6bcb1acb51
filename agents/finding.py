"""Files by pattern, where folders may vanish meanwhile."""

import glob
from pathlib import Path


def find(folder: Path, pattern: str) -> list[Path]:
    """Like sorted ``Path.glob``, which fails in Python 3.11 when another removes a folder that it
    is about to look into; empty where there is no such folder."""
    return sorted(folder / name for name in glob.glob(pattern, root_dir=folder))  # noqa: PTH207
