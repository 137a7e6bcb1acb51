"""Writes the Python stubs beside the .proto files.

``python proto/generate.py`` writes them in place; ``python proto/generate.py DIR`` writes them
under DIR, which is how the test compares the committed ones.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent


def generate(out: Path) -> None:
    """Writes every stub under ``out`` in the layout of ``proto/``.

    Raises:
        RuntimeError: protoc refused a file; its own message is on stderr.
    """
    include = str(files("grpc_tools") / "_proto")
    protos = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("westward/**/*.proto"))
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"-I{include}",
        f"--plugin=protoc-gen-mypy={Path(sys.executable).parent / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *protos,
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed; its message is above")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
