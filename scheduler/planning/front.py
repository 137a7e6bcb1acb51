"""Who is first in line: the few pending jobs that a quick round plans between two whole ones.

A whole round over thousands of jobs takes a second or more, too long for an accelerator that has
just fallen free. Quick rounds are the same planner over the front of the line.

Jobs stand in line by priority, then by age. Jobs of one kind are alike in everything that a
placement may look at; of each kind the front holds as many as what is free could start, at least
one, and the first ``FRONT_MOST`` of all kinds together. So whatever a quick round starts overtakes
no job that is more urgent and could have been started instead: that one was planned beside it, or
stands behind as many of its kind as there is room for. A job that the last whole round put off to
a cheaper or greener time, or that no cluster may run, is not in line; but those whose time comes
soonest are planned as well, so that their places are counted with.
"""

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from heapq import heappop, heappush, heapreplace
from itertools import islice
from operator import attrgetter

from scheduler.domain.fleet import Node, NodeLifecycle
from scheduler.domain.job import Job, JobSpec, JobState
from scheduler.domain.reason import ReasonCode
from scheduler.planner.snapshot import PendingJob, RunningAttempt

FRONT_MOST = 32
SOON_MOST = 16
# Of these a job waits by choice, or for something else than room: it is not in line.
NOT_FOR_ROOM = frozenset(
    {
        ReasonCode.NO_CLUSTER,
        ReasonCode.NO_SUCH_ACCELERATOR,
        ReasonCode.TOO_BIG,
        ReasonCode.RESIDENCY,
        ReasonCode.LATENCY,
        ReasonCode.LATENCY_UNKNOWN,
        ReasonCode.GREEN,
        ReasonCode.DEADLINE,
        ReasonCode.DATA,
        ReasonCode.MAINTENANCE,
        ReasonCode.QUOTA,
        ReasonCode.NOT_YET,
        ReasonCode.WAITING_FOR_CHEAPER,
        ReasonCode.WAITING_FOR_GREEN,
    }
)
# What a job does, and what becomes of it, is nothing to a placement.
_NO_MATTER = {
    *("name", "work", "env", "working_dir_sha256", "array", "max_attempts", "on_unreachable"),
    "checkpoint_uri",
}
_MATTERS = attrgetter(*(field.name for field in fields(JobSpec) if field.name not in _NO_MATTER))

Kind = tuple[object, ...]
Place = tuple[int, datetime, str]  # in line, the first is the most urgent


