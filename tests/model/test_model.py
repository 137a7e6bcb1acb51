"""Every state within small bounds keeps the promises; with a bug planted, some do not."""

from typing import Any

import pytest

from agents.lease import Lease, renewed
from agents.reconcile import Action, Stop, reconcile
from scheduler.dispatch.dispatcher import _gone
from scheduler.dispatch.leases import Leases
from scheduler.domain.job import Job, OnUnreachable
from scheduler.domain.reason import Reason
from tests.model.explorer import Bounds, explore
from tests.model.rules import Parts

WAIT = OnUnreachable.WAIT
PATH_MOST = 8


@pytest.mark.parametrize(
    "bounds",
    [
        Bounds(attempts=2, faults=0, wishes=0, drifts_s=1),
        Bounds(attempts=1, faults=1, wishes=0, drifts_s=0),
        Bounds(attempts=1, faults=0, wishes=1, drifts_s=0),
        pytest.param(
            Bounds(attempts=2, faults=0, wishes=0, drifts_s=0, on_unreachable=WAIT, forces=1),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["retried", "faults", "wishes", "forced"],
)
def test_every_state_keeps_the_promises(bounds: Bounds) -> None:
    found = explore(bounds)
    assert found.violation is None, "\n".join([found.violation, *found.path])
    assert found.states > 1000


def renewed_on_arrival(lease: Lease | None, *, sent_at_s: float, ttl_s: float) -> Lease:
    """Counts from the moment the answer came, which is 0 here."""
    return renewed(lease, sent_at_s=0.0, ttl_s=ttl_s)


def without_stops(*arguments: Any) -> list[Action]:
    """Forgets every stop."""
    return [action for action in reconcile(*arguments) if not isinstance(action, Stop)]


def forgetful(wanted: Any, seen: Any, lease: Any, confirmed: Any, ended: Any) -> list[Action]:
    """Drops an end as soon as nobody wants its attempt."""
    seen = list(seen)
    return reconcile(wanted, seen, lease, {one.attempt_id for one in seen}, ended)


def expired_at_once(leases: Leases, cluster: str) -> float:
    """Takes every silent cluster for dead."""
    return -1.0


def gone_before_it_came(job: Job, wished: bool, wished_later: bool) -> Reason | None:
    """Takes a view from before the attempt was named for proof that it is gone."""
    return _gone(job, wished, False)


@pytest.mark.parametrize(
    ("parts", "bounds", "told"),
    [
        (Parts(renewed=renewed_on_arrival), Bounds(faults=0, wishes=0, drifts_s=0), "alive"),
        (
            Parts(reconcile=without_stops),
            Bounds(attempts=1, faults=0, drifts_s=0),
            "not carried out",
        ),
        (Parts(expires_in_s=expired_at_once), Bounds(faults=0, wishes=0, drifts_s=0), "alive"),
        (Parts(gone=gone_before_it_came), Bounds(attempts=1, faults=0), "alive"),
        (Parts(reconcile=forgetful), Bounds(attempts=1, faults=0, drifts_s=0), "is forgotten"),
    ],
    ids=["renewed on arrival", "without stops", "expired at once", "gone too soon", "forgetful"],
)
def test_a_planted_bug_is_found(parts: Parts, bounds: Bounds, told: str) -> None:
    found = explore(bounds, parts)
    assert found.violation is not None
    assert told in found.violation
    assert 0 < len(found.path) <= PATH_MOST, "\n".join(found.path)


def test_clocks_that_drift_more_than_allowed_break_the_promise() -> None:
    """The bounds are sharp: the margin is what keeps it."""
    found = explore(Bounds(attempts=1, faults=0, wishes=0, drifts_s=2))
    assert found.violation is not None
    assert "alive" in found.violation
