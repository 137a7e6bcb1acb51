"""The snapshot as arrays: classes of jobs, pools of nodes, sites over the time axis."""

import math
from dataclasses import replace

import numpy as np

from policies.scene import Columns, Floats, Ints, Pairs, Scene
from policies.ways import Ways, ways
from policies.weights import Weights
from scheduler.planner.classes import classes_of, columns_of
from scheduler.planner.closures import closures_of, without_closed
from scheduler.planner.kernels.pairs import run_times
from scheduler.planner.pools import claims_of, pools_of
from scheduler.planner.sites import AXIS_SLOTS_MAX, site_views
from scheduler.planner.snapshot import Snapshot
from scheduler.planner.table import JobTable
from scheduler.planner.tenants import quotas_of


def build_scene(
    snapshot: Snapshot, weights: Weights | None = None, table: JobTable | None = None
) -> Scene:
    """The picture that the policies judge.

    Args:
        weights: in place of those of the snapshot's rules.
        table: of rounds before; it saves work and changes nothing.
    """
    table = JobTable() if table is None else table
    rows = table.rows(snapshot.jobs)
    rules = snapshot.rules if weights is None else replace(snapshot.rules, weights=weights)
    start_at = snapshot.start_at
    classes = classes_of(snapshot, table, rows)
    sites = tuple(snapshot.sites.values())
    pools = pools_of(snapshot, sites)
    columns, speeds = columns_of(classes, table, rows, pools, rules.weights)
    way = ways(classes.specs, sites)
    axis = _axis(snapshot, _longest_s(columns, speeds, way))
    now_s = (snapshot.now_at - start_at).total_seconds()
    hours = np.full(axis, snapshot.slot_s / 3600)
    hours[0] = (snapshot.slot_s - now_s) / 3600
    closures = closures_of(snapshot, pools, axis)
    return Scene(
        start_at=start_at,
        slot_s=snapshot.slot_s,
        now_s=now_s,
        slots=snapshot.slots,
        hours=hours,
        classes=classes,
        columns=columns,
        pools=without_closed(pools, closures),
        sites=site_views(snapshot, hours),
        regions=snapshot.regions,
        speeds=speeds,
        ways=way,
        rules=rules,
        claims=claims_of(snapshot, pools),
        closures=closures,
        quotas=quotas_of(snapshot, axis),
    )


def pairs_of(scene: Scene, klass: Ints, pool: Ints) -> Pairs:
    """Classes in pools, with their runs; both of shape (m,), sorted."""
    columns, m = scene.columns, len(klass)
    site, (stage_s, run_s) = np.empty(m, dtype=np.int32), np.empty((2, m))
    run_times(
        klass,
        pool,
        scene.site_of_pool,
        np.zeros((0, 0)) if scene.ways is None else scene.ways.stage_s,
        columns.left_s,
        columns.resume_s,
        columns.speeds,
        scene.speeds,
        site,
        stage_s,
        run_s,
    )
    ready_s = np.maximum(columns.ready_s, scene.now_s)
    return Pairs(klass=klass, pool=pool, site=site, stage_s=stage_s, run_s=run_s, ready_s=ready_s)


def _longest_s(columns: Columns, speeds: Floats, way: Ways | None) -> float:
    """More than any run of a class in a pool takes."""
    if not speeds.size:
        return 0.0
    slowest = np.nanmin(np.where(np.isfinite(speeds), speeds, np.inf), axis=1)[columns.speeds]
    longest_s = np.where(np.isfinite(slowest), columns.left_s / slowest, 0.0) + columns.resume_s
    if way is not None:
        stage_s = np.where(np.isfinite(way.stage_s), way.stage_s, 0.0)
        longest_s += stage_s.max(axis=1, initial=0.0)
    return float(longest_s.max(initial=0.0))


def _axis(snapshot: Snapshot, longest_s: float) -> int:
    tail = math.ceil(longest_s / snapshot.slot_s) if math.isfinite(longest_s) else AXIS_SLOTS_MAX
    return snapshot.slots + min(tail, max(AXIS_SLOTS_MAX - snapshot.slots, 0))
