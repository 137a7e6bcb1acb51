"""What runs longer than expected, told to those that wait where it runs."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from policies.scene import Scene
from scheduler.domain.explanation import Outcome
from scheduler.domain.reason import ReasonCode
from scheduler.planner.plan import Placement, Verdict
from scheduler.planner.snapshot import RunningAttempt, Snapshot

# Waiting for what running attempts hold.
HELD_BY_RUNS = frozenset({ReasonCode.CAPACITY, ReasonCode.GANG_FRAGMENTED, ReasonCode.QUOTA})
# A run that is a little late delays nobody.
LEAST_S = 60.0
# Named to one job, those first that have overrun by most.
NAMED_MOST = 2


def overruns_told(
    snapshot: Snapshot,
    scene: Scene,
    placements: Sequence[Placement],
    verdicts: Sequence[Verdict],
) -> dict[str, str]:
    """A sentence for each job that waits for room where something overruns: in the pool of its
    planned place, or in any that it accepts if it has none."""
    late: dict[tuple[str, str], list[RunningAttempt]] = defaultdict(list)
    for attempt in sorted(snapshot.running, key=lambda a: (-a.overruns_s, a.attempt_id)):
        if attempt.overruns_s >= LEAST_S:
            late[attempt.cluster, attempt.accelerator].append(attempt)
    if not late:
        return {}
    planned = {p.job_id: (p.cluster, p.accelerator) for p in placements}
    told = dict[str, str]()
    for job, verdict in zip(snapshot.jobs, verdicts, strict=True):
        waits = verdict.outcome is not Outcome.PLACED
        if not waits or verdict.code not in HELD_BY_RUNS:
            continue
        if (pool := planned.get(job.id)) is not None:
            there = late.get(pool, [])
        else:
            there = [a for (_, model), own in late.items() if job.spec.speed_on(model) for a in own]
        if there:
            told[job.id] = " ".join(_sentence(one, scene) for one in there[:NAMED_MOST])
    return told


def _sentence(attempt: RunningAttempt, scene: Scene) -> str:
    where = f"{attempt.cluster}/{attempt.accelerator or 'cpu'}"
    over = str(timedelta(seconds=round(attempt.overruns_s / 60) * 60))[:-3]
    until_s = (attempt.expected_end_at - scene.start_at).total_seconds()
    return (
        f"{attempt.job_id} has run {over} h longer than expected at {where} and is taken to end at "
        f"{scene.clock(until_s)}."
    )
