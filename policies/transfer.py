"""The data a job reads come to it over a link, at the beginning of its run, and cost money.

Data that lie in the cluster, or in its province, are there already. All data of a run use their
links at full bandwidth from its start; the run is longer by the slowest of them. In a slot a link
carries no more GB than its bandwidth allows.
"""

import numpy as np

from policies.base import PairFilter, Policy, Rows, StartFilter
from policies.deadline import ROUNDING_S
from policies.scene import Bools, Floats, Options, Scene
from scheduler.domain.fleet import Link, Site
from scheduler.domain.job import JobSpec
from scheduler.domain.reason import ReasonCode


def link_to(site: Site, location: str, sites: dict[str, Site]) -> Link | None:
    """The way from where data lie to a site, declared at either end."""
    for link in site.links:
        if link.peer == location:
            return link
    other = sites.get(location)
    for link in other.links if other else ():
        if link.peer == site.cluster:
            return link
    return None


def loads_gb(spec: JobSpec, site: Site) -> dict[str, float]:
    """GB that must come from each location."""
    loads: dict[str, float] = {}
    for data in spec.data:
        if data.size_gb > 0 and data.location not in (site.cluster, site.province):
            loads[data.location] = loads.get(data.location, 0.0) + data.size_gb
    return loads


def stage_s(spec: JobSpec, site: Site, sites: dict[str, Site]) -> float:
    """Seconds until all data have arrived; inf without a link."""
    longest = 0.0
    for location, size_gb in loads_gb(spec, site).items():
        link = link_to(site, location, sites)
        if link is None or not link.bandwidth_gbps > 0:
            return float("inf")
        longest = max(longest, size_gb * 8 / link.bandwidth_gbps)
    return longest


def _linked(scene: Scene) -> Bools:
    return np.isfinite(scene.stage_s)


def _why_not_linked(scene: Scene, klass: int, pool: int) -> str:
    site, sites = scene.site_of(pool).site, _sites(scene)
    loads = loads_gb(scene.classes[klass].spec, site)
    missing = [
        f"{size_gb:g} GB at {location}"
        for location, size_gb in loads.items()
        if (link := link_to(site, location, sites)) is None or not link.bandwidth_gbps > 0
    ]
    return f"No link carries the job's data to {site.cluster}: {', '.join(missing)}."


def _arrives_in_time(scene: Scene, options: Options) -> Bools:
    deadline_s = np.array([klass.deadline_s for klass in scene.classes])[options.klass]
    end_s = options.start_s + options.run_s[:, None]
    return np.asarray(end_s <= deadline_s[:, None] + ROUNDING_S)


def _why_late(scene: Scene, options: Options, row: int, slot: int) -> str:
    klass = scene.classes[options.klass[row]]
    stage = scene.stage_s[options.klass[row], options.pool[row]]
    end_s = options.start_s[row, slot] + options.run_s[row]
    return (
        f"The data take {stage:.0f} s to arrive; starting at "
        f"{scene.clock(options.start_s[row, slot])} the run would end at {scene.clock(end_s)}, "
        f"after its deadline {scene.clock(klass.deadline_s)}."
    )


def _cost(scene: Scene, options: Options) -> Floats:
    yuan, sites = np.zeros(len(options.klass)), _sites(scene)
    for i, (k, p) in enumerate(zip(options.klass, options.pool, strict=True)):
        site = scene.site_of(p).site
        for location, size_gb in loads_gb(scene.classes[k].spec, site).items():
            link = link_to(site, location, sites)
            yuan[i] += size_gb * link.transfer_yuan_per_gb if link else 0.0
    return np.broadcast_to(yuan[:, None], options.start_s.shape)


def _rows(scene: Scene, options: Options) -> tuple[Rows, ...]:
    """A family for each way between a location and a site."""
    sites = _sites(scene)
    ways: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for i, (k, p) in enumerate(zip(options.klass, options.pool, strict=True)):
        site = scene.site_of(p).site
        for location, size_gb in loads_gb(scene.classes[k].spec, site).items():
            gb_per_hour = size_gb * 3600 / scene.stage_s[k, p]
            ways.setdefault((location, site.cluster), []).append((i, gb_per_hour))
    families = []
    for (location, cluster), uses in ways.items():
        link = link_to(sites[cluster], location, sites)
        assert link is not None, "the filter let a pair without a link pass"
        families.append(
            Rows(
                name="link",
                code=ReasonCode.LINK,
                unit="GB",
                groups=(f"{location}-{cluster}",),
                row=np.array([row for row, _ in uses], dtype=np.int64),
                group=np.zeros(len(uses), dtype=np.int64),
                demand=np.array([gb_per_hour for _, gb_per_hour in uses]),
                profile=np.ones((1, scene.axis)),
                capacity=link.bandwidth_gbps * 3600 / 8 * scene.hours[None, :],
                window=options.stage,
                exact=True,
            )
        )
    return tuple(families)


def _sites(scene: Scene) -> dict[str, Site]:
    return {view.site.cluster: view.site for view in scene.sites}


POLICY = Policy(
    name="transfer",
    pair_filters=(PairFilter(ReasonCode.DATA, _linked, _why_not_linked),),
    start_filters=(StartFilter(ReasonCode.DATA, _arrives_in_time, _why_late),),
    cost_yuan=_cost,
    rows=_rows,
)
