"""Puts the policies' parts together as the arrays of the compiled loops."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.base import Rows
from policies.scene import OVERLAP_S, TOLERANCE, Bools, Floats, Ints, Scene
from scheduler.planner.candidates import Candidates
from scheduler.planner.kernels.distinct import distinct
from scheduler.planner.kernels.pairs import count_stages, fill_pairs, fill_stages
from scheduler.planner.kernels.problem import (
    CLASS,
    KIND,
    PAIR,
    POOL,
    ROW,
    STAGE,
    Problem,
    Records,
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The policies' costs of starting later, summed; (K,) each, per hour or once."""

    before_yuan_per_h: Floats
    after_yuan_per_h: Floats
    once_yuan: Floats
    once_yuan_per_run_h: Floats


@dataclass(frozen=True, slots=True)
class Alike:
    """Classes by what their gangs demand of anything: the group of each, (K,), and the first class
    of each group, (groups,)."""

    of_class: Ints
    first: Ints


def assemble(scene: Scene, candidates: Candidates, jobs: Ints, unplaced_yuan: Floats) -> Problem:
    """The problem of a scene; rows that cannot bind belong to nobody."""
    slot_s = scene.slot_s
    slot_h = slot_s / 3600
    rows = [rule for rule in candidates.rows if rule.group_of_pool is not None]
    own = [rule for rule in candidates.rows if rule.group_of_pool is None]
    from_row = dict(_from_rows(candidates))
    alike = _alike(scene, rows, own)
    able = _able(scene, candidates, jobs, alike)
    wanted = [_wanted(scene, rule, alike, able) for rule in rows]
    _drop_implied(rows, wanted, alike)
    kind, first = _kinds(scene, rows, wanted, alike)
    per_worker = 1 / scene.columns.workers[first, None].astype(float)
    it = scene.it_of_class()[first] * per_worker
    stages = _stages(candidates, from_row, slot_s)
    return Problem(
        slots=scene.slots,
        axis=scene.axis,
        slot_h=slot_h,
        overlap=OVERLAP_S / slot_s,
        classes=_classes(scene, candidates, jobs, unplaced_yuan, kind),
        pairs=_pairs(scene, candidates, alike, _guarded(rows, own, alike, len(scene.pools))),
        pools=_pools(scene, candidates),
        kinds=_records(KIND, gpus=it[:, 0], cores=it[:, 1]),
        energy_yuan=energy_yuan(scene, candidates),
        kind_units=_units([rule.of_class[first] * per_worker for rule in rows], len(first)),
        pool_units=_units([rule.of_pool for rule in rows], len(scene.pools)),
        pool_row=_rows_by(
            [
                np.where(keep & (_groups(rule) >= 0), from_row[id(rule)] + _groups(rule), -1)
                for rule, keep in zip(rows, wanted, strict=True)
            ],
            len(scene.pools),
        ),
        class_units=_own_units(own, len(jobs)),
        class_row=_rows_by([_own_rows(rule, from_row[id(rule)]) for rule in own], len(jobs)),
        stage_from=stages[0],
        stages=stages[1],
        **_row_table(candidates, scene.axis),
    )


def _records(dtype: np.dtype[np.void], **columns: Ints | Floats | Bools) -> Records:
    """Columns as records."""
    made = np.zeros(len(next(iter(columns.values()))), dtype=dtype)
    for name, values in columns.items():
        made[name] = values
    return made


def _classes(
    scene: Scene, candidates: Candidates, jobs: Ints, unplaced_yuan: Floats, kind: Ints
) -> Records:
    columns, slot_s, waiting = scene.columns, scene.slot_s, _waiting(scene, candidates)
    slot_h = slot_s / 3600
    kept_pair, kept_slot = candidates.kept(scene)
    moving_yuan = np.zeros(len(jobs))
    for costs in candidates.costs:
        if costs.kept_yuan is not None:
            moving_yuan += costs.kept_yuan
    return _records(
        CLASS,
        count=jobs,
        low=candidates.pairs_from[:-1],
        high=candidates.pairs_from[1:],
        kind=kind,
        kept_pair=kept_pair,
        kept_slot=kept_slot,
        moving_yuan=np.where(kept_pair >= 0, moving_yuan, 0.0),
        unplaced_yuan=unplaced_yuan,
        scale=columns.workers,
        start=np.maximum(columns.ready_s, scene.now_s) / slot_s,
        overdue=columns.overdue_s / slot_s,
        before_yuan=waiting.before_yuan_per_h * slot_h,
        after_yuan=waiting.after_yuan_per_h * slot_h,
        once_yuan=waiting.once_yuan,
        once_yuan_per_run=waiting.once_yuan_per_run_h * slot_h,
    )


