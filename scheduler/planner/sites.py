"""Sites over the time axis: forecasts by slot, and what runs there already."""

import math
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from policies.holds import first_s
from policies.scene import OVERLAP_S, Floats, SiteView
from policies.ways import link_to, loads_gb
from scheduler.domain.fleet import Link, Site
from scheduler.domain.job import GreenMatching, JobSpec
from scheduler.domain.series import Series, constant
from scheduler.planner.pools import last_slot
from scheduler.planner.snapshot import RunningAttempt, Snapshot

# What a forecast that is missing or not a number stands for.
WORST_PRICE_YUAN_PER_KWH = 2.0
WORST_PUE = 2.0
WORST_GREEN_KW = 0.0
WORST_CARBON_G_PER_KWH = 1000.0  # of the oldest coal plants
# Slots that are looked at one by one; what runs longer meets the worst of the time after them.
AXIS_SLOTS_MAX = 1024


def site_views(snapshot: Snapshot, hours: Floats) -> tuple[SiteView, ...]:
    """The sites in the snapshot's order.

    Args:
        hours: what is left of each slot of the axis, (A,).
    """
    running: dict[str, list[RunningAttempt]] = defaultdict(list)
    for attempt in snapshot.running:
        running[attempt.cluster].append(attempt)
    draws = _Draws(snapshot)
    return tuple(
        _site_view(site, snapshot, hours, [(a, draws.kw(a)) for a in running[site.cluster]])
        for site in snapshot.sites.values()
    )


Load = tuple[RunningAttempt, float]  # with the IT power it draws


class _Draws:
    """What running attempts draw. A node that has not reported since the scheduler's start may run
    on all the same: it is taken to be as hungry as the hungriest of its pool, or of its cluster
    where the pool has no other."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._nodes = {node.id: node for node in snapshot.nodes}
        named = {name for attempt in snapshot.running for name in attempt.nodes}
        # Of an accelerator and of a core, by pool, and by cluster under None.
        self._most_kw: dict[tuple[str, str | None], tuple[float, float]] = {}
        for node in snapshot.nodes if named - self._nodes.keys() else ():
            for of in ((node.cluster, node.accelerator), (node.cluster, None)):
                gpu_kw, cpu_kw = self._most_kw.get(of, (0.0, 0.0))
                self._most_kw[of] = max(gpu_kw, node.gpu_power_kw), max(cpu_kw, node.cpu_power_kw)

    def kw(self, attempt: RunningAttempt) -> float:
        """IT power of an attempt."""
        spec, total_kw = attempt.spec, 0.0
        for name in attempt.nodes:
            node = self._nodes.get(name)
            if node is None:
                total_kw += it_power_kw(spec, *self._unseen_kw(attempt)) / spec.workers
            elif node.cluster == attempt.cluster:
                total_kw += it_power_kw(spec, node.gpu_power_kw, node.cpu_power_kw) / spec.workers
        return total_kw

    def _unseen_kw(self, attempt: RunningAttempt) -> tuple[float, float]:
        most_kw, cluster = self._most_kw, attempt.cluster
        of_cluster = most_kw.get((cluster, None), (0.0, 0.0))
        return most_kw.get((cluster, attempt.accelerator), of_cluster)


def it_power_kw(spec: JobSpec, gpu_power_kw: float, cpu_power_kw: float) -> float:
    """IT power of the whole gang: of its accelerators, or of its cores when it has none."""
    if spec.gpus:
        return spec.gpus * gpu_power_kw
    return spec.workers * spec.per_worker.cpus * cpu_power_kw


def _site_view(site: Site, snapshot: Snapshot, hours: Floats, loads: list[Load]) -> SiteView:
    dear = snapshot.rules.forecast_quantile
    pue = _sample(site.pue.at_quantile(dear), snapshot, len(hours), WORST_PUE, "max")
    kw, held_kw, kwh, held_kwh = (it * pue for it in _running(snapshot, hours, loads, pue))
    tariff, supply = site.price_yuan_per_kwh.at_quantile(dear), site.green_supply_kw
    price = _sample(tariff, snapshot, len(hours), WORST_PRICE_YUAN_PER_KWH, "max")
    green_kw = _sample(supply.at_quantile(1 - dear), snapshot, len(hours), WORST_GREEN_KW, "min")
    return SiteView(
        site=site,
        price_yuan_per_kwh=price,
        pue=pue,
        carbon_g_per_kwh=_carbon(site, snapshot, len(hours)),
        green_kw=np.maximum(green_kw, 0.0),
        running_kw=kw,
        running_held_kw=held_kw,
        running_kwh=kwh,
        running_held_kwh=held_kwh,
        running_gb=_coming_gb(site, snapshot, hours, loads),
    )


def _coming_gb(
    site: Site, snapshot: Snapshot, hours: Floats, loads: list[Load]
) -> dict[str, Floats]:
    """What still comes of the data of running attempts, at an even pace; (A,) by where it lies."""
    coming, ends_s = dict[str, Floats](), np.arange(1, len(hours) + 1) * snapshot.slot_s
    now_s = (snapshot.now_at - snapshot.start_at).total_seconds()
    for attempt, _ in loads:
        gb_of = loads_gb(attempt.spec, site)
        stage_s = max(
            (_takes_s(gb, link_to(site, at, snapshot.sites)) for at, gb in gb_of.items()),
            default=0.0,
        )
        end_s = (attempt.started_at - snapshot.start_at).total_seconds() + stage_s
        if not now_s < end_s < math.inf:
            continue
        crossed_s = np.clip(end_s - (ends_s - hours * 3600), 0.0, hours * 3600)
        for at, gb in gb_of.items():
            coming.setdefault(at, np.zeros(len(hours)))
            coming[at] += gb / stage_s * crossed_s
    return coming


def _takes_s(gb: float, link: Link | None) -> float:
    """How long data take; inf without a way."""
    return gb * 8 / link.bandwidth_gbps if link and link.bandwidth_gbps > 0 else math.inf


def _carbon(site: Site, snapshot: Snapshot, axis: int) -> Floats:
    told = site.grid_carbon_g_per_kwh
    series = told if isinstance(told, Series) else constant(told, snapshot.start_at)
    planned = series.at_quantile(snapshot.rules.forecast_quantile)
    return _sample(planned, snapshot, axis, WORST_CARBON_G_PER_KWH, "max")


def _sample(
    series: Series, snapshot: Snapshot, axis: int, missing: float, worst: Literal["min", "max"]
) -> Floats:
    """Values at the slots' beginnings; the last one is the worst of all from there on."""
    values = np.array(series.values, dtype=float)
    if not len(values):
        return np.full(axis, missing)
    values[~np.isfinite(values)] = missing
    since_s = (snapshot.start_at - series.start_at).total_seconds()
    at = np.floor((since_s + np.arange(axis) * snapshot.slot_s) / series.step_s)
    index = np.clip(at, 0, len(values) - 1).astype(np.int64)
    sampled = values[index]
    if axis >= max(AXIS_SLOTS_MAX, snapshot.slots):
        rest = values[index[-1] :]
        sampled[-1] = rest.min() if worst == "min" else rest.max()
    return np.asarray(sampled, dtype=np.float64)


