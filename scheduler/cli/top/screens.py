"""What opens over the tables: an answer to read, and the keys."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from scheduler.client import WestwardError

KEYS = (
    ("1 2 3, Tab, Shift+Tab", "clusters, queue, running"),
    ("↑ ↓, PgUp PgDn, Home End", "move"),
    ("Enter", "of a job: why it is where it is, or waits; of a cluster: its day to come"),
    ("s, S", "sort by the next column; the other way round"),
    ("/", "show only rows that hold a text; Enter keeps it, Esc ends it"),
    ("r", "look again now"),
    ("Esc", "back"),
    ("q", "quit"),
)


class Reading(ModalScreen[None]):
    """Something to read, that is asked for while it opens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,question_mark", "app.pop_screen", "Back"),
        Binding("q", "app.quit", "Quit"),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
    ]
    DEFAULT_CSS = """
    Reading { align: center middle; }
    Reading > VerticalScroll {
        width: 96%; height: auto; max-height: 92%; padding: 1 2;
        border: round $primary; background: $surface;
    }
    """

    def __init__(self, title: str, ask: Callable[[], Awaitable[RenderableType]]) -> None:
        super().__init__()
        self._title = title
        self._ask = ask

    def compose(self) -> ComposeResult:
        with VerticalScroll() as page:
            page.border_title = self._title
            page.border_subtitle = "Esc: back"
            yield Static("…", id="page")

    def on_mount(self) -> None:
        self.run_worker(self._fill())

    async def _fill(self) -> None:
        try:
            told = await self._ask()
        except WestwardError as error:
            told = Text(str(error), "bold red")
        self.query_one("#page", Static).update(told)

    def action_scroll(self, lines: int) -> None:
        """Moves the page."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


async def keys() -> RenderableType:
    """What each key does."""
    width = max(len(key) for key, _ in KEYS)
    lines = [Text.assemble((f"{key:<{width}}  ", "bold"), told) for key, told in KEYS]
    return Text("\n").join(lines)