def _pairs(scene: Scene, candidates: Candidates, alike: Alike, guarded: Bools) -> Records:
    pairs = candidates.pairs
    records: Records = np.empty(len(pairs.klass), dtype=PAIR)
    fill_pairs(
        records,
        pairs.klass,
        pairs.pool,
        pairs.run_s,
        scene.slot_s,
        _pair_yuan(candidates),
        candidates.first,
        candidates.last,
        guarded,
        alike.of_class,
    )
    return records


def _pools(scene: Scene, candidates: Candidates) -> Records:
    kw, site = scene.it_of_pool(), scene.site_of_pool
    beyond = beyond_yuan(scene, candidates)[site]
    return _records(POOL, site=site, gpu_kw=kw[:, 0], core_kw=kw[:, 1], beyond_yuan_per_kwh=beyond)


def _own_rows(rule: Rows, from_row: int) -> Ints:
    assert rule.group_of_class is not None, "asked of rows of classes only"
    return np.where(rule.group_of_class >= 0, from_row + rule.group_of_class, -1)


def _from_rows(candidates: Candidates) -> list[tuple[int, int]]:
    found, at = [], 0
    for rule in candidates.rules:
        found.append((id(rule), at))
        at += len(rule.groups)
    return found


def _groups(rule: Rows) -> Ints:
    assert rule.group_of_pool is not None, "asked of rows of pools only"
    return rule.group_of_pool


def _waiting(scene: Scene, candidates: Candidates) -> Waiting:
    before, after, once, per_run = np.zeros((4, len(scene.classes)))
    for cost in (costs.start for costs in candidates.costs):
        if cost is not None:
            before += cost.before_yuan_per_h
            after += cost.after_yuan_per_h
            once += cost.once_yuan
            per_run += cost.once_yuan_per_run_h
    return Waiting(before, after, once, per_run)


def energy_yuan(scene: Scene, candidates: Candidates) -> Floats:
    """Yuan per IT kWh of each slot, PUE included; (C, A)."""
    total = np.zeros((len(scene.sites), scene.axis))
    for costs in candidates.costs:
        if costs.energy is not None:
            total += costs.energy.inside
    pue = np.array([view.pue for view in scene.sites]).reshape(total.shape)
    return np.ascontiguousarray(total * pue)


def beyond_yuan(scene: Scene, candidates: Candidates) -> Floats:
    """The same after the axis; (C,)."""
    total = np.zeros(len(scene.sites))
    for costs in candidates.costs:
        if costs.energy is not None:
            total += costs.energy.beyond
    return np.ascontiguousarray(total * np.array([view.pue[-1] for view in scene.sites]))


def _pair_yuan(candidates: Candidates) -> Floats:
    total = np.zeros(len(candidates.pairs.klass))
    for costs in candidates.costs:
        if costs.pair_yuan is not None:
            total += costs.pair_yuan
    return total


def unplaced(scene: Scene, candidates: Candidates) -> Floats:
    """What having no place costs each class, (K,): more than its dearest place, with every elastic
    unit paid for, and the surcharges."""
    pairs, waiting, columns = candidates.pairs, _waiting(scene, candidates), scene.columns
    run_h = _most(pairs.run_s, candidates) / 3600
    rate = energy_yuan(scene, candidates).max(initial=0.0)
    rate = max(float(rate), float(beyond_yuan(scene, candidates).max(initial=0.0)))
    it_kw = scene.it_of_class() @ scene.it_of_pool().max(axis=0, initial=0.0)
    dearest: Floats = it_kw * rate * run_h + _most(_pair_yuan(candidates), candidates)
    for rule in candidates.rows:
        if rule.elastic_yuan is not None:
            most = float((rule.elastic_yuan * rule.profile).max(initial=0.0))
            dearest += rule.of_class @ rule.of_pool.max(axis=0, initial=0.0) * most * run_h
    start_s = np.maximum((scene.slots - 1) * scene.slot_s, columns.ready_s)
    allowed_h = np.maximum(np.minimum(start_s, columns.overdue_s) - columns.ready_s, 0.0) / 3600
    late_h = np.maximum(start_s - columns.overdue_s, 0.0) / 3600
    dearest += waiting.before_yuan_per_h * allowed_h + waiting.after_yuan_per_h * late_h
    once = waiting.once_yuan + waiting.once_yuan_per_run_h * run_h
    dearest += np.where(late_h > 0, once, 0.0)
    for costs in candidates.costs:
        if costs.kept_yuan is not None:
            dearest += costs.kept_yuan
    return dearest + candidates.unplaced_yuan


