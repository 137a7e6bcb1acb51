"""How the data that jobs read come to a site: links, their bandwidth and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scheduler.domain.fleet import Link, Site
from scheduler.domain.job import JobSpec

Floats = npt.NDArray[np.float64]

# Data that take longer to come do not come at all: no job may last so long, and calendars end.
STAGE_MOST_S = 366 * 86400.0


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


@dataclass(frozen=True, slots=True)
class Ways:
    """How data come from each of L locations to each site: ``gb`` (K, L) of the classes;
    ``gbps`` (L, C) of the links, 0 where there is none, inf where the data lie already;
    ``yuan_per_gb`` (L, C); ``stage_s`` (K, C) is how long all data of a class take to a site, inf
    without a way, or where they take longer than STAGE_MOST_S."""

    locations: tuple[str, ...]
    gb: Floats
    gbps: Floats
    yuan_per_gb: Floats
    stage_s: Floats


def ways(specs: Sequence[JobSpec], sites: Sequence[Site]) -> Ways | None:
    """None if no spec has data to read."""
    index: dict[str, int] = {}
    rows, columns, sizes = list[int](), list[int](), list[float]()
    for k, spec in enumerate(specs):
        for data in spec.data:
            if data.size_gb > 0:
                rows.append(k)
                columns.append(index.setdefault(data.location, len(index)))
                sizes.append(data.size_gb)
    if not sizes:
        return None
    gb = np.zeros((len(specs), len(index)))
    np.add.at(gb, (rows, columns), sizes)
    by_name = {site.cluster: site for site in sites}
    gbps, yuan = np.zeros((2, len(index), len(sites)))
    for location, i in index.items():
        for c, site in enumerate(sites):
            if location in (site.cluster, site.province):
                gbps[i, c] = np.inf
            elif (link := link_to(site, location, by_name)) and link.bandwidth_gbps > 0:
                gbps[i, c], yuan[i, c] = link.bandwidth_gbps, link.transfer_yuan_per_gb
    return Ways(tuple(index), gb, gbps, yuan, _stages_s(gb, gbps))


def _stages_s(gb: Floats, gbps: Floats) -> Floats:
    longest = np.zeros((len(gb), gbps.shape[1]))
    with np.errstate(divide="ignore"):
        s_per_gb = 8 / gbps
    for i in range(gb.shape[1]):
        some = np.flatnonzero(gb[:, i] > 0)
        longest[some] = np.maximum(longest[some], gb[some, i, None] * s_per_gb[i])
    return np.where(longest > STAGE_MOST_S, np.inf, longest)
