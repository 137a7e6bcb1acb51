"""The audit trail on the wire: pages of it, and what comes."""

import asyncio
from collections.abc import AsyncGenerator

from scheduler.domain.audit import AuditEvent
from scheduler.domain.validation import Violation
from scheduler.rpc.convert_jobs import stamp, when
from scheduler.rpc.errors import invalid
from scheduler.state.bell import Bell
from scheduler.store.events import EventFilter, EventStore, Position
from westward.v1 import event_pb2, job_pb2

PAGE_DEFAULT = 100
PAGE_MOST = 1000
# A burst of changes is read at one go.
GATHER_S = 0.1


def event_to_pb(event: AuditEvent) -> event_pb2.Event:
    """One event."""
    return event_pb2.Event(
        id=event.id,
        at=stamp(event.at),
        actor=event.actor,
        subject=event_pb2.EventSubject.Value(f"EVENT_SUBJECT_{event.subject.value}"),
        name=event.name,
        event=event.event,
        from_state=event.from_state,
        to_state=event.to_state,
        reason=job_pb2.Reason(code=event.code, message=event.message),
        cluster=event.cluster,
        attempt_id=event.attempt_id,
    )


async def listed(
    store: EventStore, request: event_pb2.ListEventsRequest
) -> event_pb2.ListEventsResponse:
    """A page."""
    try:
        since_at = when(request.since_at) if request.HasField("since_at") else None
    except ValueError as error:
        raise invalid([Violation("since_at", str(error))]) from error
    wanted = EventFilter(
        job_id=request.job_id, node_id=request.node_id, cluster=request.cluster, since_at=since_at
    )
    before = _position("page_token", request.page_token)
    # Read before the page: what is stored in between is told twice rather than never.
    newest = await store.newest() if before is None else None
    limit = min(request.page_size or PAGE_DEFAULT, PAGE_MOST)
    page = await store.page(wanted, before or _behind(newest), limit)
    return event_pb2.ListEventsResponse(
        events=map(event_to_pb, page.events),
        next_page_token=_text(page.next),
        position=_text(newest),
    )


async def followed(
    store: EventStore, bell: Bell, request: event_pb2.WatchEventsRequest
) -> AsyncGenerator[event_pb2.WatchEventsResponse, None]:
    """Events as they come, for ever. The database is looked at whenever something was stored, so
    that none is missed and none comes twice, however slowly they are read."""
    wanted = EventFilter(job_id=request.job_id, node_id=request.node_id, cluster=request.cluster)
    position = _position("after", request.after) or await store.newest()
    while True:
        rung = bell.next
        more = True
        while more:
            page, more = await store.after(wanted, position, PAGE_MOST)
            for event in page.events:
                position = _passed(position, event)
                yield event_pb2.WatchEventsResponse(
                    event=event_to_pb(event), position=_text(position)
                )
            position = page.next or position
        await rung.wait()
        await asyncio.sleep(GATHER_S)  # what a round does comes in many commits


def _passed(position: Position, event: AuditEvent) -> Position:
    """The position after an event."""
    if event.subject == "JOB":
        return Position(max(position.job, event.id), position.other)
    return Position(position.job, max(position.other, event.id))


def _behind(newest: Position | None) -> Position | None:
    """Before it is all there was."""
    return Position(newest.job + 1, newest.other + 1) if newest is not None else None


def _text(position: Position | None) -> str:
    return f"{position.job}.{position.other}" if position is not None else ""


def _position(field: str, text: str) -> Position | None:
    """The position that a text names; None of none.

    Raises:
        StatusError: it was not given by this service.
    """
    if not text:
        return None
    job, _, other = text.partition(".")
    # Python reads digits of all scripts, and as many as there are; the database does not.
    if not (text.isascii() and job.isdigit() and other.isdigit() and len(text) < 40):
        raise invalid([Violation(field, f"{text[:40]!r} is none that was given by an answer")])
    return Position(min(int(job), 2**62), min(int(other), 2**62))