def _most(of_pair: Floats, candidates: Candidates) -> Floats:
    """The greatest of each class's pairs, 0 for those without; (K,)."""
    low, high = candidates.pairs_from[:-1], candidates.pairs_from[1:]
    most = np.zeros(len(low))
    some = np.flatnonzero(high > low)
    if len(some):
        most[some] = np.maximum.reduceat(of_pair, low[some])
    return np.maximum(most, 0.0)


def _alike(scene: Scene, rows: list[Rows], own: list[Rows]) -> Alike:
    workers = scene.columns.workers[:, None].astype(float)
    parts = [workers, scene.it_of_class(), _short_of_own(own, len(workers))[:, None].astype(float)]
    return Alike(*distinct(np.concatenate([*parts, *(rule.of_class for rule in rows)], axis=1)))


def _able(scene: Scene, candidates: Candidates, jobs: Ints, alike: Alike) -> Floats:
    """How many jobs of each group may run in each pool; (groups, P)."""
    pairs, pools = candidates.pairs, len(scene.pools)
    count = np.where(candidates.first <= candidates.last, jobs[pairs.klass], 0)
    cell = alike.of_class[pairs.klass] * pools + pairs.pool
    able = np.bincount(cell, weights=count, minlength=len(alike.first) * pools).astype(float)
    return able.reshape(len(alike.first), pools)


def _wanted(scene: Scene, rule: Rows, alike: Alike, able: Floats) -> Bools:
    """Pools whose row all that may run there could exceed together; (P,)."""
    groups = _groups(rule)
    # Not by matrix product: its threads fight with other processes over the cores.
    of_jobs = np.einsum("kj,kp->jp", rule.of_class[alike.first], able)
    per_pool = (of_jobs * rule.of_pool.T).sum(axis=0)
    known = groups >= 0
    total = np.bincount(groups[known], weights=per_pool[known], minlength=len(rule.groups))
    hours = scene.hours if rule.exact else np.ones(scene.axis)
    peak = total * (rule.profile * hours).max(axis=1, initial=0.0)
    tight: Bools = np.asarray(peak > rule.capacity.min(axis=1, initial=np.inf) + TOLERANCE)
    return np.asarray(known & tight[groups])


def _drop_implied(rows: list[Rows], wanted: list[Bools], alike: Alike) -> None:
    """Drops rows that another row of the same pool implies: with demands of at most ρ times its,
    and a capacity of at least ρ times its in every slot."""
    plain = [i for i, rule in enumerate(rows) if _is_plain(rule)]
    able = [keep.copy() for keep in wanted]
    for i in plain:
        for j in plain:
            if i == j or not (_groups(rows[i]) == _groups(rows[j])).all():
                continue
            less, more = rows[i].of_class[alike.first, 0], rows[j].of_class[alike.first, 0]
            if not len(less) or (less[more == 0] > 0).any():
                continue
            ratio = float((less / np.where(more > 0, more, 1.0)).max())
            with np.errstate(invalid="ignore"):
                roomy = rows[i].capacity >= ratio * rows[j].capacity - TOLERANCE
            implied: Bools = np.asarray(roomy.all(axis=1), dtype=bool)
            # Of two that imply each other, one stays.
            dropped = implied[np.maximum(_groups(rows[i]), 0)] & (wanted[j] | ~able[j])
            wanted[i] &= ~dropped


def _is_plain(rule: Rows) -> bool:
    """Hard, by the slot, and with nothing but the class to say what is demanded."""
    hard = rule.elastic_yuan is None and not rule.exact and rule.of_class.shape[1] == 1
    return hard and bool((rule.profile == 1).all() and (rule.of_pool == 1).all())


