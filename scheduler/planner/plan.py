"""What the planner answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, overload

from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.span import Span, runs_between


class Placement(NamedTuple):
    """Where and when a job is to run. ``nodes[rank]`` is filled for those that start now. One that
    is to be stopped, to go on there later, has ``pauses`` between ``start_at`` and ``end_at``.
    A plan has a hundred thousand, and a tuple is made in a quarter of the time.

    Energy is at the door (PUE included); ``green_kwh`` of it is allocated from the site's green
    supply; cost is energy times price, without the weights of waiting and the like.
    ``green_held_kw`` is the green supply that the job's minimum green share reserves in every
    slot it runs in.
    """

    job_id: str
    cluster: str
    accelerator: str
    start_at: datetime
    end_at: datetime
    now: bool
    nodes: tuple[str, ...]
    energy_kwh: float
    green_kwh: float
    green_held_kw: float
    cost_yuan: float
    carbon_kg: float
    pauses: tuple[Span, ...] = ()

    @property
    def runs(self) -> tuple[Span, ...]:
        """When it runs, in order."""
        return runs_between(self.start_at, self.end_at, self.pauses)

    @property
    def first_share(self) -> float:
        """The part of its time that its first run takes."""
        total_s = sum(run.seconds for run in self.runs)
        return self.runs[0].seconds / total_s if total_s > 0 else 1.0


class InterruptionKind(StrEnum):
    """Why an attempt is to stop and its job to go on later."""

    PREEMPT = "PREEMPT"  # for a job of higher priority
    MIGRATE = "MIGRATE"  # to go on where it costs less
    PAUSE = "PAUSE"  # to go on in the same place when it costs less


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """An attempt that is to be stopped, although it could run on.

    ``cost_yuan`` is what stopping it costs; ``terms`` are (policy, yuan) of what that gains, in
    sum more than the cost. A PREEMPT is one of those that make room for ``for_job`` together: the
    gain is that of them all. A MIGRATE has the ``place`` where the run would go on after its
    grace, with ``done_s`` seconds of work (at relative speed 1) behind it.
    """

    attempt_id: str
    job_id: str
    kind: InterruptionKind
    reason: Reason
    cost_yuan: float
    terms: tuple[tuple[str, float], ...]
    for_job: str = ""
    place: Placement | None = None
    done_s: float = 0.0

    @property
    def gain_yuan(self) -> float:
        return sum(yuan for _, yuan in self.terms)


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage of the round took, in ms of real time; filled by the caller's timer."""

    name: str
    ms: float


class Verdict(NamedTuple):
    """What became of a job, and why in one word."""

    job_id: str
    outcome: Outcome
    code: ReasonCode


class Explanations(Sequence[Explanation]):
    """One explanation per job of the snapshot, in its order, each made when it is asked for: of a
    hundred thousand, few are read. ``verdicts`` are what they come to.
    """

    def __init__(self, verdicts: Sequence[Verdict], make: Callable[[int], Explanation]) -> None:
        """``make`` gives the explanation of a job by its index, the same one every time."""
        self.verdicts = verdicts
        self._make = make

    def __len__(self) -> int:
        return len(self.verdicts)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Explanation, ...]: ...
    def __getitem__(self, index: int | slice) -> Explanation | tuple[Explanation, ...]:
        which = range(len(self.verdicts))[index]
        return self._make(which) if isinstance(which, int) else tuple(map(self._make, which))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        return tuple, (tuple(self),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A round's answer. Every job of the snapshot has one explanation; jobs with a place have one
    placement. ``objective_yuan`` and ``bound_yuan`` include the penalty of the unplaced, but not
    of jobs that could start nowhere at any time, which would only flatter the gap. ``gap`` is
    (objective - bound) / |objective|, 0 when there is nothing to plan.
    """

    placements: tuple[Placement, ...]
    explanations: Sequence[Explanation]
    objective_yuan: float
    bound_yuan: float
    gap: float
    stages: tuple[StageTime, ...] = ()
    interruptions: tuple[Interruption, ...] = ()

    @property
    def without_sentences(self) -> "Plan":
        """The same, holding none of what explanations are made from, which is far larger."""

        def gone(i: int) -> Explanation:
            raise LookupError(f"the plan was kept without its explanation {i}")

        return replace(self, explanations=Explanations(self.verdicts, gone))

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """What the explanations come to, in their order."""
        if isinstance(self.explanations, Explanations):
            return self.explanations.verdicts
        return [Verdict(e.job_id, e.outcome, e.reason.code) for e in self.explanations]
