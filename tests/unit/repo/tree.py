"""The files of the repository, for the tests that look at them as a reader would."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def files(*suffixes: str) -> list[Path]:
    """Every file that is in the repository or about to be; all of them without ``suffixes``.

    Files that git was told to ignore are left out, and so are those deleted but not committed.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = sorted(ROOT / name for name in listed.split("\0") if name)
    return [p for p in paths if p.is_file() and (not suffixes or p.suffix in suffixes)]


def name(path: Path) -> str:
    """The path as a reader knows it."""
    return path.relative_to(ROOT).as_posix()


def is_generated(path: Path) -> bool:
    """Stubs are judged by what they are generated from."""
    return "_pb2" in path.name


def text(path: Path) -> str:
    """What is in the file, whatever the locale of the machine."""
    return path.read_text(encoding="utf-8", errors="replace")