def _kinds(scene: Scene, rows: list[Rows], wanted: list[Bools], alike: Alike) -> tuple[Ints, Ints]:
    """Classes by what one worker demands of anything, (K,), and the first class of each kind."""
    classes = alike.first
    scale = scene.columns.workers[classes].astype(float)[:, None]
    parts = [scene.it_of_class()[classes] / scale]
    for rule, keep in zip(rows, wanted, strict=True):
        if keep.any():
            parts.append(rule.of_class[classes] / scale)
    kind, first = distinct(np.concatenate(parts, axis=1))
    return kind[alike.of_class], classes[first]


def _guarded(rows: list[Rows], own: list[Rows], alike: Alike, pools: int) -> Bools:
    """Whether some row may be too small for a group in a pool even when all else is away;
    (groups, P)."""
    classes = alike.first
    guarded = np.zeros((len(classes), pools), dtype=bool)
    for rule in rows:
        if rule.elastic_yuan is None:
            least = np.where(
                rule.profile > 0, rule.capacity / np.maximum(rule.profile, 1e-12), np.inf
            )
            groups = _groups(rule)
            demand = np.einsum("kj,pj->kp", rule.of_class[classes], rule.of_pool)
            guarded |= (groups >= 0) & (demand > least.min(axis=1, initial=np.inf)[groups])
    return np.asarray(guarded | _short_of_own(own, len(alike.of_class))[classes, None])


def _short_of_own(own: list[Rows], classes: int) -> Bools:
    """The classes whose own rows may be too small for them, (K,)."""
    short = np.zeros(classes, dtype=bool)
    for rule in own:
        assert rule.group_of_class is not None, "rows belong to pools or to classes"
        least = rule.capacity.min(axis=1, initial=np.inf)
        group = rule.group_of_class
        short |= (group >= 0) & (rule.of_class[:, 0] > least[group])
    return short


def _units(parts: list[Floats], size: int) -> Floats:
    """(families, size, 2)."""
    table = np.zeros((len(parts), size, 2))
    for f, part in enumerate(parts):
        table[f, :, : part.shape[1]] = part
    return table


def _rows_by(parts: list[Ints], size: int) -> Ints:
    """(families, size)."""
    return np.array(parts, dtype=np.int64).reshape(len(parts), size)


def _own_units(own: list[Rows], size: int) -> Floats:
    """(families, K)."""
    return np.array([rule.of_class[:, 0] for rule in own], dtype=float).reshape(len(own), size)


def _stages(
    candidates: Candidates, from_row: dict[int, int], slot_s: float
) -> tuple[Ints, Records]:
    """Where the entries of each pair begin, and the entries of all stage rows, by pair."""
    if not candidates.stage_rows:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=STAGE)
    begins = np.zeros(len(candidates.pairs.klass) + 1, dtype=np.int32)
    for rule in candidates.stage_rows:
        count_stages(rule.pair.astype(np.int32, copy=False), begins[1:])
    np.cumsum(begins, out=begins)
    free = begins.copy()
    entries: Records = np.empty(begins[-1], dtype=STAGE)
    for rule in candidates.stage_rows:
        pair, group = (i.astype(np.int32, copy=False) for i in (rule.pair, rule.group))
        own = rule.demand, rule.length_s, from_row[id(rule)]
        fill_stages(entries, free, pair, group, *own, slot_s)
    return begins, entries


def _row_table(candidates: Candidates, axis: int) -> dict[str, Any]:
    """Capacity, profile, elastic price and kind of every row."""
    capacity, profile, elastic = list[Floats](), list[Floats](), list[Floats]()
    kinds = list[tuple[bool, bool, bool]]()
    for rule in candidates.rules:
        shape = rule.capacity.shape
        capacity.append(rule.capacity)
        price = None
        if isinstance(rule, Rows):
            price = rule.elastic_yuan
            profile.append(rule.profile)
            kinds += [(price is None, rule.exact, False)] * shape[0]
        else:
            profile.append(np.ones(shape))
            kinds += [(True, True, True)] * shape[0]
        elastic.append(np.full(shape, np.inf) if price is None else price)
    hard, exact, stage = np.array(kinds, dtype=bool).reshape(-1, 3).T
    none = np.zeros((0, axis))
    return {
        "capacity": np.ascontiguousarray(np.concatenate([none, *capacity])),
        "profile": np.ascontiguousarray(np.concatenate([none, *profile])),
        "elastic_yuan": np.ascontiguousarray(np.concatenate([none, *elastic])),
        "rows": _records(ROW, hard=hard, exact=exact, stage=stage),
    }