def _running(
    snapshot: Snapshot, hours: Floats, loads: list[Load], pue: Floats
) -> tuple[Floats, ...]:
    """IT power of what runs in each slot it touches, what of it must be green, and both in kWh."""
    kw, held_kw, kwh, held_kwh = np.zeros((4, len(hours)))
    start_at = snapshot.start_at
    now_s = (snapshot.now_at - start_at).total_seconds()
    for attempt, load_kw in loads:
        last = min(last_slot(attempt, snapshot.slot_s, start_at), len(hours))
        end_s = (attempt.expected_end_at - start_at).total_seconds()
        covered = np.minimum(hours[:last], (end_s - np.arange(last) * snapshot.slot_s) / 3600)
        if end_s <= now_s:  # it overruns; nobody knows for how long
            covered[0] = hours[0]
        elif last == 1:
            covered[0] = (end_s - now_s) / 3600
        kw[:last] += load_kw
        kwh[:last] += load_kw * np.maximum(covered, 0.0)
        share = attempt.spec.min_green_share or 0.0
        if share and attempt.spec.green_matching is GreenMatching.RUN:
            begins_s = np.maximum(np.arange(last) * snapshot.slot_s, now_s)
            green_s = (_green_until_at(attempt, pue) - start_at).total_seconds() - begins_s
            held_kw[:last] += load_kw * (green_s > OVERLAP_S)
            held_kwh[:last] += load_kw * np.clip(green_s / 3600, 0.0, np.maximum(covered, 0.0))
        else:
            held_kw[:last] += load_kw * share
            held_kwh[:last] += load_kw * share * np.maximum(covered, 0.0)
    return kw, held_kw, kwh, held_kwh


def used_by(
    snapshot: Snapshot, hours: Floats, attempt: RunningAttempt, pue: Floats
) -> tuple[Floats, Floats]:
    """What one running attempt uses at the door in each slot, and what of that it holds, in kWh;
    (A,) each."""
    load = (attempt, _Draws(snapshot).kw(attempt))
    _, _, kwh, held_kwh = _running(snapshot, hours, [load], pue)
    return kwh * pue, held_kwh * pue


def _green_until_at(attempt: RunningAttempt, pue: Floats) -> datetime:
    """Until when a run that is green over the run as a whole takes green energy alone."""
    run_s = (attempt.expected_end_at - attempt.started_at).total_seconds()
    share = np.array([attempt.spec.min_green_share or 0.0])
    until_s = float(first_s(share, np.array([max(run_s, 0.0)]), pue)[0])
    return attempt.started_at + timedelta(seconds=until_s)
