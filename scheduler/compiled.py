"""Compiles the planner's inner loops, and keeps what was compiled for the next process."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba

_P = ParamSpec("_P")
_T = TypeVar("_T")
_LOOPS = Path(__file__).parent / "planner" / "kernels"
_OF_POLICIES = Path(__file__).parent.parent / "policies" / "loops.py"


def _cache_folder() -> Path | None:
    """Where compiled code is kept, apart for every version of these files; None if nowhere.

    Numba looks at the file of a function alone, not at those of the functions it calls.
    """
    sources = b"".join(path.read_bytes() for path in (*sorted(_LOOPS.glob("*.py")), _OF_POLICIES))
    name = f"westward-{numba.__version__}-{hashlib.sha256(sources).hexdigest()[:16]}"
    for base in (_LOOPS / "__pycache__", Path.home() / ".cache" / "numba"):
        try:
            (base / name).mkdir(parents=True, exist_ok=True)
            probe = base / name / ".writable"
            probe.touch()
            probe.unlink()
        except (OSError, RuntimeError):
            continue
        return base / name
    return None


_FOLDER = _cache_folder()
if _FOLDER is not None:
    numba.config.CACHE_DIR = str(_FOLDER)  # type: ignore[attr-defined]


def compiled(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Compiles a function at its first call, or takes what an earlier process has compiled; it
    runs without Python's global lock.

    A call counts references to every array it is given, also to those inside a tuple; in the
    innermost loops, pass records and the few arrays that are needed.
    """
    made: Callable[_P, _T] = numba.njit(cache=_FOLDER is not None, nogil=True)(function)
    return made
