"""Everything is gone before the lease ends, whatever was answered when."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents import lease
from agents.lease import GRACE_S, SLACK_S, Lease, renewed

times_s = st.floats(0, 1e6)
ttls_s = st.floats(0.1, 3600)


@given(times_s, ttls_s)
def test_stopping_begins_early_enough_for_the_grace(sent_at_s: float, ttl_s: float) -> None:
    granted = renewed(None, sent_at_s=sent_at_s, ttl_s=ttl_s)
    assert granted.deadline_s == sent_at_s + ttl_s
    assert granted.stop_at_s + granted.grace_s(granted.stop_at_s) < granted.deadline_s
    assert granted.stop_at_s >= sent_at_s + ttl_s * 0.66
    assert granted.held(sent_at_s) and not granted.held(granted.stop_at_s)


def test_a_long_lease_leaves_the_full_grace() -> None:
    granted = renewed(None, sent_at_s=100.0, ttl_s=30.0)
    assert granted == Lease(130.0, 130.0 - GRACE_S - SLACK_S)
    assert granted.grace_s(granted.stop_at_s) == GRACE_S


@given(st.floats(0, 60))
def test_who_stops_late_leaves_less_grace(late_s: float) -> None:
    granted = renewed(None, sent_at_s=100.0, ttl_s=30.0)
    now_s = granted.stop_at_s + late_s
    assert now_s + granted.grace_s(now_s) <= max(now_s, granted.deadline_s)
    assert granted.grace_s(now_s) == 0 or now_s < granted.deadline_s


@given(st.lists(st.tuples(times_s, ttls_s), min_size=1))
def test_an_older_answer_never_shortens_what_was_granted(
    answers: list[tuple[float, float]],
) -> None:
    held: Lease | None = None
    for sent_at_s, ttl_s in answers:
        held = renewed(held, sent_at_s=sent_at_s, ttl_s=ttl_s)
    assert held is not None
    assert held.deadline_s == max(sent_at_s + ttl_s for sent_at_s, ttl_s in answers)


def test_the_next_daemon_finds_the_lease_of_this_boot(tmp_path: Path) -> None:
    file = tmp_path / "lease.json"
    assert lease.read(file) is None
    lease.write(Lease(20.0, 13.0), file)
    assert lease.read(file) == Lease(20.0, 13.0)
    file.write_text(file.read_text().replace('"boot": "', '"boot": "another-'))
    assert lease.read(file) is None
    file.write_text("{torn")
    torn = lease.read(file)
    assert torn is not None and not torn.held(lease.lease_clock_s())
