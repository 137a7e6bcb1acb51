"""The data that jobs need before they can begin, and the links that carry them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scheduler.checker.tables import Runs
from scheduler.checker.view import SLACK, TOUCH_S, Bools, Floats, Ints, View, groups, levels, summed
from scheduler.domain.fleet import Site
from scheduler.domain.job import JobSpec
from scheduler.planner.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """What runs fetch, one row for each run and link. ``staged_s`` is how long after its start the
    data of each run have arrived, inf if they cannot; ``links`` are (location, cluster)."""

    run: Ints
    link: Ints
    gb: Floats
    staged_s: Floats
    links: list[tuple[str, str]]


def transfers_of(view: View, runs: Runs) -> Transfers:
    """Data that lie at another cluster or elsewhere; those of one place arrive together."""
    sites, codes = view.snapshot.sites, dict[tuple[str, str], int]()
    run, link, size_gb = list[int](), list[int](), list[float]()
    for row, (job, placement) in enumerate(zip(runs.jobs, runs.placements, strict=True)):
        for data in job.spec.data:
            cluster, location = placement.cluster, data.location
            if location not in (cluster, sites[cluster].province) and data.size_gb > 0:
                run.append(row)
                link.append(codes.setdefault((location, cluster), len(codes)))
                size_gb.append(data.size_gb)
    key = np.array(run, dtype=np.int64) * len(codes) + np.array(link, dtype=np.int64)
    once, which = np.unique(key, return_inverse=True)
    gb = summed(which, np.array(size_gb, dtype=float), len(once))
    row_of, link_of = np.divmod(once, max(len(codes), 1))
    rates = [gbps_of(sites[cluster], location, view.snapshot) for location, cluster in codes]
    gbps = np.array(rates, dtype=float)[link_of]
    takes_s = np.full(len(once), math.inf)
    np.divide(gb * 8, gbps, out=takes_s, where=gbps > 0)
    staged_s = np.zeros(len(runs.jobs))
    np.maximum.at(staged_s, row_of, takes_s)
    return Transfers(run=row_of, link=link_of, gb=gb, staged_s=staged_s, links=list(codes))


def check_links(view: View, runs: Runs, transfers: Transfers) -> Iterator[str]:
    """No link carries more in a slot than its bandwidth allows, each transfer at an even pace.

    Of the slots in which a run may start, and the one after: nothing begins later, so what fits
    there fits ever after. What still comes for running attempts is carried, too.
    """
    snapshot, slot_s = view.snapshot, view.snapshot.slot_s
    begins_s = np.arange(snapshot.slots + 1, dtype=np.float64) * slot_s
    left_s = begins_s + slot_s - np.maximum(view.now_s, begins_s)
    coming_gb = _coming_gb(view, begins_s, left_s)
    named = [(transfers.links[link], rows) for link, rows in groups(transfers.link)]
    for (location, cluster), rows in sorted(named, key=lambda one: one[0]):
        used, gb = _carried(runs, transfers, rows, slot_s, snapshot.slots + 1)
        gb += coming_gb.get((location, cluster), 0.0)
        most_gb = gbps_of(snapshot.sites[cluster], location, snapshot) * left_s / 8
        too_much = gb > most_gb * (1 + SLACK) + most_gb * TOUCH_S / slot_s + SLACK
        for slot in np.flatnonzero(used & too_much).tolist():
            when = snapshot.slot_at(slot)
            yield f"link {location}-{cluster} at {when}: {gb[slot]} GB > {most_gb[slot]} GB"


def _coming_gb(view: View, begins_s: Floats, left_s: Floats) -> dict[tuple[str, str], Floats]:
    """What each link still carries for running attempts in the first slots, (slots,)."""
    snapshot, coming = view.snapshot, dict[tuple[str, str], Floats]()
    for attempt in snapshot.running:
        site = snapshot.sites.get(attempt.cluster)
        rates = {} if site is None else _gb_per_s(attempt.spec, site, snapshot)
        began_s = (attempt.started_at - snapshot.start_at).total_seconds()
        for location, (gb_per_s, takes_s) in rates.items():
            until_s = np.clip(began_s + takes_s - begins_s, 0.0, begins_s[1] - begins_s[0])
            before_s = np.clip(begins_s[1] - begins_s[0] - left_s, 0.0, None)
            gb = gb_per_s * np.maximum(until_s - before_s, 0.0)
            key = (location, attempt.cluster)
            coming[key] = coming.get(key, np.zeros(len(gb))) + gb
    return coming


def _gb_per_s(spec: JobSpec, site: Site, snapshot: Snapshot) -> dict[str, tuple[float, float]]:
    """At what pace the data of a job come from each place, and how long; none if they cannot."""
    gb: dict[str, float] = {}
    for data in spec.data:
        if data.location not in (site.cluster, site.province) and data.size_gb > 0:
            gb[data.location] = gb.get(data.location, 0.0) + data.size_gb
    rates = {location: gbps_of(site, location, snapshot) for location in gb}
    if not gb or min(rates.values()) <= 0:
        return {}
    takes_s = max(gb[location] * 8 / rates[location] for location in gb)
    return {location: (size / takes_s, takes_s) for location, size in gb.items()}


def _carried(
    runs: Runs, transfers: Transfers, rows: Ints, slot_s: float, slots: int
) -> tuple[Bools, Floats]:
    """Whether a link carries anything in each of the first slots, and how much, (slots,) each."""
    takes_s = transfers.staged_s[transfers.run[rows]]
    rows = rows[(takes_s > 0) & (takes_s < math.inf)]
    run = transfers.run[rows]
    start_s, end_s = runs.start_s[run], runs.start_s[run] + transfers.staged_s[run]
    gb_per_s = transfers.gb[rows] / transfers.staged_s[run]
    first = np.clip(np.floor(start_s / slot_s), 0, slots).astype(np.int64)
    stop = np.clip(np.ceil(end_s / slot_s), first, slots).astype(np.int64)
    whole_gb = levels(first, stop, gb_per_s * slot_s, slots)
    # The first slot of each transfer and the last are carried in part only.
    before_s = np.where(first < stop, np.maximum(start_s - first * slot_s, 0.0), 0.0)
    after_s = np.where(first < stop, np.maximum(stop * slot_s - end_s, 0.0), 0.0)
    missing_gb = summed(first, gb_per_s * before_s, slots + 1)[:slots]
    missing_gb += summed(np.maximum(stop - 1, 0), gb_per_s * after_s, slots + 1)[:slots]
    return levels(first, stop, np.ones(len(rows)), slots) > 0, whole_gb - missing_gb


def gbps_of(site: Site, location: str, snapshot: Snapshot) -> float:
    """Of the link between a site and where data lie, as declared at the site or the other end."""
    for link in site.links:
        if link.peer == location:
            return link.bandwidth_gbps
    other = snapshot.sites.get(location)
    for link in other.links if other is not None else ():
        if link.peer == site.cluster:
            return link.bandwidth_gbps
    return 0.0
