"""One instance, planned, judged and planned again, in a process of its own.

``python -m bench.planner.case SIZE MODE CHUNK LOAD SEED`` prints the figures as JSON. The process
plans a small instance first, as the planner's own process is warm when its first round comes.
"""

import os
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from bench.instances import SIZES, Mode, Recipe, build
from bench.planner.baselines import RULES, Schedule, schedule
from bench.planner.grid import Floats, Grid, Ints
from bench.planner.lp import lp_yuan, model_of
from bench.planner.result import CASE, Case, Outcome, Round, Stage
from bench.planner.rounds import moved_shares, next_round
from scheduler.checker import check
from scheduler.domain import explanation
from scheduler.domain.reason import ReasonCode
from scheduler.heap import collect_rarely
from scheduler.planner.pipeline import Round as Made
from scheduler.planner.pipeline import plan, plan_round
from scheduler.planner.plan import Plan
from scheduler.planner.snapshot import Snapshot
from scheduler.planner.table import JobTable

OBJECTIONS_TOLD = 5
WARM_UP = Recipe(size=SIZES["S"], seed=0)
WARM_UP_JOBS = 50
MB = 1e6


def timed(snapshot: Snapshot, table: JobTable) -> tuple[Made, float, float, list[Stage]]:
    """A round, its seconds of real and of processor time, and those of its stages in order."""
    wall_ms: dict[str, float] = {}
    cpu_ms: dict[str, float] = {}
    began_s = last_s = time.perf_counter()
    cpu_began_s = cpu_last_s = time.process_time()

    def on_stage(name: str) -> None:
        nonlocal last_s, cpu_last_s
        now_s, cpu_now_s = time.perf_counter(), time.process_time()
        wall_ms[name] = wall_ms.get(name, 0.0) + (now_s - last_s) * 1000
        cpu_ms[name] = cpu_ms.get(name, 0.0) + (cpu_now_s - cpu_last_s) * 1000
        last_s, cpu_last_s = now_s, cpu_now_s

    made = plan_round(snapshot, on_stage=on_stage, table=table)
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_began_s
    stages = [Stage(name=n, wall_ms=wall_ms[n], cpu_ms=cpu_ms[n]) for n in wall_ms]
    return made, wall_s, cpu_s, stages


def planned(snapshot: Snapshot, table: JobTable) -> tuple[Made, Round, float]:
    """A round, its figures, and the peak of the process' memory until it was there, in MB.

    Args:
        table: as the planner's process keeps it from round to round.
    """
    _forget_peak()
    rounded, wall_s, cpu_s, stages = timed(snapshot, table)
    made = rounded.plan
    peak_mb = _memory_mb("VmHWM")
    told_s = _told_s(made)
    began_s = time.perf_counter()
    objections = check(snapshot, made)
    checked_s = time.perf_counter() - began_s
    outcomes = [told.outcome for told in made.verdicts]
    moved, at_once = moved_shares(snapshot, made)
    figures = Round(
        jobs=len(snapshot.jobs),
        wall_s=wall_s,
        cpu_s=cpu_s,
        stages=stages,
        objective_yuan=made.objective_yuan,
        bound_yuan=made.bound_yuan,
        gap=made.gap,
        starts_now=outcomes.count(explanation.Outcome.PLACED),
        starts_later=outcomes.count(explanation.Outcome.PLANNED),
        fragmented=sum(told.code is ReasonCode.GANG_FRAGMENTED for told in made.verdicts),
        told_s=told_s,
        checked_s=checked_s,
        objections=len(objections),
        first_objections=objections[:OBJECTIONS_TOLD],
        moved_share=moved if snapshot.previous else None,
        at_once_share=at_once if snapshot.previous else None,
    )
    return rounded, figures, peak_mb


def _told_s(made: Plan) -> float:
    """Processor seconds for the explanations that are stored with the round's starts."""
    began_s = time.process_time()
    for i, verdict in enumerate(made.verdicts):
        if verdict.outcome is explanation.Outcome.PLACED:
            made.explanations[i]
    return time.process_time() - began_s


