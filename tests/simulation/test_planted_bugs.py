"""The checkers, checked: with a bug planted in the product, they object within a few seeds."""

from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import pytest

import agents.attempts
import agents.lease
from agents.attempts import Attempts
from agents.lease import Lease, renewed
from agents.reconcile import Action, Stop, reconcile
from scheduler.dispatch.leases import Leases
from scheduler.domain.transitions import Step
from scheduler.store.errors import StaleVersionError
from scheduler.store.jobs import StepRecord
from tests.simulation import faults
from tests.simulation.disk import Disk
from tests.simulation.world import simulate
from westward.v1 import node_pb2

SEEDS = 300
confirmed = Attempts._confirm


def renewed_on_arrival(lease: Lease | None, *, sent_at_s: float, ttl_s: float) -> Lease:
    """Counts from the moment the answer came instead of the moment the question was sent."""
    return renewed(lease, sent_at_s=agents.lease.lease_clock_s(), ttl_s=ttl_s)


def without_stops(*arguments: Any) -> list[Action]:
    """Forgets every stop."""
    return [action for action in reconcile(*arguments) if not isinstance(action, Stop)]


def saved_twice(disk: Disk, records: Sequence[StepRecord]) -> list[Step | StaleVersionError]:
    """Applies a finish again, as if the answer to the first had been lost, whatever the version."""
    for record in records:
        disk.commit(record.step)
        if record.step.job.state.final:
            disk.commit(record.step)
    return [record.step for record in records]


def confirmed_as_heard(attempts: Attempts, session: Any, desired: node_pb2.DesiredState) -> None:
    """Takes an end that has arrived for one that is stored."""
    desired.stored_seq = desired.lease_answers_seq
    confirmed(attempts, session, desired)


def expired_at_once(leases: Leases, cluster: str) -> float:
    """Takes every silent cluster for dead."""
    return -1.0


def first_objection(owner: Any, name: str, bug: Callable[..., Any]) -> str | None:
    """What the checkers say first, over a bounded number of seeds; of faults, those that show it
    soonest come most often."""
    kinds = faults.KINDS if bug is not renewed_on_arrival else (faults.lopsided, faults.cut)
    with patch.object(owner, name, bug), patch.object(faults, "KINDS", kinds):
        for seed in range(SEEDS):
            if violations := simulate(seed).violations:
                return f"seed {seed}: {violations[0]}"
    return None


@pytest.mark.parametrize(
    ("owner", "name", "bug", "told"),
    [
        (agents.lease, "renewed", renewed_on_arrival, "alive"),
        (agents.attempts, "reconcile", without_stops, "still CANCELLING"),
        (Disk, "save", saved_twice, "out of"),
        (Leases, "expires_in_s", expired_at_once, "alive"),
        (Attempts, "_confirm", confirmed_as_heard, "its end is not stored"),
    ],
)
def test_a_planted_bug_is_caught(owner: Any, name: str, bug: Callable[..., Any], told: str) -> None:
    objection = first_objection(owner, name, bug)
    assert objection is not None, f"{SEEDS} seeds passed with {bug.__name__}"
    assert told in objection
