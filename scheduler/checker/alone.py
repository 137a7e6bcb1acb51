"""What each placement breaks by itself.

A rule yields (run, what is wrong with it); it tabulates all runs at once and puts sentences
together for those that break it.
"""

import math
from collections.abc import Iterator
from operator import itemgetter

import numpy as np

from scheduler.checker.links import Transfers
from scheduler.checker.spans import touched
from scheduler.checker.tables import Hosts, Runs
from scheduler.checker.view import SLACK, Bools, Floats, Ints, View, groups
from scheduler.domain.fleet import Site
from scheduler.domain.job import JobSpec
from scheduler.domain.remaining import run_s
from scheduler.domain.span import Span

ROUNDING_S = 1e-4
RTT_SAMPLES_MIN = 20

Complaints = Iterator[tuple[int, str]]


def check_alone(view: View, hosts: Hosts, runs: Runs, transfers: Transfers) -> list[str]:
    """In the order of the placements."""
    found = [
        *_check_place(view, runs),
        *_check_start(view, runs),
        *_check_end(view, runs, transfers.staged_s),
        *_check_energy(view, runs),
        *_check_nodes(view, hosts, runs),
        *_check_room(hosts, runs),
    ]
    return [f"{runs.jobs[run].id}: {wrong}" for run, wrong in sorted(found, key=itemgetter(0))]


def _rows(mask: Bools) -> list[int]:
    rows: list[int] = np.flatnonzero(mask).tolist()
    return rows


def _check_place(view: View, runs: Runs) -> Complaints:
    """Residency and latency, judged once for all jobs that ask the same of a site."""
    judged: dict[tuple[object, ...], list[str]] = {}
    for run, (job, placement) in enumerate(zip(runs.jobs, runs.placements, strict=True)):
        cluster, spec = placement.cluster, job.spec
        asked = (cluster, spec.region, spec.max_rtt_ms, spec.must_be_in, spec.must_not_be_in)
        if asked not in judged:
            judged[asked] = list(_wrong_with_place(spec, view.snapshot.sites[cluster]))
        for wrong in judged[asked]:
            yield run, wrong


def _wrong_with_place(spec: JobSpec, site: Site) -> Iterator[str]:
    here = {site.cluster, site.province}
    if here & set(spec.must_not_be_in):
        yield f"must not be in {site.cluster}"
    if spec.must_be_in and not here & set(spec.must_be_in):
        yield f"must be in {spec.must_be_in}, not in {site.cluster}"
    if spec.max_rtt_ms is not None:
        rtt = site.rtt.get(spec.region)
        if rtt is None or rtt.samples < RTT_SAMPLES_MIN:
            yield f"no sound round trip from {spec.region} to {site.cluster}"
        elif not rtt.p95_ms <= spec.max_rtt_ms:
            yield f"{rtt.p95_ms} ms to {site.cluster} > {spec.max_rtt_ms} ms"


def _check_start(view: View, runs: Runs) -> Complaints:
    """Not before anything it has to wait for, nor beyond the horizon; ``now`` says what is so."""
    snapshot, placements, jobs = view.snapshot, runs.placements, runs.jobs
    for name, limits_at in (
        ("now", [snapshot.now_at] * len(jobs)),
        ("its earliest start", [job.spec.earliest_start_at for job in jobs]),
        ("the end of its back-off", [job.not_before_at for job in jobs]),
    ):
        limits_s = view.seconds(limits_at, -math.inf)
        for run in _rows(limits_s - runs.start_s > ROUNDING_S):
            start_at, limit_at = placements[run].start_at, limits_at[run]
            yield run, f"starts at {start_at}, before {name} at {limit_at}"
    now = np.array([placement.now for placement in placements], dtype=bool)
    starts_now = np.abs(runs.start_s - view.now_s) <= ROUNDING_S
    for run in _rows(now != starts_now):
        yield run, f"now is {placements[run].now} but it starts at {placements[run].start_at}"
    for run in _rows(runs.start_s >= view.since_s(snapshot.slot_at(snapshot.slots))):
        yield run, f"starts at {placements[run].start_at}, after the horizon"


def _check_end(view: View, runs: Runs, staged_s: Floats) -> Complaints:
    """Before its deadline, and after the time it needs, once its data are there."""
    deadlines_s = view.seconds(job.spec.deadline_at for job in runs.jobs)
    for run in _rows(runs.end_s - deadlines_s > ROUNDING_S):
        end_at, deadline_at = runs.placements[run].end_at, runs.jobs[run].spec.deadline_at
        yield run, f"ends at {end_at}, after its deadline {deadline_at}"
    pairs = list(zip(runs.jobs, runs.placements, strict=True))
    speeds = [job.spec.speed_on(placement.accelerator) or 0.0 for job, placement in pairs]
    refused = np.array(speeds, dtype=float) <= 0
    for run in _rows(refused):
        yield run, f"does not accept {runs.placements[run].accelerator}"
    works_s = [
        run_s(job.spec, job.done_s, speed) if speed > 0 else math.nan
        for job, speed in zip(runs.jobs, speeds, strict=True)
    ]
    again_s = [len(p.pauses) * job.spec.restart_s for job, p in pairs]
    needs_s, has_s = np.array(works_s, dtype=float) + staged_s + again_s, runs.length_s
    paused = np.array([bool(placement.pauses) for placement in runs.placements], dtype=bool)
    for run in _rows(paused & (staged_s > 0)):
        yield run, "pauses, but its data would have to come again"
    for run in _rows(~refused & ~(np.abs(needs_s - has_s) <= ROUNDING_S)):
        yield run, f"gets {has_s[run]} s, needs {needs_s[run]} s"


