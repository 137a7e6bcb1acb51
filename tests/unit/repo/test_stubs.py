"""The committed stubs are those that the .proto files give, and buf is content with these."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.repo.tree import ROOT


def _stubs(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.glob("westward/**/*_pb2*"))
        if path.suffix in (".py", ".pyi")
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("stubs")
    subprocess.run([sys.executable, "proto/generate.py", str(out)], cwd=ROOT, check=True)
    return _stubs(out)


def test_committed_stubs_match_the_proto_files(fresh: dict[str, bytes]) -> None:
    committed = _stubs(ROOT / "proto")
    assert committed.keys() == fresh.keys(), "run `make proto`"
    stale = [name for name, content in committed.items() if content != fresh[name]]
    assert not stale, f"run `make proto`: {stale} differ from what the .proto files give"


def test_every_proto_file_has_its_four_stubs(fresh: dict[str, bytes]) -> None:
    protos = sorted((ROOT / "proto").glob("westward/**/*.proto"))
    endings = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
    stems = {p.relative_to(ROOT / "proto").with_suffix("").as_posix() for p in protos}
    assert stems
    assert set(fresh) == {stem + ending for stem in stems for ending in endings}


def test_proto_is_an_import_root_and_no_package() -> None:
    # A package `proto` would hide that of proto-plus, which Ray's dashboard needs.
    assert not (ROOT / "proto" / "__init__.py").exists()
    found = importlib.util.find_spec("proto")
    assert found is not None
    assert found.origin is not None
    assert not Path(found.origin).is_relative_to(ROOT / "proto")


def test_buf_lint() -> None:
    buf = Path(sys.executable).parent / "buf"
    done = subprocess.run([buf, "lint"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
