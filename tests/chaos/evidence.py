"""Judges a chaos run from outside: what the jobs' processes wrote down, and what the API says."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from scheduler.domain.job import JobState
from scheduler.domain.transitions import TRANSITIONS, Event
from westward.v1 import job_pb2

SUCCEEDED = "succeeded"
ENDS = (SUCCEEDED, "failed", "terminated")


@dataclass(frozen=True, slots=True)
class Life:
    """What one process wrote: CLOCK_MONOTONIC in ns of its first and last line.

    ``end`` is one of ENDS, or None for a process that was killed.
    """

    attempt_id: str
    rank: int
    first_ns: int
    last_ns: int
    end: str | None

    @property
    def job_id(self) -> str:
        return self.attempt_id.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Told:
    """One job as the API tells it."""

    job: job_pb2.Job
    events: Sequence[job_pb2.JobEvent]


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken; ``kind`` is short, ``told`` has the figures."""

    kind: str
    told: str


def read(folder: Path) -> list[Life]:
    """Every process that ever ran."""
    return [life for path in sorted(folder.iterdir()) if (life := _life(path))]


def _life(path: Path) -> Life | None:
    attempt_id, rank, *_ = path.name.split(".")
    # A process that is killed may leave half a line.
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    if not whole:
        return None
    lines = [line.split() for line in whole]
    last = lines[-1][1]
    return Life(
        attempt_id=attempt_id,
        rank=int(rank),
        first_ns=int(lines[0][0]),
        last_ns=int(lines[-1][0]),
        end=last if last in ENDS else None,
    )


def judge(
    lives: Sequence[Life],
    told: Mapping[str, Told],
    acknowledged: Mapping[str, str],
    cancelled: Iterable[str],
) -> list[Violation]:
    """All that is wrong.

    Args:
        told: every job of the run that the API knows, by id.
        acknowledged: job ids by idempotency key, as the clients were answered.
        cancelled: ids of jobs whose cancel was acknowledged.
    """
    found: list[Violation] = []
    found += _lost(told, acknowledged)
    found += [v for job_id in cancelled if job_id in told for v in _uncancelled(told[job_id])]
    by_job: dict[str, list[Life]] = defaultdict(list)
    for life in lives:
        by_job[life.job_id].append(life)
    for job_id in by_job.keys() - told.keys():
        found.append(Violation("stranger", f"{job_id} ran, and no such job is known"))
    for job_id, one in told.items():
        found += _overlaps(by_job[job_id])
        found += _successes(one, by_job[job_id])
        found += _history(one)
    return found


def unheard(lives: Iterable[Life], told: Mapping[str, Told]) -> int:
    """Attempts whose every process ran to a good end of which no word arrived: no violation, as
    nobody can make a process and a message one thing, but the work was done again."""
    states = {a.id: a.state for one in told.values() for a in one.job.attempts}
    ended = {life.attempt_id for life in lives if life.end == SUCCEEDED}
    return sum(states.get(a) != job_pb2.ATTEMPT_STATE_SUCCEEDED for a in ended)


def _lost(told: Mapping[str, Told], acknowledged: Mapping[str, str]) -> Iterator[Violation]:
    for key, job_id in acknowledged.items():
        if job_id not in told:
            yield Violation("lost", f"{job_id} was acknowledged for {key} and is not known")
    for job_id, one in told.items():
        if not _state(one.job.state).final:
            yield Violation("never ended", f"{job_id} is {_state(one.job.state)}: {one.job.reason}")
    names = Counter(one.job.spec.name for one in told.values())
    for name, count in names.items():
        if count > 1:
            yield Violation("doubled", f"{name} was submitted under one key, {count} jobs have it")


def _uncancelled(one: Told) -> Iterator[Violation]:
    if one.job.state != job_pb2.JOB_STATE_CANCELLED:
        told = f"{one.job.id} is {_state(one.job.state)}, its cancel was acknowledged"
        yield Violation("cancel lost", told)


def _overlaps(lives: Sequence[Life]) -> Iterator[Violation]:
    """No two attempts of a job, and no two processes for one rank of an attempt, at one time;
    and no rank of an attempt is started twice at all."""
    attempts: dict[str, list[Life]] = defaultdict(list)
    for life in lives:
        attempts[life.attempt_id].append(life)
    spans = sorted(
        (min(x.first_ns for x in group), max(x.last_ns for x in group), attempt_id)
        for attempt_id, group in attempts.items()
    )
    for (first, last, attempt_id), (start, end, later_id) in pairwise(spans):
        if start < last:
            both_ms = (min(last, end) - start) / 1e6
            told = f"{later_id} started while {attempt_id} lived: {both_ms:.0f} ms of both"
            told += f" ({attempt_id} began {(start - first) / 1e6:.0f} ms before)"
            yield Violation("overlap", told)
    for attempt_id, group in attempts.items():
        for rank, count in Counter(life.rank for life in group).items():
            if count > 1:
                told = f"worker {rank} of {attempt_id} was started {count} times"
                yield Violation("started twice", told)


def _successes(one: Told, lives: Sequence[Life]) -> Iterator[Violation]:
    """A job that succeeded did so in its last attempt alone, each of whose workers says so once."""
    job = one.job
    good = [a.id for a in job.attempts if a.state == job_pb2.ATTEMPT_STATE_SUCCEEDED]
    if job.state != job_pb2.JOB_STATE_SUCCEEDED:
        if good and job.state != job_pb2.JOB_STATE_CANCELLED:
            yield Violation("success lost", f"{good} succeeded, {job.id} is {_state(job.state)}")
        return
    if good != [job.attempts[-1].id]:
        yield Violation("success", f"{job.id} succeeded, its attempts that did are {good}")
    for rank in range(job.spec.workers):
        ends = [
            life.end
            for life in lives
            if life.attempt_id in good and life.rank == rank and life.end == SUCCEEDED
        ]
        if len(ends) != 1:
            told = f"{job.id} succeeded; worker {rank} wrote down {len(ends)} successful ends"
            yield Violation("success", told)


def _history(one: Told) -> Iterator[Violation]:
    """The events are a walk of the table, from its birth to the state the job is in."""
    job, events = one.job, one.events
    if not events or events[0].event != Event.SUBMIT:
        yield Violation("history", f"{job.id} does not begin with its submission")
        return
    state = JobState.PENDING
    for event in events[1:]:
        row = TRANSITIONS.get((state, Event(event.event)))
        told = f"{job.id}: {_state(event.from_state)} –{event.event}→ {_state(event.to_state)}"
        if row is None or (state, row[0]) != (_state(event.from_state), _state(event.to_state)):
            yield Violation("history", f"{told}, being {state}")
            return
        state = row[0]
    if state != _state(job.state):
        yield Violation("history", f"{job.id} is {_state(job.state)}, its history ends {state}")
    assigned = sum(event.event == Event.ASSIGN for event in events)
    if assigned != len(job.attempts):
        told = f"{job.id} was assigned {assigned} times and has {len(job.attempts)} attempts"
        yield Violation("history", told)


def _state(state: "job_pb2.JobState.ValueType") -> JobState:
    return JobState(job_pb2.JobState.Name(state).removeprefix("JOB_STATE_"))
