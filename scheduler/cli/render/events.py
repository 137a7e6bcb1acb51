"""The audit trail: a row, or while it is followed a line, per event."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.cli.render.noted import Noted
from westward.v1 import event_pb2

# What an operator looks for first.
_STYLES = {
    "SUSPECT": "yellow",
    "LOST": "red",
    "UNREACHABLE": "bold red",
    "NOT_SERVING": "red",
    "FIELD_REFUSED": "yellow",
    "AGENT_REFUSED": "yellow",
    "FAILED": "red",
    "FAIL_RETRY": "yellow",
    "FAIL_FINAL": "red",
    "LOSE_CONTACT": "bold red",
    "JOINED": "green",
    "BACK": "green",
    "SERVING": "green",
    "SUCCEED": "green",
}


def listing(events: Sequence[event_pb2.Event], *, wide: bool = False) -> RenderableType:
    """One row per event, in the order given; where there is little room, who and why stand below
    it."""
    if not events:
        return Text("No such events.")

    def build(noted: bool) -> Table:
        table = common.table()
        places = ("CLUSTER", "ATTEMPT") if wide else ()
        who, why = ("ACTOR",) * noted, ("REASON",) * noted
        for head in ("TIME", *who, "WHAT", *places, "EVENT", "CHANGE", *why):
            table.add_column(head, no_wrap=True)
        for event in events:
            place = (common.clean(event.cluster), common.clean(event.attempt_id)) if wide else ()
            table.add_row(
                common.when(event.at, seconds=True),
                *([common.clean(event.actor)] * noted),
                what(event),
                *place,
                happening(event),
                change(event),
                *([_reason(event)] * noted),
            )
        return table

    told = ((Text(common.clean(event.actor)), _reason(event)) for event in events)
    notes = [Text(": ").join(part for part in parts if part) for parts in told]
    return Noted(build, notes)


def line(event: event_pb2.Event) -> Text:
    """Time, actor, what, event, change, reason."""
    parts = [
        Text(common.clean(event.actor)),
        Text(what(event)),
        happening(event),
        Text(change(event)),
        _reason(event),
    ]
    at = Text(f"{common.when(event.at, seconds=True)}  ", "dim")
    return at.append_text(Text("  ").join(part for part in parts if part))


def what(event: event_pb2.Event) -> str:
    """``node qy-1``."""
    kind = event_pb2.EventSubject.Name(event.subject).removeprefix("EVENT_SUBJECT_").lower()
    return kind if event.name == kind else f"{kind} {common.clean(event.name)}"


def happening(event: event_pb2.Event) -> Text:
    """``LOST``, in its colour."""
    return Text(common.clean(event.event), _STYLES.get(event.event, ""))


def change(event: event_pb2.Event) -> str:
    """``ready → suspect``; empty where no state has changed."""
    before, after = (common.clean(s).lower() for s in (event.from_state, event.to_state))
    return "" if before == after else f"{before} → {after}".strip()


def _reason(event: event_pb2.Event) -> Text:
    if event.reason.code:
        return common.reason(event.reason)
    return Text(common.clean(event.reason.message))
