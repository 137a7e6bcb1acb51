"""The hours to come as a picture: a block of lines per cluster, a column per stretch of time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import clusters, common
from scheduler.cli.render.noted import Snug
from westward.v1 import timeline_pb2

_BLOCKS = "▁▂▃▄▅▆▇█"
_NOTHING = "·"
# Columns before and after the picture.
_LABEL = 10
_FIGURES = 16
# Hours between two times on the axis; a time and a blank need this many columns.
_TICKS_H = (1, 2, 3, 4, 6, 12, 24)
_TICK_COLUMNS = 7
# Prices of the cheapest and of the dearest third.
_HEAT = ("green", "yellow", "red")


def picture(answer: timeline_pb2.TimelineResponse) -> RenderableType:
    """Clusters over time, then the jobs that start, the first ones."""
    if not answer.clusters:
        return Text("No cluster has reported yet. Start agents with: westward agent --config FILE")
    return Group(Picture(answer), *_starts(answer), Text(), _clock(answer))


@dataclass(frozen=True, slots=True)
class Axis:
    """Columns of ``step`` slots each, whole ones from midnight UTC on: the first may be cut."""

    answer: timeline_pb2.TimelineResponse
    step: int

    @classmethod
    def fitting(cls, answer: timeline_pb2.TimelineResponse, columns: int) -> "Axis":
        """As fine as there is room for; the columns of an hour are equally long."""
        slots, an_hour = len(answer.clusters[0].pue), max(round(3600 / answer.slot_s), 1)
        within = [n for n in range(1, an_hour) if an_hour % n == 0]
        steps = [*within, *(an_hour * n for n in (1, 2, 3, 4, 6, 12, 24))]
        return cls(answer, next((n for n in steps if slots // n + 2 <= columns), steps[-1]))

    def means(self, values: Sequence[float]) -> list[float]:
        """One value per column: the mean of its slots."""
        first = self.step - self._offset
        parts = [values[:first], *_cut(values[first:], self.step)]
        return [sum(part) / len(part) for part in parts if part]

    def times(self, columns: int) -> list[datetime]:
        """When each column begins, in the reader's zone; the first as if it were whole."""
        start_at = self.answer.start_at.ToDatetime(UTC)
        begin_at = start_at - timedelta(seconds=self.answer.slot_s * self._offset)
        width = timedelta(seconds=self.answer.slot_s * self.step)
        return [(begin_at + n * width).astimezone() for n in range(columns)]

    def ticks(self, columns: int) -> str:
        """Clock times, each beginning at its column; midnight is told by its date."""
        line, free_from = "", 0
        an_hour = 3600 / (self.answer.slot_s * self.step)
        every_h = next((h for h in _TICKS_H if h * an_hour >= _TICK_COLUMNS), _TICKS_H[-1])
        for column, at in enumerate(self.times(columns)):
            due = at.hour % every_h == 0 and at.minute * 60 < self.answer.slot_s * self.step
            if due and column >= free_from and column + 5 <= columns:
                line = f"{line:<{column}}" + (f"{at:%m-%d}" if at.hour == 0 else f"{at:%H:%M}")
                free_from = column + _TICK_COLUMNS - 1
        return line

    @property
    def _offset(self) -> int:
        """Slots by which the first column is cut."""
        return int(self.answer.start_at.seconds // self.answer.slot_s) % self.step


class Picture:
    """As fine as the width allows."""

    def __init__(self, answer: timeline_pb2.TimelineResponse) -> None:
        self._answer = answer

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = [common.clean(cluster.name) for cluster in self._answer.clusters]
        label = max(_LABEL, *(len(name) + 1 for name in names))
        room = options.max_width - label - _FIGURES - 2
        axis = Axis.fitting(self._answer, max(room, 1))
        prices = [p for cluster in self._answer.clusters for p in cluster.price_yuan_per_kwh]
        scale = (min(prices), max(prices))
        for number, (name, cluster) in enumerate(zip(names, self._answer.clusters, strict=True)):
            if number:
                yield Text()
            columns = len(axis.means(cluster.pue))
            head = Text.assemble((f"{name:<{label}}", "bold"), (axis.ticks(columns), "dim"))
            yield head
            for title, bar, figures in _lines(cluster, axis, scale):
                line = Text.assemble(f"{title:<{label}}", bar, f"  {figures}")
                line.no_wrap = True
                yield line


def _lines(
    cluster: timeline_pb2.ClusterTimeline, axis: Axis, prices: tuple[float, float]
) -> Iterator[tuple[str, Text, str]]:
    """What each line is of, its bar, and the figures behind it."""
    busy, planned = axis.means(cluster.gpus_busy), axis.means(cluster.gpus_planned)
    held = [b + p for b, p in zip(cluster.gpus_busy, cluster.gpus_planned, strict=True)]
    styles = ["cyan" if b >= p else "yellow" for b, p in zip(busy, planned, strict=True)]
    gpus = [b + p for b, p in zip(busy, planned, strict=True)]
    told = f"{held[0]:.0f}, most {max(held):.0f}/{cluster.gpus_total}"
    yield " gpus", _bar(gpus, 0.0, cluster.gpus_total, styles), told

    low, high = prices
    price = axis.means(cluster.price_yuan_per_kwh)
    third = (high - low) / 3 or 1.0
    heat = [_HEAT[min(int((value - low) / third), 2)] for value in price]
    yield " yuan/kWh", _bar(price, low, high, heat, least=True), _range(cluster.price_yuan_per_kwh)

    supply, used = axis.means(cluster.green_supply_kw), axis.means(cluster.green_allocated_kw)
    top, green = max(cluster.green_supply_kw), ["green"] * len(supply)
    yield " green kW", _bar(supply, 0.0, top, green), _range(cluster.green_supply_kw)
    load = sum(cluster.load_kw)
    share = sum(cluster.green_allocated_kw) / load if load else 0.0
    told = f"load {common.percent(share)} green" if load else "no load"
    yield " used kW", _bar(used, 0.0, top, green), told


def _bar(
    values: Sequence[float],
    low: float,
    high: float,
    styles: Sequence[str],
    *,
    least: bool = False,
) -> Text:
    """A block per value, between ``low`` and ``high``; nothing at all is a dot, unless ``least``:
    then the lowest is the lowest block."""
    drawn = list[tuple[str, str]]()
    for value, style in zip(values, styles, strict=True):
        part = (value - low) / (high - low) if high > low else 0.0
        if part <= 0 and not least:
            drawn.append((_NOTHING, "dim"))
            continue
        level = min(int(min(max(part, 0.0), 1.0) * len(_BLOCKS)), len(_BLOCKS) - 1)
        drawn.append((_BLOCKS[level], style))
    alike = groupby(drawn, key=lambda one: one[1])
    return Text.assemble(*(("".join(c for c, _ in some), style) for style, some in alike))


def _range(values: Sequence[float]) -> str:
    low, high = common.figure(min(values)), common.figure(max(values))
    return low if low == high else f"{low}–{high}"


def _cut(values: Sequence[float], size: int) -> Iterable[Sequence[float]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _starts(answer: timeline_pb2.TimelineResponse) -> Iterator[RenderableType]:
    yield Text()
    if not answer.starts:
        yield Text("No planned start in these hours." if not answer.starts_total else "")
        return
    yield Snug(lambda gap: _table(answer.starts, gap))
    more = answer.starts_total - len(answer.starts)
    if more > 0:
        yield Text(f"… and {more} more; for these: --limit {answer.starts_total}", "dim")


def _table(jobs: Sequence[timeline_pb2.PlannedJob], gap: int) -> Table:
    table = common.table(gap=gap)
    for head in ("START", "END", "JOB", "NAME", "TO"):
        table.add_column(head, no_wrap=head != "NAME")
    several_runs = any(len(job.runs) > 1 for job in jobs)
    for head in ("GPUS", *(["RUNS"] * several_runs)):
        table.add_column(head, justify="right", no_wrap=True)
    for job in jobs:
        table.add_row(
            f"~{common.when(job.runs[0].start_at)}",
            f"~{common.when(job.runs[-1].end_at)}",
            job.job_id,
            Text(common.clean(job.job_name), no_wrap=True, overflow="ellipsis"),
            common.clean(f"{job.cluster}/{job.accelerator or 'cpu'}"),
            str(job.gpus or ""),
            *([str(len(job.runs))] * several_runs),
        )
    return table


def _clock(answer: timeline_pb2.TimelineResponse) -> Text:
    now = answer.now_at
    text = f"power clock {common.when(now, seconds=True)} {common.zone(now)}"
    return Text(f"{text}{clusters.pace(answer.power_clock)}", "dim")
