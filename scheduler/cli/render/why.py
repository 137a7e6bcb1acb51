"""Why a job waits or has failed, what would change it, and when it should start."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.cli.render.noted import Noted
from westward.v1 import job_pb2, why_pb2

_TIMES = {"deadline", "earliest_start"}


def why(told: why_pb2.Why, *, wide: bool = False) -> RenderableType:
    """The dominant reason, the others, relaxations, the expected start, and ended attempts."""
    parts: list[RenderableType] = [_verdict(told)]
    if wide:
        parts += [Text(f"  {common.clean(r.message)}", "dim") for r in told.evidence]
    if told.others:
        parts += [Text(), Text("Besides", "bold"), _others(told)]
    ended = [a for a in told.attempts if a.HasField("ended_at")]
    if ended:
        parts += [Text(), Text("Attempts", "bold"), _attempts(ended)]
    if told.job_state == job_pb2.JOB_STATE_PENDING:
        parts += [Text(), *_relaxations(told)]
    if told.HasField("expected"):
        parts += [Text(), _expected(told.expected)]
    if told.HasField("decided_at"):
        parts.append(_round(told))
    return Group(*parts)


def _verdict(told: why_pb2.Why) -> Text:
    pending = told.job_state == job_pb2.JOB_STATE_PENDING
    state = Text("waits", "bold yellow") if pending else common.job_state(told.job_state)
    return Text.assemble(f"Job {told.job_id} ", state, ": ", common.reason(told.reason))


def _others(told: why_pb2.Why) -> RenderableType:
    notes = [common.clean(other.reason.message) for other in told.others]

    def table(noted: bool) -> Table:
        made = common.table()
        made.add_column("CODE", no_wrap=True)
        made.add_column("POOLS", justify="right", no_wrap=True)
        if noted:
            made.add_column("E.G.", no_wrap=True)
        for other, note in zip(told.others, notes, strict=True):
            cells = [common.clean(other.reason.code), f"{other.pools} of {told.pools}"]
            made.add_row(*cells, *([note] if noted else []))
        return made

    return Noted(table, [Text(note) for note in notes])


def _attempts(ended: list[job_pb2.Attempt]) -> RenderableType:
    """The newest first: its reason is the job's."""
    rows = sorted(ended, key=lambda attempt: -attempt.number)
    notes = [common.reason(attempt.reason) for attempt in rows]

    def table(noted: bool) -> Table:
        made = common.table()
        made.add_column("#", justify="right", no_wrap=True)
        for head in ("CLUSTER", "ENDED"):
            made.add_column(head, no_wrap=True)
        if noted:
            made.add_column("WHY", no_wrap=True)
        for attempt, note in zip(rows, notes, strict=True):
            cells = [f"{attempt.number}", common.clean(attempt.cluster)]
            cells.append(common.when(attempt.ended_at, seconds=True))
            made.add_row(*cells, *([note] if noted else []))
        return made

    return Noted(table, notes)


def _relaxations(told: why_pb2.Why) -> list[RenderableType]:
    """What would change it, the least given up first."""
    start = "start now" if told.sooner else "start"
    if told.fits_as_it_is:
        return [Text(f"It could {start} as it is; the plan found better.", "dim")]
    if not told.relaxations:
        return [Text(f"No change of one wish, or of two, would let it {start}.", "dim")]
    head = Text.assemble(
        (f"Each of these would let it {start}", "bold"),
        ", beside all others where they are planned:",
    )
    notes = [Text(common.clean(one.note)) for one in told.relaxations]

    def table(noted: bool) -> Table:
        made = common.table()
        for name in ("CHANGE", "CLUSTER", "START"):
            made.add_column(name, no_wrap=True)
        if noted:
            made.add_column("NOTE", no_wrap=True)
        for one, note in zip(told.relaxations, notes, strict=True):
            place = common.clean(f"{one.cluster} {one.accelerator}".strip())
            when = "now" if one.now else common.when(one.start_at)
            changes = " and ".join(_change(change) for change in one.changes)
            made.add_row(changes, place, when, *([note] if noted else []))
        return made

    return [head, Noted(table, notes)]


def _change(change: why_pb2.WishChange) -> str:
    """``max_rtt_ms 20 → 24.1``, ``deadline 18:00 → 20:00 (+2h)``."""
    field, old, new = (common.clean(part) for part in (change.field, change.old, change.new))
    if field in _TIMES:
        before, after = (datetime.fromisoformat(part).astimezone() for part in (old, new))
        moved_s = (after - before).total_seconds()
        sign = "+" if moved_s >= 0 else "−"
        day = "" if after.date() == before.date() else "%m-%d "
        told = after.strftime(f"{day}%H:%M")
        old, new = f"{before:%m-%d %H:%M}", f"{told} ({sign}{common.span(abs(moved_s))})"
    return f"{field} {old} → {new}"


def _expected(told: why_pb2.ExpectedStart) -> Text:
    at = f"{common.when(told.start_at)} {common.zone(told.start_at)}"
    words = {
        why_pb2.SURENESS_PLANNED: f"{at} at {common.clean(told.cluster)}",
        why_pb2.SURENESS_NOT_BEFORE: f"not before {at}, which is as far as plans look",
        why_pb2.SURENESS_NEVER_AS_IT_IS: "never as it is: time alone will not help",
        why_pb2.SURENESS_MAKING_ROOM: "as soon as those that are being stopped for it have ended",
    }
    text = words.get(told.sureness, "nobody can tell yet")
    if told.HasField("first_planned_at") and told.first_planned_at != told.start_at:
        text += f" (first planned for {common.when(told.first_planned_at)})"
    made = Text.assemble(("Expected start: ", "bold"), text)
    if told.sureness == why_pb2.SURENESS_PLANNED:
        made.append("\nHow sure: ", "bold").append(_how_sure(told))
    return made


def _how_sure(told: why_pb2.ExpectedStart) -> str:
    if not told.HasField("moved"):
        return "too few starts were planned ahead so far to say"
    half, most = (f"±{common.span(s)}" for s in (told.moved.p50_s, told.moved.p90_s))
    return (
        f"of the last {told.moved.jobs} starts that were planned ahead, half came within {half} of "
        f"their first plan, nine of ten within {most}"
    )


def _round(told: why_pb2.Why) -> Text:
    at = f"{common.when(told.decided_at, seconds=True)} {common.zone(told.decided_at)}"
    return Text(f"Round {told.round_id} at {at}", "dim")
