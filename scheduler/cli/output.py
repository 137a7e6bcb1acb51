"""How commands print: tables for people, the answers of the wire for programs."""

import json
import os
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer
import yaml
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console, RenderableType

# In a pipe nothing is cut or wrapped: a line is a row.
_PIPE_COLUMNS = 10_000


class Output(StrEnum):
    """What to print."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def for_people(self) -> bool:
        return self in (Output.TABLE, Output.WIDE)


OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", help="json and yaml print the scheduler's answer as it is."),
]


def console() -> Console:
    """Colours and width of the terminal; outside of one neither."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_PIPE_COLUMNS if piped else None, highlight=False, emoji=False)


def show(rendered: RenderableType) -> None:
    """Prints for people, without the blanks that pad a table."""
    out = console()
    with out.capture() as captured:
        out.print(rendered)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    sys.stdout.flush()


def emit(answer: Message, output: Output) -> None:
    """Prints an answer for programs: protobuf JSON with the names of the .proto files, every
    field present, or the same as YAML."""
    emit_plain(as_dict(answer), output)


def emit_plain(plain: dict[str, Any], output: Output) -> None:
    """Prints what is no answer of the wire for programs."""
    if output is Output.JSON:
        text = json.dumps(plain, indent=2, ensure_ascii=False)
    else:
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).rstrip()
    print(text, flush=True)


def emit_line(answer: Message) -> None:
    """One line of JSON per answer, for streams."""
    print(json.dumps(as_dict(answer), ensure_ascii=False), flush=True)


def as_dict(answer: Message) -> dict[str, Any]:
    """An answer as protobuf JSON has it."""
    plain: dict[str, Any] = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return plain
