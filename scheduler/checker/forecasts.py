"""The forecasts as a plan has to take them, by the rules of its snapshot."""

import math
from dataclasses import replace

from scheduler.checker.interruptions import WORST_PRICE_YUAN_PER_KWH
from scheduler.domain.fleet import Site
from scheduler.domain.series import Series, constant
from scheduler.planner.snapshot import Snapshot


def as_planned(snapshot: Snapshot) -> Snapshot:
    """The snapshot with every site's forecasts so."""
    sites = {name: _planned(site, snapshot) for name, site in snapshot.sites.items()}
    return replace(snapshot, sites=sites)


def _planned(site: Site, snapshot: Snapshot) -> Site:
    adder = snapshot.rules.cluster(site.cluster).price_adder_yuan_per_kwh
    price = site.price_yuan_per_kwh
    return replace(site, price_yuan_per_kwh=_plus(price, adder, snapshot) if adder else price)


def _plus(price: Series, adder: float, snapshot: Snapshot) -> Series:
    if not price.values:
        return constant(WORST_PRICE_YUAN_PER_KWH + adder, snapshot.now_at)
    known = [v if math.isfinite(v) else WORST_PRICE_YUAN_PER_KWH for v in price.values]
    return replace(price, values=tuple(value + adder for value in known))
