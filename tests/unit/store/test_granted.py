"""How long leases may be that were granted before: the longest counts until it is over."""

from scheduler.store import granted
from tests.fakes.jobs import opened


async def test_a_shorter_lease_holds_only_once_the_longer_ones_are_over(database_url: str) -> None:
    async with opened(database_url) as (store, _):
        assert await granted.begin(store.database, 30.0) == 30.0
        assert await granted.begin(store.database, 600.0) == 600.0
        # Shortened, and started once more before the long ones are over: they still count.
        assert await granted.begin(store.database, 30.0) == 600.0
        assert await granted.begin(store.database, 30.0) == 600.0
        await granted.settle(store.database, 30.0)
        assert await granted.begin(store.database, 30.0) == 30.0
