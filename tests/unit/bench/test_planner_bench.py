"""The planner's bench: its yardsticks agree with the rules, and it tells what it saw."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from bench.instances import SIZES, Instance, Recipe
from bench.planner.__main__ import asked, everything, options_of, run
from bench.planner.baselines import RULES, Schedule, cheapest_now, first_fit, schedule
from bench.planner.case import schedule_of
from bench.planner.grid import Grid
from bench.planner.result import Case, Failure, Results, read, write
from bench.planner.rounds import moved_shares, next_round
from bench.planner.targets import missed
from scheduler.checker import check
from scheduler.domain.explanation import Explanation, Outcome
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.pipeline import Round, plan
from scheduler.planner.plan import Placement, Plan
from scheduler.planner.snapshot import Snapshot
from tests.unit.bench.conftest import TINY


def told_as_plan(grid: Grid, made: Schedule) -> Plan:
    """A schedule as a plan without nodes."""
    snapshot, placements, explanations = grid.snapshot, [], []
    for i, job in enumerate(snapshot.jobs):
        placed = made.pool[i] >= 0
        now = bool(placed and made.start_s[i] == 0)
        outcome = Outcome.PLACED if now else Outcome.PLANNED if placed else Outcome.UNPLACED
        explanations.append(
            Explanation(
                job_id=job.id,
                decided_at=snapshot.now_at,
                outcome=outcome,
                reason=Reason(ReasonCode.CHOSEN, ""),
                candidates=(),
            )
        )
        if placed:
            placements.append(_placement(grid, made, i))
    return Plan(
        placements=tuple(placements),
        explanations=tuple(explanations),
        objective_yuan=0.0,
        bound_yuan=0.0,
        gap=0.0,
    )


def _placement(grid: Grid, made: Schedule, i: int) -> Placement:
    job, p = grid.snapshot.jobs[i], int(made.pool[i])
    ask = grid.ask(job)
    at = ask.pools.tolist().index(p)
    hours, pue = float(ask.run_s[at]) / 3600, grid.pue[grid.site[p]]
    start_at = grid.snapshot.now_at + timedelta(seconds=float(made.start_s[i]))
    kwh = float(ask.kw[at] * hours * pue.max())
    return Placement(
        job_id=job.id,
        cluster=grid.pools[p][0],
        accelerator=grid.pools[p][1],
        start_at=start_at,
        end_at=start_at + timedelta(seconds=float(ask.run_s[at])),
        now=bool(made.start_s[i] == 0),
        nodes=(),
        energy_kwh=kwh,
        green_kwh=kwh * (job.spec.min_green_share or 0.0),
        green_held_kw=float(ask.green_kw[at] * pue.max()),
        cost_yuan=float(made.energy_yuan[i]),
        carbon_kg=0.0,
    )


@pytest.mark.parametrize("name", list(RULES))
def test_the_checker_has_nothing_against_a_baseline_but_its_lack_of_nodes(
    name: str, full: Instance
) -> None:
    grid = Grid(full.snapshot)
    made = schedule(grid, RULES[name])
    assert 0 < (made.pool < 0).sum() < len(full.snapshot.jobs) / 2
    found = check(full.snapshot, told_as_plan(grid, made))
    assert [text for text in found if not re.search(r"\b0 nodes for \d+ workers$", text)] == []


def test_a_job_fits_alone_exactly_when_the_planner_places_it_alone(full: Instance) -> None:
    grid = Grid(full.snapshot)
    fits = []
    for job in full.snapshot.jobs:
        alone = plan(replace(full.snapshot, jobs=(job,)))
        fits.append(grid.fits_alone(job))
        assert fits[-1] == bool(alone.placements), job.id
    assert 0 < sum(fits) < len(fits)


def test_energy_is_priced_as_the_planner_prices_it(full: Instance, full_plan: Plan) -> None:
    ours = schedule_of(Grid(full.snapshot), full_plan)
    index = {job.id: i for i, job in enumerate(full.snapshot.jobs)}
    for placement in full_plan.placements:
        yuan = ours.energy_yuan[index[placement.job_id]]
        assert yuan == pytest.approx(placement.cost_yuan, rel=1e-6)
    assert (ours.pool >= 0).sum() == len(full_plan.placements)
    assert not ours.energy_yuan[ours.pool < 0].any()


def _alike(full: Instance, count: int) -> Snapshot:
    """Jobs of a node each for half an hour that any pool takes, and nothing else in the way."""
    job = full.snapshot.jobs[0]
    spec = replace(
        job.spec,
        workers=1,
        per_worker=replace(job.spec.per_worker, gpus=8, cpus=8.0, memory_gb=8.0),
        accelerators=(),
        expected_duration_s=1800.0,
        earliest_start_at=None,
        deadline_at=None,
        max_rtt_ms=None,
        min_green_share=None,
        data=(),
    )
    jobs = tuple(replace(job, id=f"job-{n:02d}", spec=spec) for n in range(count))
    sites = {c: replace(site, power_cap_kw=None) for c, site in full.snapshot.sites.items()}
    return replace(full.snapshot, jobs=jobs, running=(), sites=sites)


def test_first_fit_takes_the_first_pool_and_the_next_slot_only_when_all_are_full(
    full: Instance,
) -> None:
    grid = Grid(_alike(full, TINY.nodes + 1))
    made = schedule(grid, first_fit)
    nodes = [len(pool) for pool in grid.nodes]
    assert made.pool.tolist() == [*np.repeat(np.arange(len(nodes)), nodes).tolist(), 0]
    assert made.start_s.tolist() == [0.0] * TINY.nodes + [TINY.slot_s]


def test_the_cheapest_site_now_takes_the_least_costly_pool_that_has_room(full: Instance) -> None:
    grid = Grid(_alike(full, 3))
    made = schedule(grid, cheapest_now)
    rate = grid.gpu_kw * (grid.price * grid.pue)[grid.site, 0]
    nodes = [len(pool) for pool in grid.nodes]
    ranked = [p for p in np.argsort(rate).tolist() for _ in range(nodes[p])]
    assert sorted(made.pool.tolist()) == sorted(ranked[:3])


def test_the_next_round_is_a_slot_later_and_remembers_the_plan(
    full: Instance, full_round: Round
) -> None:
    snapshot, full_plan = next_round(full, full_round), full_round.plan
    assert snapshot.prices == full_round.prices
    started = {p.job_id for p in full_plan.placements if p.now}
    waiting = {p.job_id for p in full_plan.placements if not p.now}
    known = {job.id for job in full.snapshot.jobs}
    assert started
    assert waiting
    assert snapshot.now_at == full.snapshot.slot_at(1)
    assert snapshot.previous.keys() == waiting
    assert len({job.id for job in snapshot.jobs} - known) == TINY.jobs * 0.05
    assert {job.id for job in snapshot.jobs} & known == known - started
    assert all(attempt.expected_end_at > snapshot.now_at for attempt in snapshot.running)
    ended = {p.job_id for p in full_plan.placements if p.now and p.end_at <= snapshot.now_at}
    assert {a.job_id for a in snapshot.running} & started == started - ended
    assert check(snapshot, plan(snapshot)) == []


def test_the_moved_share_counts_what_starts_elsewhere_later_or_not_at_all(
    full: Instance, full_round: Round
) -> None:
    snapshot, full_plan = next_round(full, full_round), full_round.plan
    kept = [p for p in full_plan.placements if not p.now]
    assert moved_shares(snapshot, replace(full_plan, placements=tuple(kept))) == (0.0, 0.0)
    later = kept[0]._replace(start_at=kept[0].start_at + timedelta(hours=1))
    elsewhere = kept[1]._replace(cluster="elsewhere")
    at_once = kept[3]._replace(start_at=snapshot.now_at, now=True, nodes=("n",))
    changed = (later, elsewhere, at_once, *kept[4:])
    shares = moved_shares(snapshot, replace(full_plan, placements=changed))
    assert shares == (pytest.approx(3 / len(kept)), pytest.approx(1 / len(kept)))


def test_a_case_holds_together(case: Case) -> None:
    assert case.cold.jobs == TINY.jobs
    assert case.cold.objections == case.warm.objections == 0
    assert case.cold.gap >= 0
    assert case.cold.wall_s * 1000 == pytest.approx(
        sum(stage.wall_ms for stage in case.cold.stages), rel=0.1
    )
    assert case.peak_mb >= case.snapshot_mb > 0
    assert case.warm.moved_share is not None
    assert [outcome.policy for outcome in case.outcomes] == [*RULES, "Westward"]
    fifo, _, ours = case.outcomes
    assert fifo.against_fifo == 0.0
    assert ours.never + ours.left_out == TINY.jobs - case.cold.starts_now - case.cold.starts_later


def test_results_are_read_as_they_were_written_and_a_new_case_takes_the_old_ones_place(
    case: Case, tmp_path: Path
) -> None:
    path = tmp_path / "planner.json"
    assert read(path) is None
    other = replace(case, recipe=replace(case.recipe, size=SIZES["L"]))
    failed = Failure(recipe=other.recipe, measured_at=case.measured_at, why="not done within 1 s")
    results = Results(machine={"cores": 2}).joined(other).joined(case)
    write(results, path)
    assert read(path) == results
    assert [c.recipe for c in results.cases] == [case.recipe, other.recipe]
    failing = results.joined(failed)
    assert (list(failing.cases), list(failing.failures)) == ([case], [failed])
    assert failing.joined(other) == results


def test_a_case_that_takes_too_long_is_ended_and_told() -> None:
    failure = run(Recipe(size=SIZES["XL"]), limit_s=0.1)
    assert isinstance(failure, Failure)
    assert failure.why == "not done within 0.1 s"


def test_a_missed_target_is_told_with_its_figures(case: Case) -> None:
    recipe = replace(case.recipe, size=SIZES["S"])
    cold = replace(case.cold, cpu_s=0.75, gap=0.004, objections=2, fragmented=1)
    warm = replace(case.warm, moved_share=0.25)
    assert missed(replace(case, recipe=recipe, cold=cold, warm=warm)) == [
        "0.75 s > 0.5 s",
        "25% moved > 10%",
        "1 gangs found no nodes",
        "2 objections of the checker",
    ]
    good = replace(cold, cpu_s=0.4, objections=0, fragmented=0)
    near = replace(case.warm, moved_share=0.05)
    assert missed(replace(case, recipe=recipe, cold=good, warm=near)) == []


def test_the_command_line_names_the_cases() -> None:
    assert [str(recipe) for recipe in asked(options_of(["--sizes", "S", "--chunks", "8"]))] == [
        "S flow chunk 8 load 0.65 seed 1",
        "S backlog chunk 8 load 0.65 seed 1",
    ]
    recipes = list(everything())
    assert len(set(recipes)) == len(recipes)
    assert {recipe.size.name for recipe in recipes} == set(SIZES)
