"""What an explanation says of figures that are old."""

from dataclasses import replace

from policies.scene import SiteView
from scheduler.domain.reason import Reason
from scheduler.domain.series import Series


def with_doubts(reason: Reason, view: SiteView) -> Reason:
    """The reason, and which of the figures behind it the scheduler takes for old."""
    site = view.site
    carbon = site.grid_carbon_g_per_kwh
    series = {
        "price": site.price_yuan_per_kwh,
        "green supply": site.green_supply_kw,
        "PUE": site.pue,
        **({"grid carbon": carbon} if isinstance(carbon, Series) else {}),
    }
    told = [f"{name} ({one.doubt})" for name, one in series.items() if one.doubt]
    if not told:
        return reason
    text = f"{reason.message} Old figures of {site.cluster}: {', '.join(told)}."
    return replace(reason, message=text)
