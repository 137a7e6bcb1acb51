"""What to do so that what runs becomes what is desired: a pure function, safe to repeat."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode


def job_of(attempt_id: str) -> str:
    """Attempt ids are ``<job id>-<number>``."""
    return attempt_id.rpartition("-")[0] or attempt_id


@dataclass(frozen=True, slots=True)
class Wanted:
    """An attempt that should run."""

    attempt_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Seen:
    """An attempt that was given to the executor, or is about to be. ``outlives_lease``: nothing is
    started elsewhere while this cluster is silent."""

    attempt_id: str
    epoch: int
    state: AttemptState
    outlives_lease: bool = False


class LeaseState(Enum):
    """Whether attempts may go on."""

    UNKNOWN = auto()  # never granted to this daemon or to one before it
    HELD = auto()
    ENDING = auto()


@dataclass(frozen=True, slots=True)
class Start:
    attempt_id: str


@dataclass(frozen=True, slots=True)
class Stop:
    attempt_id: str
    code: ReasonCode


@dataclass(frozen=True, slots=True)
class Forget:
    attempt_id: str


Action = Start | Stop | Forget


def reconcile(
    wanted: Iterable[Wanted] | None,
    seen: Iterable[Seen],
    lease: LeaseState,
    confirmed: Set[str] = frozenset(),
    ended: Mapping[str, int] = MappingProxyType({}),
) -> list[Action]:
    """The actions that bring the cluster closer to what is desired.

    Args:
        wanted: all attempts that should run; None before the first word of the scheduler.
        confirmed: attempts whose end the scheduler is known to have stored.
        ended: by job, the highest epoch that has ended here, forgotten ones included.

    Of several attempts of one job only that of the highest epoch counts. An attempt starts only
    while the lease is held, no other attempt of its job is alive here and none of its epoch or a
    later one has ended here. A finished attempt is kept until nobody wants it and its end is
    stored.
    """
    attempts = {attempt.attempt_id: attempt for attempt in seen}
    live = [attempt for attempt in attempts.values() if not attempt.state.final]
    if lease is LeaseState.ENDING:
        return [
            Stop(attempt.attempt_id, ReasonCode.LEASE_EXPIRED)
            for attempt in live
            if not attempt.outlives_lease
        ]
    if wanted is None:
        return []
    newest = _newest_of_each_job(wanted)
    actions: list[Action] = [
        Stop(attempt.attempt_id, ReasonCode.STOPPED)
        for attempt in live
        if not _is_wanted(attempt, newest)
    ]
    actions += [
        Forget(attempt.attempt_id)
        for attempt in attempts.values()
        if attempt.state.final
        and not _is_wanted(attempt, newest)
        and attempt.attempt_id in confirmed
    ]
    if lease is LeaseState.HELD:
        alive = {job_of(attempt.attempt_id) for attempt in live}
        latest = _latest_epochs(attempts.values(), ended)
        actions += [
            Start(attempt.attempt_id)
            for job_id, attempt in newest.items()
            if attempt.attempt_id not in attempts
            and job_id not in alive
            and attempt.epoch > latest.get(job_id, -1)
        ]
    return actions


def _newest_of_each_job(wanted: Iterable[Wanted]) -> Mapping[str, Wanted]:
    newest: dict[str, Wanted] = {}
    for attempt in wanted:
        known = newest.get(job_of(attempt.attempt_id))
        if known is None or attempt.epoch > known.epoch:
            newest[job_of(attempt.attempt_id)] = attempt
    return newest


def _is_wanted(seen: Seen, newest: Mapping[str, Wanted]) -> bool:
    """What is desired names this attempt, or is older than it."""
    wanted = newest.get(job_of(seen.attempt_id))
    if wanted is None:
        return False
    same = wanted.attempt_id == seen.attempt_id and wanted.epoch == seen.epoch
    return same or wanted.epoch < seen.epoch


def _latest_epochs(seen: Iterable[Seen], ended: Mapping[str, int]) -> Mapping[str, int]:
    """By job, the highest epoch that was ever seen here."""
    latest = dict(ended)
    for attempt in seen:
        job_id = job_of(attempt.attempt_id)
        latest[job_id] = max(attempt.epoch, latest.get(job_id, -1))
    return latest
