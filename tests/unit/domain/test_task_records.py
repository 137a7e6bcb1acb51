"""The lines about an array's tasks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.tasks import TaskEnd, TaskRecord, encode, parse

OFFSETS = st.tuples(st.integers(0, 10**15), st.integers(0, 10**15))
ENDS = st.builds(TaskEnd, exit_code=st.integers(-64, 255), stdout=OFFSETS, stderr=OFFSETS)
RECORDS = st.builds(
    TaskRecord,
    index=st.integers(0, 99_999),
    number=st.integers(1, 99),
    at_s=st.integers(0, 4 * 10**12).map(lambda ms: ms / 1000),
    end=st.none() | ENDS,
)


@given(st.lists(RECORDS, max_size=5))
def test_what_is_written_is_read(records: list[TaskRecord]) -> None:
    assert list(parse(b"".join(map(encode, records)))) == records


def test_the_lines_are_as_documented() -> None:
    begun = TaskRecord(10017, 2, 1790000000.25)
    ended = TaskRecord(10017, 2, 1790000001.5, TaskEnd(-9, (0, 12), (3, 3)))
    assert encode(begun) == b"S 10017 2 1790000000.250\n"
    assert encode(ended) == b"E 10017 2 -9 1790000001.500 0 12 3 3\n"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[westward: only the first 16 MiB are kept]",
        b"S 1 1",
        b"E 1 1 0 1790000000.000 0 1 2",
        b"E 1 1 0 1790000000.000 0 1 2 -3",
        b"S one 1 1790000000.000",
        b"\xff\xfe",
    ],
)
def test_what_is_no_record_is_passed_over(line: bytes) -> None:
    good = TaskRecord(4, 1, 1790000000.0)
    assert list(parse(line + b"\n" + encode(good) + line)) == [good]
