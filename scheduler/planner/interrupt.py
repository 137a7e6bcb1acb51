"""What runs and should stop, to go on later: for a job of higher priority, for a better place, or
for a better time.

After the plan, since both ask what it leaves: who still waits, and what is still free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.base import Policy
from scheduler.planner.decision import Decision
from scheduler.planner.migrate import migrate
from scheduler.planner.overruns import overruns_told
from scheduler.planner.pauses import pauses
from scheduler.planner.plan import Interruption, Placement, Verdict
from scheduler.planner.preempt import preempt
from scheduler.planner.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Interrupted:
    """What to stop, the placements beside what moves, and per job what was found meanwhile."""

    interruptions: tuple[Interruption, ...]
    placements: tuple[Placement, ...]
    told: Mapping[str, Sequence[str]]


def interrupt(
    snapshot: Snapshot,
    decision: Decision,
    placements: Sequence[Placement],
    verdicts: Sequence[Verdict],
    policies: tuple[Policy, ...],
) -> Interrupted:
    """Decides on the running attempts of a planned snapshot. Nothing is moved in a round that makes
    room, nor while an earlier stop is under way: what it frees or takes is not known yet.
    """
    preempted = preempt(snapshot, decision, placements, verdicts)
    interruptions = preempted.interruptions
    if not interruptions:
        moved = migrate(snapshot, decision, placements, policies)
        interruptions, placements = moved.interruptions, moved.placements
    stopped = {one.attempt_id for one in interruptions}
    paused = pauses(snapshot, decision, placements, policies)
    interruptions += tuple(one for one in paused if one.attempt_id not in stopped)
    told = {job_id: [text] for job_id, text in preempted.told.items()}
    late = overruns_told(snapshot, decision.model.scene, placements, verdicts)
    for job_id, text in late.items():
        told.setdefault(job_id, []).append(text)
    return Interrupted(interruptions, tuple(placements), told)
