"""Arbitrary well-formed specs, for property tests."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from scheduler.domain.job import (
    AcceleratorOption,
    ArraySpec,
    Command,
    DataInput,
    JobSpec,
    RayEntrypoint,
    WorkerShape,
)

TEXT = st.text(max_size=20)
POSITIVE = st.floats(min_value=1e-6, max_value=1e9, allow_nan=False)
NOT_NEGATIVE = st.just(0.0) | POSITIVE
# To the microsecond, as far as the wire and the database carry times.
TIMES = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001
    max_value=datetime(9999, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def specs() -> st.SearchStrategy[JobSpec]:
    """Specs that keep the types' promises, whether or not they make sense."""
    return st.builds(
        JobSpec,
        name=TEXT,
        tenant=TEXT,
        region=TEXT,
        work=st.builds(Command, st.lists(TEXT, max_size=4).map(tuple))
        | st.builds(RayEntrypoint, TEXT),
        expected_duration_s=NOT_NEGATIVE,
        env=st.dictionaries(TEXT, TEXT, max_size=3),
        working_dir_sha256=st.none() | st.just("a" * 64),
        workers=st.integers(1, 4096),
        per_worker=st.builds(WorkerShape, st.integers(0, 64), POSITIVE, POSITIVE),
        accelerators=st.lists(st.builds(AcceleratorOption, TEXT, POSITIVE), max_size=3).map(tuple),
        earliest_start_at=st.none() | TIMES,
        deadline_at=st.none() | TIMES,
        max_delay_s=NOT_NEGATIVE,
        interruptible=st.booleans(),
        max_rtt_ms=st.none() | NOT_NEGATIVE,
        min_green_share=st.none() | st.floats(0, 1),
        data=st.lists(st.builds(DataInput, NOT_NEGATIVE, TEXT), max_size=3).map(tuple),
        must_be_in=st.lists(TEXT, max_size=3).map(tuple),
        must_not_be_in=st.lists(TEXT, max_size=3).map(tuple),
        priority=st.integers(-1000, 1000),
        max_attempts=st.integers(1, 100),
        array=st.none()
        | st.builds(
            ArraySpec,
            st.integers(0, 2**32 - 1),
            st.integers(1, 2**32 - 1),
            st.integers(1, 100),
            st.integers(0, 2**32 - 1),
        ),
    )
