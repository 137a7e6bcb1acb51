"""Placements, page by page: of each job the planned one, if there is one, then its attempts', the
newest first; the newest jobs before the others. What is planned has the place of the attempt that
it becomes, so that a job which is assigned between two pages is told once.
"""

import re
from collections.abc import Callable, Sequence
from operator import attrgetter

from scheduler.domain.job import Job
from scheduler.domain.round import PlacementRecord
from scheduler.domain.validation import Violation
from scheduler.rpc.convert_placements import placement_to_pb
from scheduler.rpc.errors import invalid
from scheduler.state.jobs import JobBook
from scheduler.store import Store
from westward.v1 import placement_pb2

PAGE_MOST = 1000

# The place of the last that was told. No database numbers attempts further.
_TOKEN = re.compile(r"(?P<job_id>[a-z0-9]{1,32})-(?P<number>\d{1,9})")
# Greater than every id.
_AFTER_ALL = "~"
_job_id = attrgetter("job_id")

Position = tuple[str, int]
Row = tuple[Job, PlacementRecord]


class PlacementPages:
    """Answers from the database, and what the last rounds planned."""

    def __init__(
        self, book: JobBook, store: Store, planned: Callable[[], Sequence[PlacementRecord]]
    ) -> None:
        """``planned`` gives what is planned and not committed."""
        self._book = book
        self._store = store
        self._planned = planned

    async def page(
        self, request: placement_pb2.ListPlacementsRequest
    ) -> placement_pb2.ListPlacementsResponse:
        """One page.

        Raises:
            StatusError: INVALID_ARGUMENT for a token of no answer.
        """
        after = _position(request.page_token)
        size = min(request.page_size or PAGE_MOST, PAGE_MOST)
        # One more than asked for tells whether there is a next page.
        committed = await self._store.jobs.placements(
            cluster=request.cluster,
            tenant=request.tenant,
            include_final=request.include_final,
            after=after,
            limit=size + 1,
        )
        planned = self._planned_after(request, after, size + 1)
        rows = sorted([*planned, *committed], key=_place_of, reverse=True)
        told = rows[:size]
        return placement_pb2.ListPlacementsResponse(
            placements=[placement_to_pb(job, record) for job, record in told],
            next_page_token="{}-{}".format(*_place_of(told[-1])) if len(rows) > size else "",
        )

    def _planned_after(
        self, request: placement_pb2.ListPlacementsRequest, after: Position | None, most: int
    ) -> list[Row]:
        first = after[0] if after is not None else _AFTER_ALL
        # There may be 100,000: no more is done with each than it takes to find the first of them.
        records = [record for record in self._planned() if record.job_id < first]
        records.sort(key=_job_id, reverse=True)
        active, found = self._book.active(), list[Row]()
        for record in records:
            job = active.get(record.job_id)
            fits = not request.cluster or request.cluster == record.cluster
            if job and fits and (not request.tenant or request.tenant == job.spec.tenant):
                found.append((job, record))
                if len(found) == most:
                    break
        return found


def _place_of(row: Row) -> Position:
    job, record = row
    if record.attempt_id is None:
        return (job.id, len(job.attempts) + 1)
    return (job.id, int(record.attempt_id.rpartition("-")[2]))


def _position(token: str) -> Position | None:
    if not token:
        return None
    read = _TOKEN.fullmatch(token)
    if read is None:
        raise invalid([Violation("page_token", f"{token[:80]!r} is not from an answer")])
    return (read["job_id"], int(read["number"]))
