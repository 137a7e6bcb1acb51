"""What is kept of a cluster as a whole: what its head tells of it, and the ways from it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.domain.fleet import Link, Rejection, Rtt, Site
from scheduler.domain.plausibility import (
    LINK_RANGES,
    SITE_RANGES,
    judge_number,
    judge_rtt,
    judge_series,
)
from scheduler.domain.series import Series
from scheduler.state.known import Cluster

# Without any of these nothing is planned at a site. The cap may be None, but must have been told:
# one that was not believed must not become no cap at all.
SITE_FACTS = frozenset(
    {
        "province",
        "price_yuan_per_kwh",
        "green_supply_kw",
        "pue",
        "grid_carbon_g_per_kwh",
        "power_cap_kw",
    }
)


@dataclass(frozen=True, slots=True)
class Now:
    """In the power clock and on the monotonic clock."""

    at: datetime
    monotonic_s: float


def tell(cluster: Cluster, facts: Mapping[str, Any], at: datetime) -> tuple[list[Rejection], int]:
    """Applies names and values of ``Site`` fields; what is not believed of them, and how many of
    them were not known before."""
    rejections: list[Rejection] = []
    news = 0
    for name, value in facts.items():
        objection: Rejection | None = None
        if isinstance(value, Series):
            objection = judge_series(name, value, at)
        elif name in SITE_RANGES and value is not None:
            objection = judge_number(name, value, SITE_RANGES[name], at)
        elif name == "links":
            value, objections = _believed_links(value, at)  # noqa: PLW2901
            rejections += objections
        if objection:
            rejections.append(objection)
        else:
            news += name not in cluster.facts
            cluster.facts[name] = value
    return rejections, news


def _believed_links(
    links: Iterable[Link], at: datetime
) -> tuple[tuple[Link, ...], list[Rejection]]:
    believed: list[Link] = []
    rejections: list[Rejection] = []
    for link in links:
        objections = [
            objection
            for name, allowed in LINK_RANGES.items()
            if (
                objection := judge_number(
                    name, getattr(link, name), allowed, at, f"links[{link.peer}]."
                )
            )
        ]
        rejections += objections
        if not objections:
            believed.append(link)
    return tuple(believed), rejections


def tell_ways(
    cluster: Cluster,
    node_id: str,
    measured: Iterable[Rtt],
    regions: Collection[str],
    now: Now,
) -> tuple[list[Rejection], int]:
    """Applies round-trip times measured from a node; what is not believed of them, and how many
    regions were not measured before."""
    rejections: list[Rejection] = []
    news = 0
    for rtt in measured:
        objection = judge_rtt(rtt, now.at)
        if objection is None and rtt.region not in regions:
            objection = Rejection(f"rtt[{rtt.region}]", rtt.region, "no such region", now.at)
        if objection:
            rejections.append(objection)
        else:
            news += cluster.ways.told(node_id, rtt, now.monotonic_s)
    return rejections, news


def believed(
    name: str, cluster: Cluster, reachable: bool, not_serving: str, now: Now
) -> Site | None:
    """The site as it has been told; None until all that a plan needs is known."""
    if not cluster.facts.keys() >= SITE_FACTS:
        return None
    return Site(
        cluster=name,
        rtt=cluster.ways.believed(now.monotonic_s),
        reachable=reachable,
        not_serving=not_serving,
        **cluster.facts,
    )