def measured(recipe: Recipe) -> Case:
    """Plans an instance cold and, after a change, warm; and lets the baselines have it."""
    load_before = os.getloadavg()[0]
    collect_rarely()
    first_plan_s = _seconds(lambda: plan(_small()))
    instance = build(recipe)
    snapshot_mb = _memory_mb("VmRSS")
    table = JobTable()
    first, cold, peak_mb = planned(instance.snapshot, table)
    handed_over_s = _seconds(partial(_handed_over, (instance.snapshot, first.plan)))
    outcomes = _compared(instance.snapshot, first.plan, cold.wall_s)
    following = next_round(instance, first)
    del first  # as the planner's process forgets a round before it plans the next
    _, warm, _ = planned(following, table)
    return Case(
        recipe=recipe,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        load_before=load_before,
        first_plan_s=first_plan_s,
        handed_over_s=handed_over_s,
        snapshot_mb=snapshot_mb,
        peak_mb=peak_mb,
        cold=cold,
        warm=warm,
        outcomes=outcomes,
        lp_yuan=lp_yuan(model_of(instance.snapshot)) if recipe.size.name == "S" else None,
    )


def _small() -> Snapshot:
    snapshot = build(WARM_UP).snapshot
    return replace(snapshot, jobs=snapshot.jobs[:: len(snapshot.jobs) // WARM_UP_JOBS])


def _compared(snapshot: Snapshot, made: Plan, wall_s: float) -> list[Outcome]:
    """The planner beside the baselines, FIFO first fit first."""
    grid = Grid(snapshot)
    schedules: dict[str, tuple[Schedule, float]] = {}
    for name, rule in RULES.items():
        began_s = time.perf_counter()
        schedules[name] = (schedule(grid, rule), time.perf_counter() - began_s)
    schedules["Westward"] = (schedule_of(grid, made), wall_s)
    without = {i for s, _ in schedules.values() for i in np.flatnonzero(s.pool < 0).tolist()}
    never = np.zeros(len(snapshot.jobs), dtype=bool)
    never[[i for i in without if not grid.fits_alone(snapshot.jobs[i])]] = True
    work = np.array([j.spec.gpus * j.spec.expected_duration_s for j in snapshot.jobs])
    ready_s = _ready_s(snapshot)
    fifo = schedules["FIFO first fit"][0]
    outcomes = []
    for name, (own, taken_s) in schedules.items():
        placed = own.pool >= 0
        both = placed & (fifo.pool >= 0)
        left_out = ~placed & ~never
        against = own.energy_yuan[both].sum() / fifo.energy_yuan[both].sum() - 1
        outcomes.append(
            Outcome(
                policy=name,
                never=int((~placed & never).sum()),
                left_out=int(left_out.sum()),
                left_out_share=float(work[left_out].sum() / work.sum()),
                energy_yuan=float(own.energy_yuan.sum()),
                against_fifo=float(against),
                mean_wait_h=float((own.start_s - ready_s)[placed].mean() / 3600),
                wall_s=taken_s,
            )
        )
    return outcomes


def schedule_of(grid: Grid, made: Plan) -> Schedule:
    """A plan as the baselines tell theirs, its energy priced by the same yardstick."""
    snapshot = grid.snapshot
    index = {job.id: i for i, job in enumerate(snapshot.jobs)}
    pools = {where: p for p, where in enumerate(grid.pools)}
    pool: Ints = np.full(len(index), -1, dtype=np.int64)
    start_s: Floats = np.zeros(len(index))
    run_s, kw = np.zeros((2, len(index)))
    for placement in made.placements:
        i = index[placement.job_id]
        pool[i] = pools[placement.cluster, placement.accelerator]
        start_s[i] = (placement.start_at - snapshot.now_at).total_seconds()
        run_s[i] = (placement.end_at - placement.start_at).total_seconds()
        kw[i] = snapshot.jobs[i].spec.gpus * grid.gpu_kw[pool[i]]
    energy_yuan = grid.energy_yuan(pool, start_s, run_s, kw)
    return Schedule(pool=pool, start_s=start_s, energy_yuan=energy_yuan)


def _ready_s(snapshot: Snapshot) -> Floats:
    ready = [max(j.spec.earliest_start_at or j.submitted_at, j.submitted_at) for j in snapshot.jobs]
    return np.array([(at - snapshot.now_at).total_seconds() for at in ready])


def _handed_over(value: object) -> object:
    """As a process hands a value to another one."""
    return pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def _seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _forget_peak() -> None:
    """The kernel takes the peak of this process' memory from here on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / MB
    raise RuntimeError(f"/proc/self/status tells no {field}")


def main(arguments: Sequence[str]) -> int:
    size, mode, chunk, load, seed = arguments
    case = measured(
        Recipe(
            size=SIZES[size], mode=Mode(mode), chunk=int(chunk), load=float(load), seed=int(seed)
        )
    )
    print(CASE.dump_json(case).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
