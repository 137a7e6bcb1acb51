"""Judges a plan against the snapshot it was made from, sharing nothing with what made it.

Plain arithmetic in exact units. A run touches a slot that it overlaps by more than TOUCH_S. In
every slot a pool, a power cap and the green supply count each run that touches the slot in full;
a link counts the GB that really cross it. Forecasts that are missing or not numbers count as the
worst.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from scheduler.checker.alone import RTT_SAMPLES_MIN, check_alone
from scheduler.checker.by_run import check_by_run
from scheduler.checker.forecasts import as_planned
from scheduler.checker.interruptions import check_interruptions, moved
from scheduler.checker.links import check_links, transfers_of
from scheduler.checker.maintenance import check_maintenance
from scheduler.checker.pieces import check_pauses, pieces_of
from scheduler.checker.quotas import check_quotas
from scheduler.checker.tables import held_of, hosts_of, runs_of
from scheduler.checker.together import check_nodes, check_pools, check_sites
from scheduler.checker.view import SLACK, View
from scheduler.domain.explanation import Outcome
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import Snapshot

__all__ = ["RTT_SAMPLES_MIN", "check"]


def check(snapshot: Snapshot, plan: Plan) -> list[str]:
    """Every violation as a sentence that names the job or the resource; empty for a legal plan."""
    snapshot = as_planned(snapshot)
    view, found = View(snapshot), list(_check_completeness(snapshot, plan))
    found += _check_placements(view, plan.placements)
    if plan.interruptions:
        found += check_interruptions(view, plan)
        then, moves = moved(snapshot, plan)
        if moves:
            found += _check_placements(View(then), (*plan.placements, *moves))
    return found


def _check_placements(view: View, placements: Sequence[Placement]) -> list[str]:
    """What the placements break, each by itself and all together."""
    found, sound = list[str](), list[Placement]()
    judged: dict[tuple[str, str], list[str]] = {}
    for placement in placements:
        pool = (placement.cluster, placement.accelerator)
        if placement.job_id not in view.jobs:
            continue
        if pool not in judged:
            judged[pool] = list(_check_pool(view, *pool))
        for wrong in judged[pool]:
            found.append(f"{placement.job_id}: {wrong}")
        if placement.cluster in view.site_codes and view.ready_in(pool):
            sound.append(placement)
    hosts, runs = hosts_of(view), runs_of(view, sound)
    held, transfers = held_of(view, hosts), transfers_of(view, runs)
    found += check_alone(view, hosts, runs, transfers)
    found += check_pauses(view, sound)
    if len(pieces := pieces_of(sound)) > len(sound):
        runs = runs_of(view, pieces)
    found += check_nodes(view, hosts, held, runs)
    found += check_pools(view, hosts, held, runs)
    found += check_sites(view, held, runs)
    found += check_links(view, runs, transfers_of(view, runs))
    found += check_by_run(view, pieces)
    found += check_maintenance(view, pieces)
    found += check_quotas(view, pieces)
    return found


def _check_pool(view: View, cluster: str, accelerator: str) -> Iterator[str]:
    """Why nothing may start in a pool at present, whatever it is."""
    site = view.snapshot.sites.get(cluster)
    if site is None:
        yield f"{cluster} is not a known cluster"
        return
    if not site.reachable:
        yield f"{cluster} is not reachable"
    if site.not_serving:
        yield f"{cluster} starts nothing: {site.not_serving}"
    if not view.ready_in((cluster, accelerator)):
        yield f"{cluster}/{accelerator} has no ready node"


def _check_completeness(snapshot: Snapshot, plan: Plan) -> Iterator[str]:
    """Each job explained once, placed at most once, and the two agree."""
    pending = {job.id for job in snapshot.jobs}
    placed = {placement.job_id: placement for placement in plan.placements}
    for job_id, times in Counter(p.job_id for p in plan.placements).items():
        if job_id not in pending:
            yield f"{job_id} is placed but not pending"
        if times > 1:
            yield f"{job_id} is placed {times} times"
    verdicts = plan.verdicts
    told = Counter(verdict.job_id for verdict in verdicts)
    for job_id in sorted(pending - told.keys()):
        yield f"{job_id} is not explained"
    for job_id, outcome, _ in verdicts:
        placement = placed.get(job_id)
        if job_id not in pending or told[job_id] > 1:
            yield f"{job_id} is explained {told[job_id]} times, pending: {job_id in pending}"
        want = Outcome.UNPLACED
        if placement is not None:
            want = Outcome.PLACED if placement.now else Outcome.PLANNED
        if outcome is not want:
            yield f"{job_id} is explained as {outcome} but is {want}"
    if not plan.bound_yuan <= plan.objective_yuan + SLACK * abs(plan.objective_yuan):
        yield f"the bound {plan.bound_yuan} exceeds the objective {plan.objective_yuan}"
