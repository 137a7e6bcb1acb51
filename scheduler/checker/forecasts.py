"""The forecasts as a plan has to take them, by the rules of its snapshot."""

import math
from bisect import bisect_left
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
    """What costs at the rules' quantile, what is to be had at the opposite one."""
    q = snapshot.rules.forecast_quantile
    adder = snapshot.rules.cluster(site.cluster).price_adder_yuan_per_kwh
    price = _at(site.price_yuan_per_kwh, q)
    return replace(
        site,
        price_yuan_per_kwh=_plus(price, adder, snapshot) if adder else price,
        pue=_at(site.pue, q),
        green_supply_kw=_at(site.green_supply_kw, 1 - q),
    )


def _at(series: Series, q: float) -> Series:
    """The forecast at a quantile, interpolated between those it knows, its values being 0.5."""
    if not series.quantiles or q == 0.5:
        return series
    values = {0.5: series.values, **{one.q: one.values for one in series.quantiles}}
    known = sorted(values)
    nearest = min(max(q, known[0]), known[-1])
    right = bisect_left(known, nearest)
    if known[right] == nearest:
        return replace(series, values=values[nearest])
    low, high = known[right - 1], known[right]
    pairs = zip(values[low], values[high], strict=True)
    made = [(a * (high - nearest) + b * (nearest - low)) / (high - low) for a, b in pairs]
    return replace(series, values=tuple(made))


def _plus(price: Series, adder: float, snapshot: Snapshot) -> Series:
    if not price.values:
        return constant(WORST_PRICE_YUAN_PER_KWH + adder, snapshot.now_at)
    known = [v if math.isfinite(v) else WORST_PRICE_YUAN_PER_KWH for v in price.values]
    return replace(price, values=tuple(value + adder for value in known))