def _check_energy(view: View, runs: Runs) -> Complaints:
    """The figures of the placement keep the promise; the supply is judged per site."""
    energy_kwh = np.array([placement.energy_kwh for placement in runs.placements], dtype=float)
    held_kw = np.array([placement.green_held_kw for placement in runs.placements], dtype=float)
    green_kwh, share, kw = runs.green_kwh, runs.share, runs.kw
    within = (green_kwh >= 0) & (green_kwh <= energy_kwh * (1 + SLACK) + SLACK)
    for run in _rows(~within):
        yield run, f"{green_kwh[run]} green of {energy_kwh[run]} kWh"
    for run in _rows(~(green_kwh >= share * energy_kwh * (1 - SLACK) - SLACK)):
        yield run, f"{green_kwh[run]} green kWh < {share[run]} of {energy_kwh[run]} kWh"
    least_pue, most_pue = _pue_range(view, runs)
    has_s = runs.length_s
    least_kwh = kw * has_s / 3600 * least_pue
    for run in _rows(~(energy_kwh >= least_kwh * (1 - SLACK) - SLACK)):
        it_kw, seconds = kw[run], has_s[run]
        yield run, f"{energy_kwh[run]} kWh is less than {it_kw} kW IT needs in {seconds} s"
    for run in _rows(~(held_kw >= share * kw * most_pue * (1 - SLACK) - SLACK)):
        yield run, f"holds {held_kw[run]} kW, needs {share[run]} of {kw[run]} kW × PUE"


def _pue_range(view: View, runs: Runs) -> tuple[Floats, Floats]:
    """The least and the greatest PUE of the slots that each run touches, (runs,) each."""
    least, most = np.empty((2, len(runs.jobs)))
    for code, rows in groups(runs.site):
        # Further on, the forecast stays what it was.
        slots = min(view.reach(view.sites[code]), int(runs.stop[rows].max()))
        pues = view.pues(view.sites[code], slots)
        first = np.minimum(runs.first[rows], slots - 1)
        stop = np.clip(runs.stop[rows], first + 1, slots)
        least[rows] = _reduced(np.minimum, pues, first, stop)
        most[rows] = _reduced(np.maximum, pues, first, stop)
    for row, placement in enumerate(runs.placements):
        if placement.pauses:
            touches = [slot for run in placement.runs for slot in _touched(view, run)]
            own = [view.pue(view.sites[int(runs.site[row])], slot) for slot in touches]
            least[row], most[row] = min(own), max(own)
    return least, most


def _touched(view: View, run: Span) -> range:
    return touched(view.snapshot, run.start_at, run.end_at)


def _reduced(reduce: np.ufunc, values: Floats, first: Ints, stop: Ints) -> Floats:
    """A function of ``values[first:stop]`` for each of many spans, none of which is empty."""
    # ``reduceat`` takes each index up to the next: every other of those is a span.
    edges = np.column_stack((first, stop)).ravel()
    reduced: Floats = reduce.reduceat(np.append(values, values[-1]), edges)[::2]
    return reduced


def _check_nodes(view: View, hosts: Hosts, runs: Runs) -> Complaints:
    """One ready node of the pool for each worker of a run that starts now; else none."""
    names = [name for placement in runs.placements for name in placement.nodes]
    owner, host = runs.given.owner, runs.given.host
    fit = (host >= 0) & hosts.ready[host] & (hosts.pool[host] == runs.pool[owner])
    for entry in _rows(~fit):
        run = int(owner[entry])
        yield run, f"{names[entry]} is not a ready node of {runs.placements[run].cluster}"
    now = np.array([placement.now for placement in runs.placements], dtype=bool)
    given = np.bincount(owner, minlength=len(runs.jobs))
    for run in _rows(given != np.where(now, runs.size, 0)):
        yield run, f"{given[run]} nodes for {runs.size[run]} workers"


def _check_room(hosts: Hosts, runs: Runs) -> Complaints:
    """All workers fit side by side on the ready nodes of the pool when those are empty."""
    ready = np.flatnonzero(hosts.ready)
    own = {pool: hosts.has[ready[rows]] for pool, rows in groups(hosts.pool[ready])}
    asked = list(zip(runs.pool.tolist(), *runs.needs.T.tolist(), strict=True))
    fits = {(pool, *needs): _workers_on(own[pool], np.array(needs)) for pool, *needs in set(asked)}
    room = np.array([fits[one] for one in asked], dtype=float)
    for run in _rows(~(room >= runs.size)):
        shape, size = runs.jobs[run].spec.per_worker, runs.size[run]
        yield run, f"{shape} fits {room[run]:.0f} times on the ready nodes, not {size}"


def _workers_on(has: Floats, needs: Floats) -> float:
    """How many workers fit on nodes, (nodes, 3), if no others do."""
    needed = needs > 0
    if not needed.any():
        return math.inf
    each = np.floor(has[:, needed] / needs[needed] * (1 + SLACK))
    return float(each.min(axis=1).sum())
