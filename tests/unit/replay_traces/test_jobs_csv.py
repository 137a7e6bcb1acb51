"""Jobs from a CSV file: every column, every default, and how what is wrong is told."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.domain.job import AcceleratorOption, DataInput, WorkerShape
from scheduler.replay.traces import jobs_csv
from scheduler.replay.traces.trace import ReplayInputError, Trace

ZERO_AT = datetime(2026, 3, 1, tzinfo=UTC)
ALL = """\
id,submitted_at,duration_s,expected_duration_s,gpus,workers,cpus,memory_gb,accelerators,region,\
tenant,max_rtt_ms,min_green_share,max_delay_s,deadline_at,interruptible,priority,data
b,2026-03-01T20:00:00+08:00,7200,9000,8,2,64,512,A800:1.0;910B:0.7,shanghai,vision,20,0.5,3600,\
2026-03-03T00:00:00Z,yes,10,300@shanghai;20.5 @ beijing
a,90.5,60,,,,,,,beijing,,,,,172800,,,
"""


def read(folder: Path, text: str) -> Trace:
    path = folder / "jobs.csv"
    path.write_text(text, encoding="utf-8")
    return jobs_csv.read(path, zero_at=ZERO_AT)


def test_every_column(tmp_path: Path) -> None:
    small, big = read(tmp_path, ALL).jobs
    assert big.submitted_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (big.actual_s, big.spec.expected_duration_s) == (7200.0, 9000.0)
    assert big.spec.per_worker == WorkerShape(8, 64.0, 512.0)
    assert big.spec.accelerators == (
        AcceleratorOption("A800", 1.0),
        AcceleratorOption("910B", 0.7),
    )
    assert (big.spec.workers, big.spec.region, big.spec.tenant) == (2, "shanghai", "vision")
    assert (big.spec.max_rtt_ms, big.spec.min_green_share) == (20.0, 0.5)
    assert (big.spec.max_delay_s, big.spec.priority) == (3600.0, 10)
    assert big.spec.interruptible
    assert big.spec.deadline_at == datetime(2026, 3, 3, tzinfo=UTC)
    assert big.spec.data == (DataInput(300.0, "shanghai"), DataInput(20.5, "beijing"))
    # Whatever is left out.
    assert small.submitted_at == ZERO_AT + timedelta(seconds=90.5)
    assert small.spec.expected_duration_s == 60.0
    assert small.spec.per_worker == WorkerShape(0, 1.0, 1.0)
    assert (small.spec.tenant, small.spec.priority) == ("default", 0)
    assert small.spec.deadline_at == ZERO_AT + timedelta(days=2)
    assert (small.spec.max_rtt_ms, small.spec.min_green_share) == (None, None)
    assert not small.spec.interruptible


def test_few_columns_and_a_packed_file(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv.gz"
    path.write_bytes(gzip.compress(b"region,id,duration_s,submitted_at\nbeijing,a,60,0\n"))
    (job,) = jobs_csv.read(path, zero_at=ZERO_AT).jobs
    assert (job.id, job.submitted_at) == ("a", ZERO_AT)


def test_a_deadline_that_cannot_be_kept_is_the_replays_to_count(tmp_path: Path) -> None:
    text = "id,submitted_at,duration_s,region,deadline_at\na,0,7200,beijing,60\n"
    (job,) = read(tmp_path, text).jobs
    assert job.spec.deadline_at == ZERO_AT + timedelta(seconds=60)


HEAD = "id,submitted_at,duration_s,region"


@pytest.mark.parametrize(
    ("text", "line", "column", "told"),
    [
        ("", 1, "id", "is missing; add the column id"),
        (f"{HEAD},gpu\n", 1, "gpu", "unknown column; drop it, or rename it: did you mean 'gpus'?"),
        (f"{HEAD},region\n", 1, "region", "is there twice; drop one"),
        (f"{HEAD}\na,0,60\n", 2, "region", "is empty; every row needs region"),
        (f"{HEAD}\na,0,60,x,y\n", 2, "", "has 5 cells for 4 columns"),
        (f"{HEAD}\na,0,ten,x\n", 2, "duration_s", "'ten' is not a number; write e.g. 3600"),
        (f"{HEAD}\na,0,nan,x\n", 2, "duration_s", "'nan' is not a number"),
        (f"{HEAD}\na,0,0,x\n", 2, "duration_s", "0 is not above 0; drop jobs that never ran"),
        (f"{HEAD}\na,noon,60,x\n", 2, "submitted_at", "'noon' is not a time; write 2026"),
        (
            f"{HEAD}\na,2026-03-01T08:00,60,x\n",
            2,
            "submitted_at",
            "'2026-03-01T08:00' has no time zone; write 2026-03-01T08:00+08:00, or Z",
        ),
        (f"{HEAD}\na,0,60,x\nb,0,60,x\na,1,60,x\n", 4, "id", "'a' is also on line 2; rename it"),
        (f"{HEAD},workers\na,0,60,x,1.5\n", 2, "workers", "1.5 is not whole; write e.g. 2"),
        (f"{HEAD},workers\na,0,60,x,-1\n", 2, "workers", "-1"),
        (f"{HEAD},gpus\na,0,60,x,4000\n", 2, "gpus", "4000"),
        (f"{HEAD},interruptible\na,0,60,x,maybe\n", 2, "interruptible", "write true or false"),
        (f"{HEAD},min_green_share\na,0,60,x,80\n", 2, "min_green_share", "write 0.8 for 80 %"),
        (f"{HEAD},accelerators\na,0,60,x,A800:fast\n", 2, "accelerators", "is not model:speed"),
        (f"{HEAD},accelerators\na,0,60,x,A;A\n", 2, "accelerators", "'A' is named twice"),
        (f"{HEAD},data\na,0,60,x,300\n", 2, "data", "'300' is not GB@place; write e.g. 300@"),
        (f'{HEAD}\na,0,"60\n', 2, "", "is not CSV: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, text: str, line: int, column: str, told: str
) -> None:
    with pytest.raises(ReplayInputError) as caught:
        read(tmp_path, text)
    first = caught.value.problems[0]
    assert (first.line, first.field) == (line, column)
    assert told in first.message


def test_every_fault_is_told_up_to_twenty(tmp_path: Path) -> None:
    rows = "".join(f"{i},0,x,beijing\n" for i in range(30))
    with pytest.raises(ReplayInputError) as caught:
        read(tmp_path, f"{HEAD}\n{rows}")
    assert len(caught.value.problems) == 21
    assert "and 10 more like these" in str(caught.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ReplayInputError, match="cannot be read"):
        jobs_csv.read(tmp_path / "none.csv", zero_at=ZERO_AT)
    (tmp_path / "bad.csv").write_bytes(b"id,\xff\n")
    with pytest.raises(ReplayInputError, match="is not UTF-8"):
        jobs_csv.read(tmp_path / "bad.csv", zero_at=ZERO_AT)
    (tmp_path / "bad.csv.gz").write_bytes(b"id")
    with pytest.raises(ReplayInputError, match="cannot be read"):
        jobs_csv.read(tmp_path / "bad.csv.gz", zero_at=ZERO_AT)
