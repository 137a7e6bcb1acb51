"""What nodes tell of the energy of attempts: believed within bounds, added over nodes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.domain.energy import Energy
from scheduler.domain.job import AttemptState
from scheduler.domain.transitions import Event
from scheduler.state import energy
from scheduler.state.energy import KWH_MOST, Meters
from scheduler.store import retention
from scheduler.store.energy import Used
from scheduler.store.errors import StoreError
from tests.fakes.jobs import NOW, a_spec, assign, end, opened

AT = datetime(2026, 6, 18, tzinfo=UTC)


def test_nodes_of_an_attempt_are_added_and_others_are_not() -> None:
    meters = Meters()
    assert meters.of("j-1", ["n1"]) is None
    meters.report("n1", [("j-1", Energy(1.0, 0.25))], AT)
    meters.report("n2", [("j-1", Energy(2.0, 0.0))], AT)
    meters.report("liar", [("j-1", Energy(100.0, 0.0))], AT)
    assert meters.of("j-1", ["n1", "n1", "n2"]) == Energy(3.0, 0.25)


def test_an_account_never_shrinks() -> None:
    meters = Meters()
    for kwh in (1.0, 3.0, 2.0):
        assert meters.report("n1", [("j-1", Energy(kwh, 0.0))], AT) == []
    assert meters.of("j-1", ["n1"]) == Energy(3.0, 0.0)


@pytest.mark.parametrize(
    "told",
    [
        Energy(-1, 0),
        Energy(1, 2),
        Energy(1, -1),
        Energy(KWH_MOST + 1, 0),
        Energy(float("nan"), 0),
        Energy(float("inf"), 0),
        Energy(1, float("nan")),
    ],
)
def test_what_cannot_be_is_refused_alone(told: Energy) -> None:
    meters = Meters()
    [refused] = meters.report("n1", [("j-1", told), ("j-2", Energy(1, 1))], AT)
    assert refused.field == "energy[j-1]"
    assert meters.of("j-1", ["n1"]) is None
    assert meters.of("j-2", ["n1"]) == Energy(1, 1)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "REMEMBERED_ATTEMPTS", 3)
    meters = Meters()
    for name in ("a", "b", "c", "a", "d"):
        meters.report("n1", [(name, Energy(1, 0))], AT)
    assert [name for name in "abcd" if meters.of(name, ["n1"])] == ["a", "c", "d"]


async def test_what_was_told_outlives_the_scheduler(database_url: str) -> None:
    async with opened(database_url) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0])
        attempt = job.attempts[-1].id
        before = Meters()
        for kwh in (1.0, 2.5):
            before.report("n1", [(attempt, Energy(kwh, 0.5)), ("nobody-1", Energy(9.0, 0))], AT)
            await before.keep(store.energy)

        after = Meters()
        after.report("n2", [(attempt, Energy(0.25, 0.25))], AT)
        assert after.of(attempt, ["n1", "n2"]) == Energy(0.25, 0.25)
        await after.recall([job], store.energy)
        assert after.of(attempt, ["n1", "n2"]) == Energy(2.75, 0.75)

        # An agent that was killed tells what its file knows: less, for some seconds.
        restarted = Meters()
        restarted.report("n1", [(attempt, Energy(2.0, 0.5))], AT)
        await restarted.keep(store.energy)
        assert await store.energy.of([attempt, "nobody-1"]) == [(attempt, "n1", Energy(2.5, 0.5))]

        await end(book, job, Event.SUCCEED, AttemptState.SUCCEEDED)
        assert await retention.forget_jobs(store.database, NOW + timedelta(days=1)) == 1
        assert await store.energy.of([attempt]) == []


async def test_a_database_that_was_away_gets_it_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, book):
        job = await assign(book, (await book.submit(a_spec()))[0])
        attempt = job.attempts[-1].id
        meters = Meters()
        meters.report("n1", [(attempt, Energy(1.0, 0.0))], AT)
        put, store.energy.put = store.energy.put, _away  # type: ignore[method-assign]
        with pytest.raises(StoreError):
            await meters.keep(store.energy)
        store.energy.put = put  # type: ignore[method-assign]
        await meters.keep(store.energy)
        assert await store.energy.of([attempt]) == [(attempt, "n1", Energy(1.0, 0.0))]


async def _away(used: Sequence[Used]) -> None:
    raise StoreError("the disk is full")
