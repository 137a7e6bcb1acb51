"""The cheapest attempts of a pool whose nodes, with what is free, hold a gang: CP-SAT."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from policies.scene import TOLERANCE, Floats, Ints

# Nodes that are looked at, those first on which a worker's room costs least.
NODES_MOST = 64
# The model counts in thousandths of a yuan; among equals the earlier victims of the list go.
YUAN_PARTS = 1000
RANKS = 1000
WORK = 0.2
SEED = 1


@dataclass(frozen=True, slots=True)
class Victim:
    """An attempt that may be stopped: accelerators, cores and GB of each worker, and the node of
    each as a row of the pool."""

    cost_yuan: float
    amounts: tuple[float, float, float]
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """Which victims are stopped, and how many workers each node (n,) then holds."""

    victims: tuple[int, ...]
    workers: Ints


def rooms(free: Floats, need: Floats) -> Ints:
    """Workers that fit on each node. Shapes: free (n, 3), need (3,); the answer (n,)."""
    asked = need > 0
    return np.asarray(
        np.floor(free[:, asked] / need[asked] + TOLERANCE).min(axis=1).astype(np.int64)
    )


def taken(room: Ints, workers: int) -> Ints | None:
    """Workers per node, (n,), fullest nodes first; None where they do not fit.

    Args:
        room: per node, (n,), not negative.
    """
    if np.minimum(room, workers).sum() < workers:
        return None
    left, spread = workers, np.zeros_like(room)
    for node in np.lexsort((np.arange(len(room)), room)).tolist():
        spread[node] = min(left, int(room[node]))
        left -= int(spread[node])
    return spread


def cheapest_room(
    free: Floats, need: Floats, workers: int, victims: Sequence[Victim]
) -> Room | None:
    """The victims that cost least of all whose going makes room, or None.

    Args:
        free: per node accelerators, cores and GB, (n, 3).
        need: of one worker, (3,), at least one of them above 0.
        victims: those to be preferred among equals first.
    """
    most = free.copy()
    for victim in victims:
        for node in victim.nodes:
            most[node] += victim.amounts
    potential = np.minimum(rooms(most, need), workers)
    if potential.sum() < workers:
        return None
    able: list[int] = np.flatnonzero(potential > 0).tolist()
    most_nodes = max(NODES_MOST, 2 * workers)
    if len(able) > most_nodes:
        able = _cheapest_nodes(free, need, victims, able)[:most_nodes]
    return _solve(free, need, workers, victims, {node: int(potential[node]) for node in able})


def _cheapest_nodes(
    free: Floats, need: Floats, victims: Sequence[Victim], able: Sequence[int]
) -> list[int]:
    """Those first on which the room for one worker costs least."""
    here: dict[int, list[Victim]] = {}
    for victim in victims:
        for node in dict.fromkeys(victim.nodes):
            here.setdefault(node, []).append(victim)
    asked, left = need.tolist(), free.tolist()

    def price(node: int) -> float:
        short = [n - f for n, f in zip(asked, left[node], strict=True)]
        yuan = 0.0
        for victim in sorted(here.get(node, ()), key=lambda victim: victim.cost_yuan):
            if max(short) <= TOLERANCE:
                break
            times = victim.nodes.count(node)
            short = [s - times * a for s, a in zip(short, victim.amounts, strict=True)]
            yuan += victim.cost_yuan
        return yuan

    return sorted(able, key=lambda node: (price(node), node))


def _solve(
    free: Floats, need: Floats, workers: int, victims: Sequence[Victim], kept: dict[int, int]
) -> Room | None:
    cp = cp_model.CpModel()
    near = [v for v, victim in enumerate(victims) if not kept.keys().isdisjoint(victim.nodes)]
    goes = {v: cp.new_bool_var("") for v in near}
    holds = {node: cp.new_int_var(0, most, "") for node, most in kept.items()}
    cp.add(cp_model.LinearExpr.sum(list(holds.values())) >= workers)
    freed: dict[int, list[int]] = {node: [] for node in kept}
    for v in near:
        for node in victims[v].nodes:
            if node in freed:
                freed[node].append(v)
    for node, held in holds.items():
        for resource in np.flatnonzero(need > 0).tolist():
            # In parts of one worker's need, of which all but a millionth must be there.
            unit = float(need[resource]) / 1e6
            has = int(free[node, resource] / unit + 1)
            parts = [int(victims[v].amounts[resource] / unit) for v in freed[node]]
            gone = cp_model.LinearExpr.weighted_sum([goes[v] for v in freed[node]], parts)
            enough = cp.add(1_000_000 * held <= has + gone)
            if has < 0:  # more runs there than it has: nothing need end where nothing is to start
                used = cp.new_bool_var("")
                cp.add(held <= kept[node] * used)
                enough.only_enforce_if(used)
    weights = [
        round(victims[v].cost_yuan * YUAN_PARTS) * RANKS + min(rank + 1, RANKS - 1)
        for rank, v in enumerate(near)
    ]
    cp.minimize(cp_model.LinearExpr.weighted_sum(list(goes.values()), weights))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SEED
    solver.parameters.max_deterministic_time = WORK
    if solver.solve(cp) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    spread, left = np.zeros(len(free), dtype=np.int64), workers
    for node, held in holds.items():
        spread[node] = min(left, solver.value(held))
        left -= int(spread[node])
    return Room(tuple(v for v in near if solver.boolean_value(goes[v])), spread)
