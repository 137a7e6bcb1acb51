"""What a start would cost over time: one row per pool, a block per slot, the higher the dearer."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from scheduler.cli.render import common
from westward.v1 import why_pb2

_BLOCKS = "▁▂▃▄▅▆▇█"
_NO_ROOM = "·"
_HOURS_APART = (1, 2, 3, 6, 12, 24)
_LABEL_COLUMNS = 7


class Heat:
    """As many slots to a column as it takes to fit; of those, the cheapest is shown."""

    def __init__(self, starts: why_pb2.Starts) -> None:
        self._starts = starts
        self._rows = [
            (f"{common.clean(p.cluster)} {common.clean(p.accelerator)}".strip(), p, _yuan(p))
            for p in starts.pools
        ]
        self._names = max([len("CLUSTER"), *(len(name) for name, _, _ in self._rows)])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        slots = max((len(yuan) for _, _, yuan in self._rows), default=0)
        room = max(options.max_width - self._names - 4, 8)
        each = max(1, -(-slots // room))
        known = [y for _, _, yuan in self._rows for y in yuan if y is not None]
        if not known:
            yield Text("No start in any slot, of any pool.")
            return
        known.sort()
        yield Text(f"   {'CLUSTER':<{self._names}} {self._hours(slots, each)}", "bold")
        for name, pool, yuan in self._rows:
            yield self._row(name, pool, yuan, each, known)
        yield from self._legend(each, known[0], known[-1])

    def _hours(self, slots: int, each: int) -> str:
        """Times of day above the columns, as far apart as they have room."""
        start, slot_s = common.local(self._starts.start_at), self._starts.slot_s * each
        apart_s = next(
            (h * 3600 for h in _HOURS_APART if h * 3600 / slot_s >= _LABEL_COLUMNS),
            _HOURS_APART[-1] * 3600,
        )
        line, columns = "", -(-slots // each)
        for column in range(columns):
            at = start + timedelta(seconds=column * slot_s)
            midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
            due = (at - midnight).total_seconds() % apart_s < slot_s
            if due and len(line) <= column and column + 5 <= columns:
                line = line.ljust(column) + f"{at:%H:%M} "
        return line.rstrip()

    def _row(
        self,
        name: str,
        pool: why_pb2.PoolStarts,
        yuan: Sequence[float | None],
        each: int,
        known: Sequence[float],
    ) -> Text:
        chosen = pool.chosen // each if pool.HasField("chosen") else -1
        mark = Text("✔ ", "bold green") if chosen >= 0 else Text("  ")
        row = Text.assemble(mark, f" {name:<{self._names}} ")
        if pool.HasField("reason") and not any(y is not None for y in yuan):
            row.append(common.clean(pool.reason.code), "dim")
            return row
        for column in range(-(-len(yuan) // each)):
            some = [y for y in yuan[column * each : (column + 1) * each] if y is not None]
            block = _block(min(some), known) if some else _NO_ROOM
            style = "bold green" if column == chosen else "" if some else "dim"
            row.append(block, style)
        return row

    def _legend(self, each: int, low: float, high: float) -> RenderResult:
        step = common.span(self._starts.slot_s * each)
        text = (
            f"   {step} to a column: {_BLOCKS[0]} the cheapest eighth of all starts, from "
            f"{common.figure(low)} yuan, to {_BLOCKS[-1]} the dearest, up to "
            f"{common.figure(high)}; {_NO_ROOM} no room, or not allowed"
        )
        shown: RenderableType = Text(text, "dim")
        yield shown


def _yuan(pool: why_pb2.PoolStarts) -> list[float | None]:
    return [v.number_value if v.HasField("number_value") else None for v in pool.yuan.values]


def _block(yuan: float, known: Sequence[float]) -> str:
    """By its rank: beside what lateness costs, all that a tariff saves would look the same."""
    if known[-1] - known[0] < common.NOTHING:
        return _BLOCKS[0]
    cheaper = bisect_left(known, yuan - common.NOTHING)
    return _BLOCKS[cheaper * len(_BLOCKS) // len(known)]
