"""Whose time comes next."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.planning.calendar import Calendar

PUTS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.none() | st.floats(-3, 3) | st.just(-float("inf")))
)


@given(PUTS, st.floats(-3, 3))
def test_it_answers_as_a_sorted_list_would(puts: list[tuple[str, float | None]], at: float) -> None:
    calendar, plain = Calendar[float](), dict[str, float]()
    for job_id, when in puts:
        calendar.put(job_id, when)
        plain.pop(job_id, None)
        if when is not None:
            plain[job_id] = when
    assert calendar.first() == min(plain.values(), default=None)
    assert calendar.after(at) == min((t for t in plain.values() if t > at), default=None)
    assert set(calendar.until(at)) == {i for i, t in plain.items() if t <= at}
    assert [*calendar] == sorted(plain, key=lambda i: (plain[i], i))
