"""Tables that give way where there is little room: prose moves below its row, columns together."""

from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text


class Noted:
    """Prose in a narrow column reads as a ladder; a line of its own reads as prose.

    Args:
        build: makes the table, given whether it has the notes as its last column. Without them
            every row must be one line.
        notes: one per row; empty ones take no line.
        indent: of the notes below their rows, in columns.
    """

    def __init__(
        self, build: Callable[[bool], Table], notes: Sequence[Text], *, indent: int = 2
    ) -> None:
        self._build = build
        self._notes = notes
        self._indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        full = self._build(True)
        if fits(full, console, options):
            yield full
            return
        head, *rows = console.render_lines(self._build(False), options, pad=False)
        yield from head
        yield Segment.line()
        for row, note in zip(rows, self._notes, strict=True):
            yield from row
            yield Segment.line()
            if note:
                yield Padding(note, (0, 0, 0, self._indent), expand=False)


class Snug:
    """A table with two blanks between its columns where there is room, else with one.

    Args:
        build: makes the table, given the number of blanks.
    """

    def __init__(self, build: Callable[[int], Table]) -> None:
        self._build = build

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        roomy = self._build(2)
        yield roomy if fits(roomy, console, options) else self._build(1)


def fits(table: Table, console: Console, options: ConsoleOptions) -> bool:
    """Whether a table needs no more columns than there are."""
    wanted = Measurement.get(console, options.update(max_width=10_000), table).maximum
    return wanted <= options.max_width


def short(text: str, most: int) -> str:
    """A name, cut with … where it is long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
