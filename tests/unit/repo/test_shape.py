"""The shape of the code: sizes that fit a screen, pure rooms that stay pure, rules that are run."""

import ast
import tomllib
from collections.abc import Iterator

import pytest

from tests.unit.repo.tree import ROOT, files, is_generated, name, text

FILE_LINES_MOST = 450
FUNCTION_LINES_MOST = 60
PURE_ROOMS = ("scheduler/domain", "scheduler/planner", "policies")
# What a pure room may not even import: clocks, chance, the environment, files and sockets.
CLOCKS = {"time"}
CHANCE = {"random", "secrets", "uuid"}
OUTSIDE = {"asyncio", "io", "os", "pathlib", "shutil", "socket", "subprocess", "sys", "tempfile"}
IMPURE_MODULES = CLOCKS | CHANCE | OUTSIDE | {"multiprocessing", "threading", "urllib"}
CLOCK_METHODS = {"now", "utcnow", "today"}

SOURCES = [p for p in files(".py") if not is_generated(p)]


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_have_one_subject() -> None:
    lines = {name(p): text(p).count("\n") for p in SOURCES}
    long = {where: count for where, count in lines.items() if count > FILE_LINES_MOST}
    assert not long, f"over {FILE_LINES_MOST} lines; is there a second subject in them? {long}"


def test_functions_fit_a_screen() -> None:
    long = [
        f"{name(path)}:{f.lineno} {f.name} has {f.end_lineno - f.lineno + 1} lines"
        for path in SOURCES
        for f in _functions(ast.parse(text(path)))
        if f.end_lineno is not None and f.end_lineno - f.lineno + 1 > FUNCTION_LINES_MOST
    ]
    assert not long, f"over {FUNCTION_LINES_MOST} lines: {long}"


def impurities(source: str) -> list[str]:
    """What a module does that a pure one may not: ``line: what``."""
    return [
        f"{node.lineno}: {what}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt | ast.expr)
        for what in _impurities_of(node)
    ]


def _impurities_of(node: ast.stmt | ast.expr) -> Iterator[str]:
    modules = []
    match node:
        case ast.Import(names=names):
            modules = [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            modules = [module]
        case ast.Attribute(attr=attr) if attr in CLOCK_METHODS:
            yield f".{attr} reads a clock; take the time as an argument"
        case ast.Name(id="open" | "input" as called):
            yield f"{called} is input or output"
    yield from (f"imports {m}" for m in modules if m.split(".")[0] in IMPURE_MODULES)


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("import time\n", "imports time"),
        ("from os import environ\n", "imports os"),
        ("from datetime import datetime\nx = datetime.now()\n", ".now reads a clock"),
        ("from datetime import date\nx = date.today()\n", ".today reads a clock"),
        ("x = open('f')\n", "open is input"),
    ],
)
def test_an_impure_module_is_caught(source: str, caught: str) -> None:
    assert any(caught in finding for finding in impurities(source))


def test_pure_rooms_read_no_clock_no_file_and_no_environment() -> None:
    pure = [p for p in SOURCES if name(p).startswith(tuple(f"{room}/" for room in PURE_ROOMS))]
    assert pure
    found = {name(p): impurities(text(p)) for p in pure}
    assert not {where: what for where, what in found.items() if what}


def test_the_import_rules_are_part_of_lint() -> None:
    recipe = text(ROOT / "Makefile").split("\nlint:", 1)[1].split("\n\n", 1)[0]
    for step in ("ruff check", "ruff format --check", "mypy", "lint-imports", "buf lint"):
        assert step in recipe, f"make lint does not run {step}"
    assert "make lint" in text(ROOT / ".ci" / "run")


@pytest.mark.parametrize("room", ["scheduler.domain", "scheduler.planner", "policies", "agents"])
def test_each_guarded_room_has_an_import_rule(room: str) -> None:
    contracts = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    assert room in [source for contract in contracts for source in contract["source_modules"]]
