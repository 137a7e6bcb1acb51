"""Answers that are printed once, or again and again with ``--watch``.

A command asks and draws; ``present`` does the rest:

    @app.command(cls=Watchable)
    def clusters(output: OutputOption = Output.TABLE, watch: WatchOption = None) -> None:
        with session.connect() as client:
            present(client.clusters, render.listing, output=output, every_s=watch)
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf.message import Message
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text
from typer.core import TyperCommand

from scheduler.cli import failures
from scheduler.cli.output import Output, as_dict, console, emit, emit_line, emit_plain, show
from scheduler.client import RefusedError, WestwardError

EVERY_DEFAULT_S = 2.0
EVERY_LEAST_S = 0.2
_FLAGS = frozenset({"--watch", "-w"})
# What changes whenever it is looked at says nothing new.
_AGEING = frozenset({"now_at", "power_clock", "silent_s", "age_s"})

Answer = TypeVar("Answer", bound=Message)
WatchOption = Annotated[
    float | None,
    typer.Option(
        "--watch",
        "-w",
        metavar="[SECONDS]",
        min=EVERY_LEAST_S,
        help=f"Look again every so many seconds ({EVERY_DEFAULT_S:g} if left out), until Ctrl-C.",
    ),
]


class Watchable(TyperCommand):
    """A command whose ``--watch`` may go without its seconds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(with_seconds(args)))


def with_seconds(args: list[str]) -> Iterator[str]:
    """The arguments, each ``--watch`` with its seconds."""
    for word, following in pairwise([*args, ""]):
        yield word
        if word in _FLAGS and not _is_figure(following):
            yield f"{EVERY_DEFAULT_S:g}"


def _is_figure(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def present(
    ask: Callable[[], Answer],
    draw: Callable[[Answer], RenderableType],
    *,
    output: Output,
    every_s: float | None,
) -> None:
    """Prints an answer once, or looks every so many seconds until Ctrl-C.

    On a terminal tables are drawn anew in their place. Elsewhere, and for programs, what has
    changed is printed after what was: a line of JSON, a YAML document, a table after an empty line.
    A scheduler that goes away while it is watched is waited for.

    Raises:
        WestwardError: the first look failed, or a later one was refused.
    """
    answer = ask()
    if every_s is None:
        show(draw(answer)) if output.for_people else emit(answer, output)
        return
    try:
        with _screen(draw, output) as screen:
            screen(answer, "")
            while True:
                time.sleep(every_s)  # the pace that the user asked for
                trouble = ""
                try:
                    answer = ask()
                except RefusedError:
                    raise
                except WestwardError as error:  # such as a cluster not heard since a restart
                    trouble = str(error)
                screen(answer, trouble)
    except KeyboardInterrupt:
        return


@contextmanager
def _screen(
    draw: Callable[[Answer], RenderableType], output: Output
) -> Iterator[Callable[[Answer, str], None]]:
    """Shows an answer, and why there is no newer one."""
    if not (output.for_people and console().is_terminal):
        yield _Changes(draw, output).show
        return
    with Live(console=console(), auto_refresh=False, vertical_overflow="ellipsis") as live:

        def redraw(answer: Answer, trouble: str) -> None:
            live.update(Group(draw(answer), _below(trouble)), refresh=True)

        yield redraw


def _below(trouble: str) -> Text:
    at = f"{datetime.now().astimezone():%H:%M:%S}"
    if trouble:
        return Text(f"{at}  {trouble}; trying again", "bold red")
    return Text(f"{at}  Ctrl-C ends", "dim")


class _Changes:
    """Prints an answer when it differs from the one before in more than ages and the clock."""

    def __init__(self, draw: Callable[[Any], RenderableType], output: Output) -> None:
        self._draw = draw
        self._output = output
        self._before: Any = None
        self._trouble = ""

    def show(self, answer: Message, trouble: str) -> None:
        if trouble and not self._trouble:
            failures.note(f"{trouble}; trying again")
        self._trouble = trouble
        told = _lasting(as_dict(answer))
        if told == self._before:
            return
        first, self._before = self._before is None, told
        if self._output is Output.JSON:
            emit_line(answer)
        elif self._output is Output.YAML:
            print("---", flush=True)
            emit_plain(as_dict(answer), self._output)
        else:
            if not first:
                print(flush=True)
            show(self._draw(answer))


def _lasting(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _lasting(value) for key, value in told.items() if key not in _AGEING}
    return [_lasting(value) for value in told] if isinstance(told, list) else told
