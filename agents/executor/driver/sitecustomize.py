"""Python runs this at its start in every process of a Ray driver, as its folder is first on
PYTHONPATH. It does nothing but wait for ``import ray``, and lets the user's own module of this
name, which it hides, run as if it were not there.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# Without pathlib, as every Python process of the driver would have to import it.
HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
CAPTURE = "westward_capture"


class RayFinder:
    """Finds ``ray`` where it is, and has it captured when it has been imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for every module but the first ``ray``."""
        if name != "ray" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_capture(module: ModuleType) -> None:
            execute(module)
            _load(CAPTURE, f"{HERE}/{CAPTURE}.py").install()

        # Ray's own loader stays in place: others ask it for resources.
        setattr(spec.loader, "exec_module", execute_and_capture)  # noqa: B010 - mypy forbids methods
        return spec


def _load(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _run_hidden() -> None:
    ours = sys.modules.pop("sitecustomize", None)
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]  # noqa: PTH100
    try:
        importlib.import_module("sitecustomize")
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


if os.environ.get("WESTWARD_PLACEMENT_GROUP"):
    sys.meta_path.insert(0, RayFinder())
    _run_hidden()