@dataclass(frozen=True, slots=True)
class Free:
    """What no attempt holds on the nodes that take work: accelerators by model, and cores."""

    gpus: Mapping[str, int]
    cpus: float

    def room(self, spec: JobSpec) -> int:
        """How many jobs of a spec could start at the very most, at least 1."""
        shape = spec.per_worker
        if shape.gpus:
            found = sum(n for model, n in self.gpus.items() if spec.speed_on(model) is not None)
            return max(1, found // (shape.gpus * spec.workers))
        return max(1, int(self.cpus / (shape.cpus * spec.workers)))


def free(nodes: Iterable[Node], running: Iterable[RunningAttempt]) -> Free:
    """What attempts leave."""
    ready = {node.id: node for node in nodes if node.lifecycle is NodeLifecycle.READY}
    gpus: dict[str, int] = defaultdict(int)
    for node in ready.values():
        gpus[node.accelerator] += node.gpus
    cpus = sum(node.cpus for node in ready.values())
    for attempt in running:
        for name in attempt.nodes:
            if name in ready:
                gpus[ready[name].accelerator] -= attempt.spec.per_worker.gpus
                cpus -= attempt.spec.per_worker.cpus
    return Free(gpus, cpus)


@dataclass(frozen=True, slots=True)
class Front:
    """``job_ids`` of a quick round. Where all of ``rows[i]`` are started, there may be room for
    those that stand behind them."""

    job_ids: frozenset[str]
    rows: tuple[frozenset[str], ...]

    def asks_for_more(self, started: Collection[str]) -> bool:
        """Whether another quick round may start more."""
        return any(row <= {*started} for row in self.rows)


class Kinds:
    """How many jobs of each kind wait."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}
        self._waiting: Counter[int] = Counter()

    def follow(self, job: Job) -> bool:
        """Takes in what became of a job; tells whether it is the only one of its kind to wait."""
        known = self._of.pop(job.id, None)
        if known is not None:
            self._waiting[known] -= 1
            if not self._waiting[known]:
                del self._waiting[known]
        if job.state is not JobState.PENDING:
            return False
        # Two kinds of one hash would only have a job wait for the next whole round.
        kind = self._of[job.id] = hash((_MATTERS(job.spec), job.done_s))
        self._waiting[kind] += 1
        return self._waiting[kind] == 1


class Line:
    """The pending jobs in line, by kind."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, list[Place]] = {}
        self._jobs: dict[str, tuple[Kind, Place, PendingJob]] = {}
        # The first of each kind.
        self._heads: list[Place] = []

    def join(self, job: PendingJob) -> None:
        """Takes in a job that waits, or how it waits now."""
        self.leave(job.id)
        kind = (_MATTERS(job.spec), job.done_s)
        place = (-job.spec.priority, job.submitted_at, job.id)
        self._jobs[job.id] = (kind, place, job)
        alike = self._kinds.setdefault(kind, [])
        before = alike[:1]
        insort(alike, place)
        self._put_head(before, alike[:1])

    def leave(self, job_id: str) -> None:
        """Drops a job that waits no longer, if it did."""
        if (known := self._jobs.pop(job_id, None)) is None:
            return
        kind, place, _ = known
        alike = self._kinds[kind]
        before = alike[:1]
        del alike[bisect_left(alike, place)]
        self._put_head(before, alike[:1])
        if not alike:
            del self._kinds[kind]

    def front(
        self,
        *,
        without: Collection[str],
        now_at: datetime,
        free: Free,
        code: Callable[[str], ReasonCode | None],
        planned: Iterable[str],
    ) -> Front:
        """The jobs that a quick round is to plan.

        Args:
            without: jobs that are not to be among them.
            code: why a job waits, as the last whole round had it.
            planned: those that it planned for later, the soonest first.
        """

        def in_line(place: Place) -> bool:
            job = self._jobs[place[2]][2]
            return (
                job.id not in without
                and code(job.id) not in NOT_FOR_ROOM
                and (job.not_before_at is None or job.not_before_at <= now_at)
                and (job.spec.earliest_start_at is None or job.spec.earliest_start_at <= now_at)
            )

        def row(kind: Kind) -> Iterator[Place]:
            alike = self._kinds[kind]
            room = free.room(self._jobs[alike[0][2]][2].spec)
            return islice(filter(in_line, alike), room)

        first = [*islice(self._in_turn(row), FRONT_MOST)]
        inside = frozenset(job_id for _, _, job_id in first)
        kinds = dict.fromkeys(self._jobs[job_id][0] for _, _, job_id in first)
        rows = (frozenset(job_id for _, _, job_id in row(kind)) for kind in kinds)
        full = [alike for alike in rows if alike <= inside]
        if len(first) == FRONT_MOST:
            full.append(inside)
        later = (i for i in planned if i not in without and code(i) in NOT_FOR_ROOM)
        return Front(inside.union(islice(later, SOON_MOST)), tuple(full))

    def _in_turn(self, row: Callable[[Kind], Iterator[Place]]) -> Iterator[Place]:
        """The places of all rows in order. A row is not looked at before the head of its kind is
        due, so that the first few cost little however many kinds there are."""
        opened: list[tuple[Place, Iterator[Place]]] = []
        heads = iter(self._heads)
        head = next(heads, None)
        while head is not None or opened:
            while head is not None and (not opened or head <= opened[0][0]):
                rest = row(self._jobs[head[2]][0])
                if (place := next(rest, None)) is not None:
                    heappush(opened, (place, rest))
                head = next(heads, None)
            if opened:
                place, rest = opened[0]
                yield place
                if (following := next(rest, None)) is not None:
                    heapreplace(opened, (following, rest))
                else:
                    heappop(opened)

    def _put_head(self, before: list[Place], after: list[Place]) -> None:
        if before != after:
            for place in before:
                del self._heads[bisect_left(self._heads, place)]
            for place in after:
                insort(self._heads, place)
