"""Jobs for which two plans differ: who moves, waits or is stopped."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.cli.render.noted import fits, short
from westward.v1 import preview_pb2

_WORDS = {
    preview_pb2.EFFECT_KIND_STOPPED: ("stopped", "red"),
    preview_pb2.EFFECT_KIND_LOST: ("no place", "red"),
    preview_pb2.EFFECT_KIND_MOVED: ("moves", "yellow"),
    preview_pb2.EFFECT_KIND_LATER: ("later", "yellow"),
    preview_pb2.EFFECT_KIND_GAINED: ("placed", "green"),
    preview_pb2.EFFECT_KIND_SPARED: ("goes on", "green"),
    preview_pb2.EFFECT_KIND_SOONER: ("sooner", "green"),
}
_NAME_MOST = 20


def listing(effects: Sequence[preview_pb2.Effect], total: int) -> list[RenderableType]:
    """One row per job, and how many there are beside them."""
    if not effects:
        return []
    parts: list[RenderableType] = [_Rows(effects)]
    if total > len(effects):
        parts.append(
            Text(f"… and {total - len(effects):,} more; -n shows more, -o json all", "dim")
        )
    return parts


class _Rows:
    """The table; names and accelerators give way where there is little room."""

    def __init__(self, effects: Sequence[preview_pb2.Effect]) -> None:
        self._effects = effects
        stands = [s for e in effects for s in (e.before, e.after) if s.cluster]
        # Of the year alone the hour is enough.
        self._days = {common.local(s.start_at).date() for s in stands}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for named, pooled, gap in ((True, True, 2), (False, True, 2), (False, True, 1)):
            table = self._table(named=named, pooled=pooled, gap=gap)
            if fits(table, console, options):
                yield table
                return
        yield self._table(named=False, pooled=False, gap=1)

    def _table(self, *, named: bool, pooled: bool, gap: int) -> Table:
        table = common.table(gap=gap)
        for head in ("JOB", *(["NAME"] if named else []), "", "FROM", "TO"):
            table.add_column(head, no_wrap=True)
        for head in ("LATER", "YUAN"):
            table.add_column(head, justify="right", no_wrap=True)
        for effect in self._effects:
            name = [short(common.clean(effect.job_name), _NAME_MOST)] if named else []
            table.add_row(
                common.clean(effect.job_id),
                *name,
                Text(*_WORDS.get(effect.kind, ("", ""))),
                self._place(effect.before, pooled=pooled),
                self._place(effect.after, pooled=pooled),
                _signed_span(effect.later_s),
                _dearer(effect),
            )
        return table

    def _place(self, standing: preview_pb2.Standing, *, pooled: bool) -> str:
        if not standing.cluster:
            return "nowhere"
        pool = standing.cluster
        if pooled and standing.accelerator:
            pool = f"{pool} {standing.accelerator}"
        if standing.runs:
            return common.clean(f"{pool} running")
        at = common.local(standing.start_at)
        told = f"{at:%H:%M}" if len(self._days) <= 1 else f"{at:%m-%d %H:%M}"
        return common.clean(f"{pool} {told}")


def _signed_span(seconds: float) -> str:
    if abs(seconds) < 1:
        return ""
    return ("+" if seconds > 0 else "-") + common.span(abs(seconds))


def _dearer(effect: preview_pb2.Effect) -> str:
    planned = [s for s in (effect.before, effect.after) if s.cluster and not s.runs]
    if len(planned) < 2:
        return ""
    return signed(effect.after.cost_yuan - effect.before.cost_yuan)


def signed(value: float) -> str:
    """A figure with its sign; nothing for nothing."""
    if abs(value) < common.NOTHING:
        return ""
    return ("+" if value > 0 else "") + common.figure(value)
