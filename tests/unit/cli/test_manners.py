"""What holds for every command: examples, an output for programs, an exit code that says why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from scheduler.cli import exits, failures
from scheduler.cli.main import COMMANDS, load, main
from scheduler.cli.output import Output
from scheduler.client import Client, UnreachableError, errors
from tests.fakes.fake_scheduler import FakeScheduler

# These ask no scheduler.
AT_HOME = {
    "agent check",
    "agent run",
    "agent status",
    "gateway",
    "job schema",
    "policy check",
    "replay",
    "rounds replay",
    "scheduler",
    "top",  # it does, but needs a terminal first
}
# These print no answer of a call: what jobs wrote, a screen, a file, what a daemon logs.
NO_OUTPUT = {
    "agent check",
    "agent run",
    "agent status",
    "gateway",
    "job schema",
    "logs",
    "replay",
    "rounds export",
    "scheduler",
    "top",
}
WORDS = {"JOB": "x", "JOB…": "x", "ARRAY": "x", "NODE": "n", "ID": "1"}


def leaves() -> Iterator[tuple[str, Any]]:
    """Every command that does something: groups by their subcommands."""
    for name in COMMANDS:
        command = load(name)
        below = command.commands if isinstance(command, TyperGroup) else {}
        if not below or command.invoke_without_command:
            yield name, command
        yield from ((f"{name} {word}", command.commands[word]) for word in below)


LEAVES = dict(leaves())


@pytest.mark.parametrize("name", LEAVES)
def test_its_help_has_an_example(name: str) -> None:
    told = LEAVES[name].help or ""
    if name in ("agent run", "agent check"):
        told = load("agent").help or ""
    assert f"westward {name.split(maxsplit=1)[0]}" in told
    assert "Example" in told


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - NO_OUTPUT))
def test_programs_can_read_its_answer(name: str) -> None:
    [output] = [p for p in LEAVES[name].params if "--output" in p.opts]
    assert "-o" in output.opts
    assert list(output.type_descriptor.choices) == list(Output)


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - AT_HOME))
def test_a_scheduler_that_is_not_there_is_4_and_no_traceback(
    name: str,
    fake: FakeScheduler,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def gone(*_: object) -> None:
        raise UnreachableError("nobody is there", code="UNAVAILABLE")

    monkeypatch.setattr(Client, "call", gone)
    file = tmp_path / "job.yaml"
    file.write_text("name: x\ntenant: t\nregion: shanghai\ncommand: x\nduration: 1m\n")
    assert main([*name.split(), *given(LEAVES[name], str(file))]) == exits.UNREACHABLE
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("Error: nobody is there\n")
    assert "export WESTWARD_ADDRESS=host:port" in err


def given(command: Any, file: str) -> Iterator[str]:
    """What a command cannot do without."""
    for param in command.params:
        if param.required:
            yield from param.opts[:1] if param.opts[0].startswith("-") else ()
            yield WORDS.get(param.metavar, file)


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        ("a.b: is 7; give 1", ["a.b: is 7; give 1"]),
        ("a.b: is 7; give 1 (and 1 more)", ["a.b: is 7; give 1 (and 1 more)", "  c: is empty"]),
        ("two fields", ["two fields", "  a.b: is 7; give 1", "  c: is empty"]),
    ],
)
def test_a_complaint_is_told_once(told: str, lines: list[str]) -> None:
    found = (errors.Violation("a.b", "is 7; give 1"), errors.Violation("c", "is empty"))
    violations = found if len(lines) > 1 else found[:1]
    error = errors.InvalidRequestError(told, code="INVALID_ARGUMENT", violations=violations)
    assert failures.lines(error) == lines
