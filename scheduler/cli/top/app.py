"""The screen: three tables over one feed, and the keys."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from scheduler.cli.render import clusters, common, explain, timeline
from scheduler.cli.top import screens
from scheduler.cli.top.feed import Seen, Source
from scheduler.cli.top.tables import CLUSTERS, SHEETS, Sheet
from scheduler.client import WestwardError


@dataclass(slots=True)
class Order:
    """How a table is sorted, and what it shows at present."""

    column: int = 0
    reverse: bool = False
    shown: list[tuple[str, list[Text]]] | None = None


class Top(App[None]):
    """Looks every so many seconds, in a task beside the screen: keys are answered meanwhile, and a
    scheduler that is away leaves the last look where it is, and the reason below it."""

    TITLE = "westward top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 1; padding: 0 1; }
    #state { height: 1; padding: 0 1; }
    #detail { height: 2; padding: 0 1; }
    #filter { display: none; height: 3; }
    #filter.open { display: block; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('clusters')", "Clusters", show=False),
        Binding("2", "tab('queue')", "Queue", show=False),
        Binding("3", "tab('running')", "Running", show=False),
        Binding("tab", "turn(1)", "Next table", priority=True),
        Binding("shift+tab", "turn(-1)", "Previous", show=False, priority=True),
        Binding("s", "sort", "Sort"),
        Binding("S", "reverse", "Reverse"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "unfilter", "All", show=False),
        Binding("r", "look", "Refresh"),
        Binding("question_mark", "keys", "Keys", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, connect: Callable[[], Source], every_s: float) -> None:
        """``connect`` is called in the event loop of the screen."""
        super().__init__()
        self._connect = connect
        self._every_s = every_s
        self._source: Source | None = None
        self._seen: Seen | None = None
        self._looked_at = ""
        self._again = asyncio.Event()
        self._orders = {sheet.name: Order() for sheet in SHEETS}

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        with TabbedContent(initial=CLUSTERS.name):
            for sheet in SHEETS:
                with TabPane(sheet.title, id=sheet.name):
                    yield DataTable[Text](id=f"{sheet.name}-table", cursor_type="row")
        yield Static(id="detail")
        yield Input(placeholder="only rows with …", id="filter")
        yield Static(id="state")
        yield Footer()

    def on_mount(self) -> None:
        self._source = self._connect()
        self._say_state("looking …", "dim")
        self.run_worker(self._follow(self._source))
        self._table.focus()

    async def _follow(self, source: Source) -> None:
        try:
            while True:
                await self._look(source)
                self._again.clear()
                try:
                    async with asyncio.timeout(self._every_s):
                        await self._again.wait()
                except TimeoutError:
                    pass  # nobody asked before it was time
        finally:
            await source.close()

    async def _look(self, source: Source) -> None:
        try:
            self._seen = await source.look()
        except WestwardError as error:
            since = f"; this is of {self._looked_at}" if self._looked_at else ""
            self._say_state(f"{error}; trying again{since}", "bold red")
            return
        self._looked_at = f"{datetime.now().astimezone():%H:%M:%S}"
        self._draw()

    # What is shown.

    @property
    def _sheet(self) -> Sheet[Any]:
        active = self.query_one(TabbedContent).active
        return next((sheet for sheet in SHEETS if sheet.name == active), CLUSTERS)

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one(f"#{self._sheet.name}-table", DataTable)

    def _draw(self) -> None:
        """The table that is seen; others when they are turned to."""
        if self._seen is None or self._taken_down:
            return
        sheet, order, sought = self._sheet, self._orders[self._sheet.name], self._filter.value
        rows = sheet.rows(self._seen, sort=order.column, reverse=order.reverse, holding=sought)
        if rows != order.shown:
            order.shown = rows
            self._fill(self._table, sheet, order)
        self.query_one("#head", Static).update(self._head(self._seen))
        self._detail()
        self._say_state(self._told(sheet, len(rows), sought), "dim")

    def _fill(self, table: DataTable[Text], sheet: Sheet[Any], order: Order) -> None:
        at, top = self._selected(table), table.scroll_y
        table.clear(columns=True)
        for number, column in enumerate(sheet.columns):
            mark = (" ▼" if order.reverse else " ▲") if number == order.column else ""
            table.add_column(Text(f"{column.head}{mark}"), key=column.head)
        for key, cells in order.shown or ():
            table.add_row(*cells, key=key)
        if at in (keys := [key for key, _ in order.shown or ()]):
            table.move_cursor(row=keys.index(at), scroll=False)
            table.scroll_to(y=top, animate=False)

    def _detail(self) -> None:
        """What there is to say on the selected row in a sentence."""
        if self._seen is not None and not self._taken_down:
            told = self._sheet.told(self._seen, self._selected(self._table))
            self.query_one("#detail", Static).update(told)

    def on_data_table_row_highlighted(self) -> None:
        """Another row is selected."""
        self._detail()

    @staticmethod
    def _selected(table: DataTable[Text]) -> str:
        if not table.row_count:
            return ""
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value or ""

    def _head(self, seen: Seen) -> Text:
        now, up = seen.clusters.now_at, sum(c.connected for c in seen.clusters.clusters)
        busy = sum(c.gpus_busy for c in seen.clusters.clusters)
        gpus = sum(c.gpus for c in seen.clusters.clusters)
        return Text.assemble(
            (f"{common.when(now, seconds=True)} {common.zone(now)}", "bold"),
            clusters.pace(seen.clusters.power_clock),
            f"   {up}/{len(seen.clusters.clusters)} up   {busy}/{gpus} GPUs busy",
            f"   {_count(seen.queue)} waiting   {_count(seen.running)} running",
            no_wrap=True,
        )

    def _told(self, sheet: Sheet[Any], shown: int, sought: str) -> str:
        assert self._seen is not None
        address = self._source.address if self._source else ""
        told = f"{address}  looked at {self._looked_at}  {shown} row{'s' * (shown != 1)}"
        if sought:
            told += f" with {sought!r}"
        return told + ("; the newest, there are more" if sheet.more(self._seen) else "")

    def _say_state(self, told: str, style: str) -> None:
        if not self._taken_down:
            self.query_one("#state", Static).update(Text(told, style, no_wrap=True))

    @property
    def _taken_down(self) -> bool:
        """The screen is taken down before the tasks beside it end."""
        return not self.query("#state")

    # Keys.

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    def action_tab(self, name: str) -> None:
        """Turns to a table."""
        self.query_one(TabbedContent).active = name

    def action_turn(self, by: int) -> None:
        """Turns to the next table, round and round."""
        names = [sheet.name for sheet in SHEETS]
        self.action_tab(names[(names.index(self._sheet.name) + by) % len(names)])

    def on_tabbed_content_tab_activated(self) -> None:
        """What was not seen was not drawn."""
        self._draw()
        self._table.focus()

    def action_sort(self) -> None:
        """Sorts by the next column."""
        order = self._orders[self._sheet.name]
        order.column = (order.column + 1) % len(self._sheet.columns)
        self._sorted(order)

    def action_reverse(self) -> None:
        """Sorts the other way round."""
        order = self._orders[self._sheet.name]
        order.reverse = not order.reverse
        self._sorted(order)

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sorts by the column that was clicked; again: the other way round."""
        order = self._orders[self._sheet.name]
        order.reverse = order.column == event.column_index and not order.reverse
        order.column = event.column_index
        self._sorted(order)

    def _sorted(self, order: Order) -> None:
        order.shown = None
        self._draw()

    def action_filter(self) -> None:
        """Asks for the text."""
        self._filter.add_class("open")
        self._filter.focus()

    def on_input_changed(self) -> None:
        """Filters while it is typed."""
        self._draw()

    def on_input_submitted(self) -> None:
        """Back to the rows that are left."""
        self._filter.remove_class("open")
        self._table.focus()

    def action_unfilter(self) -> None:
        """Shows all rows again."""
        self._filter.value = ""
        self.on_input_submitted()

    def action_look(self) -> None:
        """Does not wait until it is time."""
        self._again.set()

    def action_keys(self) -> None:
        """What each key does."""
        self.push_screen(screens.Reading("Keys", screens.keys))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Opens what there is to read of a row."""
        key, source = event.row_key.value, self._source
        if key is None or source is None:
            return
        title = f"{key}: its day to come" if self._sheet is CLUSTERS else f"Why: {key}"
        ask = _ahead if self._sheet is CLUSTERS else _why
        self.push_screen(screens.Reading(title, lambda: ask(source, key)))


async def _why(source: Source, job_id: str) -> RenderableType:
    return explain.explanation(await source.explain(job_id))


async def _ahead(source: Source, cluster: str) -> RenderableType:
    return timeline.picture(await source.ahead(cluster))


def _count(page: Any) -> str:
    return f"{len(page.jobs)}{'+' if page.next_page_token else ''}"
