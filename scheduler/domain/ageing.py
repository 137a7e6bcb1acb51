"""What is left of a site's series when their sources have told nothing new for too long.

A promise of green energy must not rest on a forecast that nobody renews: green supply that is too
old counts as none, but for the values that were measured. What an operator pays and what the grid
emits does not vanish with its source: prices, PUE and carbon stay as they were last told, and are
marked.
"""

from dataclasses import replace
from datetime import datetime

from scheduler.domain.fleet import Site
from scheduler.domain.series import Quantile, Series


def doubt_of(series: Series, now: datetime, real_now: datetime, trusted_s: float) -> str:
    """Why a series counts as old, for people; empty while it does not. The same words for as long
    as it stays so.

    Args:
        now: in the series' own clock.
        real_now: in the clock of ``read_at``.
    """
    # Not so where an agent does not say: a typical day of its would count as no green at all.
    ages = series.standing is False
    if ages and series.read_at is not None:
        if (real_now - series.read_at).total_seconds() > trusted_s:
            told = f"its source has told nothing new for over {trusted_s / 3600:g} h"
            return f"{told} ({series.trouble})" if series.trouble else told
    elif ages and series.trouble:
        return series.trouble
    end_s = series.start_at.timestamp() + series.step_s * len(series.values)
    if len(series.values) > 1 and now.timestamp() >= end_s:
        return f"it has ended ({series.trouble})" if series.trouble else "it has ended"
    return ""


def aged(site: Site, now: datetime, real_now: datetime, trusted_s: float) -> Site:
    """The site as plans may count on it."""

    def marked(series: Series) -> Series:
        doubt = doubt_of(series, now, real_now, trusted_s)
        return replace(series, doubt=doubt) if doubt else series

    carbon = site.grid_carbon_g_per_kwh
    return replace(
        site,
        price_yuan_per_kwh=marked(site.price_yuan_per_kwh),
        green_supply_kw=_measured_alone(marked(site.green_supply_kw)),
        pue=marked(site.pue),
        grid_carbon_g_per_kwh=marked(carbon) if isinstance(carbon, Series) else carbon,
    )


def _measured_alone(supply: Series) -> Series:
    if not supply.doubt:
        return supply
    none = (0.0,) * max(1, len(supply.values) - supply.measured)

    def cut(values: tuple[float, ...]) -> tuple[float, ...]:
        return values[: supply.measured] + none

    return replace(
        supply,
        values=cut(supply.values),
        quantiles=tuple(Quantile(one.q, cut(one.values)) for one in supply.quantiles),
        doubt=f"nothing of it is promised: {supply.doubt}",
    )
