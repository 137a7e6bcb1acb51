"""What placements break together: nodes, pools, and the power and the green supply of sites."""

import math
from collections.abc import Iterator

import numpy as np

from scheduler.checker.tables import Held, Hosts, Runs, Workers
from scheduler.checker.view import (
    SLACK,
    Floats,
    Ints,
    View,
    each_over,
    groups,
    has_of,
    levels,
    over,
    summed,
)

WHAT = ("accelerators", "cores", "GB")


def check_nodes(view: View, hosts: Hosts, held: Held, runs: Runs) -> Iterator[str]:
    """No node is given away twice at the time of the snapshot."""
    before = _on_nodes(hosts, held.workers, held.needs)
    more = _on_nodes(hosts, runs.given, runs.needs)
    nodes = list(view.nodes.values())
    full = (more > SLACK) & each_over(before + more, hosts.has)
    for code, i in np.argwhere(full).tolist():
        node, held_before, given = nodes[code], before[code, i], more[code, i]
        has = f"{node.id} has {has_of(node)[i]} {WHAT[i]}"
        yield f"{has}: {held_before} are held and {given} given away now"


def _on_nodes(hosts: Hosts, workers: Workers, needs: Floats) -> Floats:
    """What workers need on each node, (nodes, 3)."""
    known = workers.host >= 0
    host, each = workers.host[known], needs[workers.owner[known]]
    return np.column_stack([summed(host, each[:, i], len(hosts.pool)) for i in range(3)])


def check_pools(view: View, hosts: Hosts, held: Held, runs: Runs) -> Iterator[str]:
    """In every slot, what is planned fits in sum what running attempts leave of the ready nodes."""
    slots, names = view.snapshot.slots, list(view.pools)
    ready = np.flatnonzero(hosts.ready)
    members = {pool: ready[rows] for pool, rows in groups(hosts.pool[ready])}
    counted = np.flatnonzero(hosts.ready[held.workers.host])
    pools = hosts.pool[held.workers.host[counted]]
    holders = {pool: counted[rows] for pool, rows in groups(pools)}
    for pool, rows in groups(runs.pool):
        nodes, workers = members[pool], holders.get(pool, np.empty(0, dtype=np.int64))
        for i, what in enumerate(WHAT):
            planned = runs.size[rows] * runs.needs[rows, i]
            level = levels(runs.first[rows], runs.stop[rows], planned, slots)
            free = hosts.has[nodes, i].sum() - _taken(hosts, held, workers, nodes, i=i, slots=slots)
            for slot in np.flatnonzero((level > SLACK) & each_over(level, free)).tolist():
                where, when = "/".join(names[pool]), view.snapshot.slot_at(slot)
                yield f"{where} at {when}: {level[slot]} {what} > {free[slot]} free"


def _taken(hosts: Hosts, held: Held, workers: Ints, nodes: Ints, *, i: int, slots: int) -> Floats:
    """What running workers hold on nodes in each slot, (slots,); of no node more than it has."""
    owner, node = held.workers.owner[workers], np.searchsorted(nodes, held.workers.host[workers])
    edges = np.zeros((len(nodes), slots + 1))
    edges[:, 0] = summed(node, held.needs[owner, i], len(nodes))
    np.subtract.at(edges, (node, np.minimum(held.stop[owner], slots)), held.needs[owner, i])
    level = edges[:, :slots].cumsum(axis=1)
    taken: Floats = np.minimum(level, hosts.has[nodes, i, None]).sum(axis=0)
    return taken


def check_sites(view: View, held: Held, runs: Runs) -> Iterator[str]:
    """The power cap and the green supply of each site, slot by slot; what runs comes first."""
    for code, rows in groups(runs.site):
        yield from _check_site(view, code, held, runs, rows)


def _check_site(view: View, code: int, held: Held, runs: Runs, rows: Ints) -> Iterator[str]:
    site, snapshot, ends = view.sites[code], view.snapshot, int(runs.stop[rows].max())
    slots = min(ends, view.reach(site))
    pue, green_kw = view.pues(site, slots), view.green_kw(site, slots)
    first, stop, kw = runs.first[rows], runs.stop[rows], runs.kw[rows]
    more = levels(first, stop, kw, slots)
    wants = levels(first, stop, kw * runs.share[rows], slots)
    running_kw, running_green_kw = _running(held, code, slots)
    draws, holds = (running_kw + more) * pue, (running_green_kw + wants) * pue
    cap_kw = math.inf if site.power_cap_kw is None else site.power_cap_kw
    too_much = (more > SLACK) & each_over(draws, np.full(slots, cap_kw))
    too_green = (wants > SLACK) & each_over(holds, green_kw)
    for slot in np.flatnonzero(too_much | too_green).tolist():
        where = f"{site.cluster} at {snapshot.slot_at(slot)}"
        if too_much[slot]:
            yield f"{where}: {draws[slot]} kW > the power cap of {cap_kw} kW"
        if too_green[slot]:
            yield f"{where}: {holds[slot]} kW of green held > {green_kw[slot]} kW"
    supply_kwh = green_kw.sum() * snapshot.slot_s / 3600
    promised_kwh = runs.green_kwh[rows].sum()
    if ends <= slots and over(promised_kwh, supply_kwh):
        yield f"{site.cluster}: {promised_kwh} green kWh promised > {supply_kwh} kWh supplied"


def _running(held: Held, code: int, slots: int) -> tuple[Floats, Floats]:
    """What runs at a site draws in each slot, and the green part of it that is promised."""
    here = np.flatnonzero(held.site == code)
    kw, first, stop = held.kw[here], np.zeros_like(here), held.stop[here]
    return levels(first, stop, kw, slots), levels(first, stop, kw * held.share[here], slots)
