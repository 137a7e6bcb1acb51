"""What runs and should stop, to go on later: for a job of higher priority, for a better place, or
for a better time.

After the plan, since both ask what it leaves: who still waits, and what is still free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from policies.base import Policy
from scheduler.domain.explanation import Explanation
from scheduler.domain.reason import Reason
from scheduler.planner.decision import Decision
from scheduler.planner.migrate import migrate
from scheduler.planner.overruns import overruns_told
from scheduler.planner.pauses import pauses
from scheduler.planner.plan import Interruption, Placement
from scheduler.planner.preempt import preempt
from scheduler.planner.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Interrupted:
    """What to stop, the placements beside what moves, and the explanations with what was found
    meanwhile."""

    interruptions: tuple[Interruption, ...]
    placements: tuple[Placement, ...]
    explanations: tuple[Explanation, ...]


def interrupt(
    snapshot: Snapshot,
    decision: Decision,
    placements: Sequence[Placement],
    explanations: Sequence[Explanation],
    policies: tuple[Policy, ...],
) -> Interrupted:
    """Decides on the running attempts of a planned snapshot. Nothing is moved in a round that makes
    room, nor while an earlier stop is under way: what it frees or takes is not known yet.
    """
    preempted = preempt(snapshot, decision, placements, explanations)
    interruptions = preempted.interruptions
    if not interruptions:
        moved = migrate(snapshot, decision, placements, policies)
        interruptions, placements = moved.interruptions, moved.placements
    stopped = {one.attempt_id for one in interruptions}
    paused = pauses(snapshot, decision, placements, policies)
    interruptions += tuple(one for one in paused if one.attempt_id not in stopped)
    late = overruns_told(snapshot, decision.model.scene, placements, explanations)
    told = []
    for job, explanation in zip(snapshot.jobs, explanations, strict=True):
        more = [preempted.told[job.id]] if job.id in preempted.told else []
        if job.id in late:
            more.append(late[job.id])
        if job.stopped is not None:
            more.append(f"Stopped before: {job.stopped.message}.")
        reason = explanation.reason
        if more:
            reason = Reason(reason.code, " ".join([reason.message, *more]))
        told.append(replace(explanation, reason=reason) if more else explanation)
    return Interrupted(interruptions, tuple(placements), tuple(told))
