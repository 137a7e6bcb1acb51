"""Power price: from a time-of-use table or a feed."""

from agents.collectors.base import Collector, Span
from agents.collectors.feed import Bounds, feed
from agents.collectors.known import Beyond, project
from agents.collectors.tariff import TariffTable
from agents.source_keys import Price
from scheduler.domain.series import Series

# What markets have settled at, and room; the scheduler believes no more.
BELIEVABLE = Bounds(-1, 10)


class FedPrice:
    """Price to the door in yuan/kWh, from a day-ahead file, a service or a meter's history.

    Beyond what is known, such as the day that is not published yet, a day is taken to be as the one
    before it.
    """

    def __init__(self, keys: Price) -> None:
        self._source = feed(keys, "yuan_per_kwh", BELIEVABLE)
        self.name = f"price ({self._source.source})"

    def read(self, span: Span) -> Series:
        return project(self._source.known(span.now_at), span, Beyond.SAME_HOUR)


def price(keys: Price, province: str) -> Collector[Series]:
    """The source that the configuration names."""
    if keys.table is None:
        return FedPrice(keys)
    assert keys.flat_yuan_per_kwh is not None, "a table has a flat price"
    return TariffTable(
        keys.table,
        province=keys.province or province,
        flat_yuan_per_kwh=keys.flat_yuan_per_kwh,
        time_zone=keys.time_zone,
        holidays=keys.holidays,
    )
