"""The scheduler's expiry of a lease is never before the agent's."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.dispatch.leases import Leases
from tests.fakes.clock import ManualClock


def test_a_grant_holds_for_its_time_and_a_margin() -> None:
    clock = ManualClock()
    leases = Leases(clock, 30.0)
    clock.pass_s(100)
    leases.grant("qingyang")
    clock.pass_s(30.0)
    assert leases.expires_in_s("qingyang") > 0
    clock.pass_s(2.0)
    assert leases.expires_in_s("qingyang") < 0


def test_after_a_restart_every_lease_may_have_been_granted_at_the_last_moment() -> None:
    leases = Leases(ManualClock(), 30.0)
    assert leases.expires_in_s("never-heard") > 30.0


def test_an_earlier_schedulers_leases_count_as_long_as_it_granted_and_renewed_them() -> None:
    clock = ManualClock()
    leases = Leases(clock, 30.0, earlier_ttl_s=600.0, others_act_s=300.0)
    assert leases.expires_in_s("never-heard") > 900.0
    # What we grant may be lost, and an agent keeps the longer of two leases.
    leases.grant("qingyang")
    assert leases.expires_in_s("qingyang") > 900.0
    clock.pass_s(915.0)
    assert leases.earlier_expire_in_s() < 0
    assert leases.expires_in_s("never-heard") < 0
    leases.grant("qingyang")
    assert 30.0 < leases.expires_in_s("qingyang") < 32.0


@given(
    sent_before_s=st.floats(0, 60),
    ttl_s=st.floats(1, 300),
    drift=st.floats(-0.009, 0.009),
)
def test_the_agent_stops_first_whatever_the_delay_and_the_drift(
    sent_before_s: float, ttl_s: float, drift: float
) -> None:
    clock = ManualClock()
    leases = Leases(clock, ttl_s)
    clock.pass_s(1000)
    # The agent counts from when it sent the message that is answered, on a clock that runs apart.
    agent_lets_go_in_s = (ttl_s - sent_before_s) * (1 + drift)
    leases.grant("qingyang")
    assert leases.expires_in_s("qingyang") > agent_lets_go_in_s
