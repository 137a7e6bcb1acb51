"""Our planner with reserved CPUs, online: it knows of a job when it has arrived.

The reserved CPUs are a site of their own beside one without limits; both have the carbon of the
grid as their price, and what is bought on demand costs more on top. By the paper's rule a job that
starts takes reserved CPUs if it finds enough of them free, wherever we have planned it.
"""

from dataclasses import replace

from bench.gaia.planned import QUARTER_S, WORLD, never_late
from bench.gaia.rules import DATA, ON_DEMAND_PER_CPU_HOUR, START_AT, TICK_S, Case, Outcome, Run
from scheduler.domain.series import Series
from scheduler.planner.budget import Budget
from scheduler.replay import world
from scheduler.replay.case import ReplayCase, ReplayWorld
from scheduler.replay.engine import replay
from scheduler.replay.placers.westward import Westward
from scheduler.replay.traces import gaia

TRACE = "pai_1k.csv"
# There are thousands of rounds.
QUICK = Budget(tries=4, exact_options=0, explained=0)
RESERVED, ON_DEMAND = "reserved", "on-demand"


def online(
    case: Case,
    base: Outcome,
    *,
    reserved: int,
    price: float,
    exact: bool,
    wait_per_cpu_h: float = 0.0,
) -> list[Run]:
    """The runs of a whole replay, in the order of their starts.

    Args:
        price: of cost against carbon, both relative to the base.
        exact: lengths are known on arrival; else the average of the job's queue is.
        wait_per_cpu_h: carbon that an hour's wait of one CPU is worth.
    """
    per_cpu_h = price * ON_DEMAND_PER_CPU_HOUR / base.cost * base.carbon
    trace = gaia.read(DATA / TRACE, start_at=START_AT, exact=exact)
    outcome = replay(
        ReplayCase(
            name="gaia-reserved",
            world=_world(reserved, per_cpu_h),
            jobs=trace.jobs,
            start_at=START_AT,
            slot_s=QUARTER_S,
            horizon_slots=int(gaia.LONG_WAIT_S // QUARTER_S) + 2,
        ),
        "westward",
        placer=Westward(QUICK, never_late(wait_per_cpu_h)),
        gather_s=QUARTER_S,
    )
    began = {
        int(run.job_id): ((run.started_at - START_AT).total_seconds(), run.cluster != RESERVED)
        for run in outcome.runs
    }
    runs = [Run(task, round(began[task.id][0] / TICK_S), task.length) for task in case.tasks]
    # Of those that start at once, the ones that we have given reserved CPUs take them first.
    return sorted(runs, key=lambda run: (run.start, began[run.task.id][1]))


def _world(reserved: int, per_cpu_h: float) -> ReplayWorld:
    """The grid twice, once for so many CPUs and once for any number of them."""
    grid = world.load(WORLD).world
    (node,), (site,) = grid.nodes, grid.sites.values()
    price = site.price_yuan_per_kwh
    dearer = Series(price.start_at, price.step_s, tuple(v + per_cpu_h for v in price.values))
    return replace(
        grid,
        nodes=(
            replace(node, id=RESERVED, cluster=RESERVED, cpus=float(reserved)),
            replace(node, id=ON_DEMAND, cluster=ON_DEMAND),
        ),
        sites={
            RESERVED: replace(site, cluster=RESERVED),
            ON_DEMAND: replace(site, cluster=ON_DEMAND, price_yuan_per_kwh=dearer),
        },
    )
