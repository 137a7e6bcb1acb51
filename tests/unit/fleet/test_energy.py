"""What nodes tell of the energy of attempts: believed within bounds, added over nodes."""

from datetime import UTC, datetime

import pytest

from scheduler.state import energy
from scheduler.state.energy import KWH_MOST, Energy, Meters

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
