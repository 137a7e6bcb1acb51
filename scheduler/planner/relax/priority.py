"""The smallest priority for which attempts of others would be stopped."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.job import JobSpec
from scheduler.domain.validation import PRIORITY_MOST
from scheduler.domain.why import Change, Relaxation
from scheduler.planner.decision import Decision
from scheduler.planner.places import Places, Residual, nowhere
from scheduler.planner.plan import Interruption, Placement, Verdict
from scheduler.planner.preempt import WAITS_FOR_ROOM, preempt
from scheduler.planner.relax.beside import Beside, Wishes
from scheduler.planner.relax.knobs import WHOLE
from scheduler.planner.relax.smallest import TOGETHER, Found


def by_priority(
    beside: Beside, decision: Decision, placements: Sequence[Placement], told: Explanation
) -> Found | None:
    """What stops for the job at a higher priority; None where it lacks something else than room, or
    nothing that could stop would be worth it."""
    own = beside.job.spec.priority
    able = [a for a in beside.snapshot.running if a.stoppable]
    if told.reason.code not in WAITS_FOR_ROOM or not able or own >= PRIORITY_MOST:
        return None
    step = decision.model.scene.weights.preempt_priority_step
    below = max(own, min(a.spec.priority for a in able) + step - 1)
    search, best = _Raised(beside, decision, placements, told), tuple[Interruption, ...]()
    works = PRIORITY_MOST + 1
    while works - below > 1:
        asked = _spread(below + 1, min(works, PRIORITY_MOST + 1) - 1)
        n, stopped = search.first(asked)
        if not stopped:
            below = asked[-1]
            continue
        works, best = asked[n], stopped
        below = asked[n - 1] if n else below
    return _found(beside, best, works) if best else None


def _spread(low: int, high: int) -> list[int]:
    """Both and some between."""
    count = high - low + 1
    if count <= TOGETHER:
        return list(range(low, high + 1))
    return [low + (count - 1) * q // (TOGETHER - 1) for q in range(TOGETHER)]


def _with(spec: JobSpec, priority: int) -> JobSpec:
    return replace(spec, priority=priority)


class _Raised:
    """The job at higher priorities, of which the plan's own search for victims takes each alone."""

    def __init__(
        self,
        beside: Beside,
        decision: Decision,
        placements: Sequence[Placement],
        told: Explanation,
    ) -> None:
        self._beside, self._decision = beside, decision
        self._placements, self._told = placements, told

    def first(self, priorities: Sequence[int]) -> tuple[int, tuple[Interruption, ...]]:
        """The first of some priorities, in order, that has others stopped: its place among them,
        and who stops; nobody where none has."""
        spec = self._beside.job.spec
        wishes = self._beside.wishes([_with(spec, priority) for priority in priorities])
        best = self._stopped(wishes, len(priorities) - 1)
        if not best:
            return len(priorities), ()
        below, works = -1, len(priorities) - 1
        while works - below > 1:
            middle = (below + works) // 2
            if stopped := self._stopped(wishes, middle):
                works, best = middle, stopped
            else:
                below = middle
        return works, best

    def _stopped(self, wishes: Wishes, n: int) -> tuple[Interruption, ...]:
        """The attempts that would make room for the job at one of the priorities."""
        snapshot, told = self._beside.snapshot, self._told
        others = [job for job in snapshot.jobs if job.id != self._beside.job.id]
        places = nowhere(wishes.model)
        if told.outcome is Outcome.PLANNED:
            self._as_planned(places, wishes, n)
        alone = replace(
            self._decision,
            model=wishes.model,
            places=places,
            residual=Residual(wishes.model, places),
        )
        away = Verdict("", Outcome.PLACED, told.reason.code)
        verdicts = [away] * len(wishes.jobs)
        verdicts[n] = Verdict(wishes.jobs[n].id, told.outcome, told.reason.code)
        seen = replace(snapshot, jobs=(*wishes.jobs, *others))
        return preempt(seen, alone, self._placements, verdicts).interruptions

    def _as_planned(self, places: Places, wishes: Wishes, n: int) -> None:
        """The place that the plan has for the job."""
        job_id, scene = self._beside.job.id, wishes.model.scene
        own = next(p for p in self._placements if p.job_id == job_id)
        at = scene.classes.members.tolist().index(n)
        span = wishes.block(wishes.klass(n)).span
        for pair in range(span.start, span.stop):
            where = scene.pools[wishes.model.candidates.pairs.pool[pair]]
            if (where.cluster, where.accelerator) == (own.cluster, own.accelerator):
                since_s = (own.start_at - scene.start_at).total_seconds()
                places.pair[at], places.slot[at] = pair, int(since_s // scene.slot_s)


def _found(beside: Beside, stopped: Sequence[Interruption], priority: int) -> Found:
    running = {attempt.attempt_id: attempt for attempt in beside.snapshot.running}
    attempts = [running[one.attempt_id] for one in stopped]
    grace_s = max(attempt.spec.stop_grace_s for attempt in attempts)
    own = beside.job.spec.priority
    relaxation = Relaxation(
        changes=(Change("priority", f"{own}", f"{priority}"),),
        cluster=attempts[0].cluster,
        accelerator=attempts[0].accelerator,
        start_at=beside.snapshot.now_at + timedelta(seconds=grace_s),
        now=False,
        # Others pay for it, so that it comes after what the job can give up itself.
        size=WHOLE + (priority - own) / PRIORITY_MOST,
        note=f"stops {', '.join(attempt.attempt_id for attempt in attempts)} there",
    )
    return Found(_with(beside.job.spec, priority), relaxation)
