"""The data a job reads come to it over a link, at the beginning of its run, and cost money.

Data that lie in the cluster, or in its province, are there already. All data of a run use their
links at full bandwidth from its start; the run is longer by the slowest of them, and computes when
all have arrived. In a slot a link carries no more GB than its bandwidth allows, those that still
come for what runs included.
"""

import numpy as np

from policies.base import PairFilter, Policy, StageRows, StartFilter
from policies.deadline import due, last_slots
from policies.loops import crossings, transfer_yuan
from policies.scene import Bools, Floats, Ints, Pairs, Scene
from policies.ways import STAGE_MOST_S, Ways, link_to, loads_gb
from scheduler.domain.reason import ReasonCode


def _linked(scene: Scene) -> Bools:
    if scene.ways is None:
        return np.ones((len(scene.classes), len(scene.pools)), dtype=bool)
    return np.isfinite(scene.ways.stage_s)[:, scene.site_of_pool]


def _why_not_linked(scene: Scene, klass: int, pool: int) -> str:
    site, sites = scene.site_of(pool).site, {v.site.cluster: v.site for v in scene.sites}
    loads = loads_gb(scene.classes[klass].spec, site)
    missing = list[str]()
    for location, size_gb in loads.items():
        link = link_to(site, location, sites)
        if link is None or not link.bandwidth_gbps > 0:
            missing.append(f"{size_gb:g} GB at {location}")
        elif size_gb * 8 / link.bandwidth_gbps > STAGE_MOST_S:
            slow = f"more than a year at {link.bandwidth_gbps:g} Gbit/s"
            missing.append(f"{size_gb:g} GB at {location} ({slow})")
    return f"No link carries the job's data to {site.cluster}: {', '.join(missing)}."


def _arrives_in_time(scene: Scene, pairs: Pairs) -> Ints | None:
    rows = np.flatnonzero(due(scene, pairs) & (pairs.stage_s > 0))
    latest_s = scene.columns.deadline_s[pairs.klass[rows]] - pairs.run_s[rows]
    return last_slots(scene, pairs, rows, latest_s)


def _why_late(scene: Scene, pairs: Pairs, row: int, slot: int) -> str:
    klass = scene.classes[pairs.klass[row]]
    start_s = max(float(pairs.start_s(row)), slot * scene.slot_s)
    end_s = start_s + float(pairs.run_s[row])
    return (
        f"The data take {pairs.stage_s[row]:.0f} s to arrive; starting at "
        f"{scene.clock(start_s)} the run would end at {scene.clock(end_s)}, "
        f"after its deadline {scene.clock(klass.deadline_s)}."
    )


def _data(way: Ways) -> tuple[Ints, Ints, Floats]:
    """Where the data of each class begin, (K + 1,), where each of them lie, and how many GB."""
    klass, location = np.nonzero(way.gb > 0)
    first = np.searchsorted(klass, np.arange(len(way.gb) + 1))
    return first, location, way.gb[klass, location]


def _cost(scene: Scene, pairs: Pairs) -> Floats | None:
    if (way := scene.ways) is None:
        return None
    return transfer_yuan(pairs.klass, pairs.site, *_data(way), way.yuan_per_gb)


def _rows(scene: Scene, pairs: Pairs) -> tuple[StageRows, ...]:
    """A group for each way between a location and a site."""
    if (way := scene.ways) is None:
        return ()
    crossed = np.isfinite(way.gbps) & (way.gbps > 0)
    location, site = np.nonzero(crossed)
    number = np.full(crossed.shape, -1, dtype=np.int64)
    number[location, site] = np.arange(len(location))
    pair, group, demand = crossings(pairs.klass, pairs.site, pairs.stage_s, *_data(way), number)
    capacity = way.gbps[location, site, None] * 3600 / 8 * scene.hours
    for row, (i, c) in enumerate(zip(location.tolist(), site.tolist(), strict=True)):
        capacity[row] -= scene.sites[c].running_gb.get(way.locations[i], 0.0)
    return (
        StageRows(
            name="link",
            code=ReasonCode.LINK,
            unit="GB",
            groups=tuple(
                f"{way.locations[i]}-{scene.sites[c].site.cluster}"
                for i, c in zip(location.tolist(), site.tolist(), strict=True)
            ),
            pair=pair,
            group=group,
            demand=demand,
            length_s=pairs.stage_s[pair],
            capacity=np.maximum(capacity, 0.0),
        ),
    )


POLICY = Policy(
    name="transfer",
    pair_filters=(PairFilter(ReasonCode.DATA, _linked, _why_not_linked),),
    start_filters=(StartFilter(ReasonCode.DATA, _why_late, last=_arrives_in_time),),
    pair_yuan=_cost,
    stage_rows=_rows,
)
