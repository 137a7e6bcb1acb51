"""Slurm's records, as sacct prints them: what becomes a job, what does not, and what is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.job import AcceleratorOption
from scheduler.replay.traces import sacct
from scheduler.replay.traces.sacct import SacctOptions, duration_s, tres
from scheduler.replay.traces.trace import ReplayInputError, Trace

SAMPLES = Path(__file__).parent / "samples"
SHANGHAI = ZoneInfo("Asia/Shanghai")
A800 = AcceleratorOption("A800", 1.0)
OPTIONS = SacctOptions(
    region="shanghai",
    time_zone=SHANGHAI,
    partitions={"train": "beijing"},
    gres={"a100": (A800,)},
    max_delay_s=3600.0,
)


def test_parsable_output_as_it_is() -> None:
    trace = sacct.read(SAMPLES / "sacct-parsable2.txt", OPTIONS)
    assert [job.id for job in trace.jobs] == ["4101", "4106", "4102_7"]
    assert trace.skipped == {"never started": 2, "not ended": 1}
    big, cpus, task = trace.jobs
    assert big.submitted_at == datetime(2026, 3, 2, 1, 15, tzinfo=UTC)
    assert big.actual_s == 97324.0
    assert big.spec.expected_duration_s == 2 * 86400.0
    assert (big.spec.workers, big.spec.per_worker.gpus) == (2, 8)
    assert big.spec.per_worker.cpus == 64.0
    assert big.spec.per_worker.memory_gb == pytest.approx(1024 * 2**30 / 1e9 / 2)
    assert big.spec.accelerators == (A800,)
    assert (big.spec.region, big.spec.tenant) == ("beijing", "vision")
    assert big.spec.max_delay_s == 3600.0
    # An array's task held by a dependency, in a job whose name has bars.
    assert task.submitted_at == datetime(2026, 3, 2, 4, 30, tzinfo=UTC)
    assert (task.spec.region, task.spec.accelerators) == ("shanghai", ())
    assert task.spec.per_worker.memory_gb == pytest.approx(60000 * 2**20 / 1e9)
    # Cancelled after it had started: it ran. No limit: its length is what is told.
    assert (cpus.actual_s, cpus.spec.expected_duration_s) == (150.0, 150.0)
    assert (cpus.spec.workers, cpus.spec.gpus) == (4, 0)


def test_the_padded_table() -> None:
    trace = sacct.read(SAMPLES / "sacct-padded.txt", OPTIONS)
    task, cpus = sorted(trace.jobs, key=lambda job: job.id)
    assert (task.id, task.actual_s, task.spec.expected_duration_s) == ("4102_7", 900.0, 3600.0)
    assert task.submitted_at == datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
    assert task.spec.per_worker.gpus == 1
    assert (cpus.id, cpus.spec.tenant) == ("4106", "chem")
    assert trace.skipped == {"never started": 1}


def read(folder: Path, text: str) -> Trace:
    path = folder / "sacct.txt"
    path.write_text(text, encoding="utf-8")
    return sacct.read(path, OPTIONS)


HEAD = "JobID|Submit|Start|End|Elapsed|Timelimit|AllocTRES|Partition|Account|State\n"
GOOD = "7|2026-03-02T10:00:00|2026-03-02T10:00:01|2026-03-02T10:10:01|00:10:00|1:00:00|"
REST = "|batch|lab|COMPLETED\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "told"),
    [
        ("", 1, "", "is empty; print it with `sacct"),
        ("JobID|State\n7|COMPLETED\n", 1, "Submit", "is missing; print it with"),
        (HEAD + GOOD + "billing=8+" + REST, 2, "AllocTRES", "'billing=8+' is not name=amount"),
        (HEAD + GOOD + "mem=4G,node=1" + REST, 2, "AllocTRES", "has no cpu="),
        (HEAD + "7+" + GOOD[1:] + "cpu=1" + REST, 2, "JobID", "'7+' is cut off by its column"),
        (HEAD + "7|x" + GOOD[21:] + "cpu=1" + REST, 2, "Submit", "'x' is not a time"),
        (HEAD + "7|8\n", 2, "", "has 2 cells for 10 columns"),
        (
            HEAD + GOOD.replace("00:10:00", "ten") + "cpu=1" + REST,
            2,
            "Elapsed",
            "'ten' is no [days-]h:mm:ss",
        ),
        (
            HEAD + GOOD.replace("|1:00:00", "|soon") + "cpu=1" + REST,
            2,
            "Timelimit",
            "'soon' is no [days-]h:mm:ss, nor UNLIMITED",
        ),
        ("JobID  State\n7      COMPLETED\n", 1, "", "has no line of dashes"),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, text: str, line: int, column: str, told: str
) -> None:
    with pytest.raises(ReplayInputError) as caught:
        read(tmp_path, text)
    first = caught.value.problems[0]
    assert (first.line, first.field) == (line, column)
    assert told in first.message


def test_a_requeued_job_is_a_job_per_run(tmp_path: Path) -> None:
    trace = read(tmp_path, HEAD + (GOOD + "cpu=1" + REST) * 2)
    assert [job.id for job in trace.jobs] == ["7", "7#2"]


def test_accelerators_that_nodes_cannot_share_evenly_are_a_worker_each(tmp_path: Path) -> None:
    (job,) = read(tmp_path, HEAD + GOOD + "cpu=6,gres/gpu=3,mem=6G,node=2" + REST).jobs
    assert (job.spec.workers, job.spec.per_worker.gpus) == (3, 1)
    assert job.spec.per_worker.cpus == 2.0


def test_types_are_added_up_where_there_is_no_sum(tmp_path: Path) -> None:
    row = "cpu=8,gres/gpu:a100=3,gres/gpu:v100=1,node=1"
    (job,) = read(tmp_path, HEAD + GOOD + row + REST).jobs
    assert (job.spec.gpus, job.spec.accelerators) == (4, (A800,))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-02:03:04", 93784.0),
        ("02:03:04", 7384.0),
        ("03:04", 184.0),
        ("00:00:01.500", 1.5),
        ("4", None),
        ("", None),
        ("UNLIMITED", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


def test_tres_in_units() -> None:
    held = tres("billing=1K,cpu=8,mem=1.5G,gres/gpu:a100=2")
    assert held.pop("mem") == pytest.approx(1.610612736)
    assert held == {"billing": 1000.0, "cpu": 8.0, "gres/gpu:a100": 2.0}


@st.composite
def records(draw: st.DrawFn) -> dict[str, str]:
    """A record of a job that has ended, and what it says in plain figures."""
    submitted = datetime(2026, 1, 1) + timedelta(seconds=draw(st.integers(0, 10**7)))  # noqa: DTZ001
    started = submitted + timedelta(seconds=draw(st.integers(0, 10**6)))
    elapsed = draw(st.integers(1, 30 * 86400))
    nodes, per_node = draw(st.integers(1, 32)), draw(st.integers(0, 8))
    cpus, mem = draw(st.integers(1, 64)) * nodes, draw(st.integers(1, 10**6))
    limit = draw(st.none() | st.integers(1, 60 * 86400))
    amounts = {"billing": cpus, "cpu": cpus, "mem": f"{mem}M", "node": nodes}
    if per_node:
        amounts["gres/gpu"] = nodes * per_node
    order = draw(st.permutations(list(amounts)))
    return {
        "JobID": f"{draw(st.integers(1, 10**7))}{draw(st.sampled_from(['', '_3', '+0']))}",
        "Submit": submitted.isoformat(),
        "Start": started.isoformat(),
        "End": (started + timedelta(seconds=elapsed)).isoformat(),
        "Elapsed": clock(elapsed),
        "Timelimit": "UNLIMITED" if limit is None else clock(limit),
        "AllocTRES": ",".join(f"{name}={amounts[name]}" for name in order),
        "Account": draw(st.sampled_from(["lab", "vision", "a b"])),
        "State": draw(st.sampled_from(["COMPLETED", "FAILED", "TIMEOUT", "CANCELLED by 7"])),
    }


def clock(seconds: int) -> str:
    """As sacct prints a duration."""
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}-{text}" if days else text


def parsable(rows: list[dict[str, str]]) -> str:
    return "\n".join("|".join(row) for row in [list(rows[0]), *(list(r.values()) for r in rows)])


def padded(rows: list[dict[str, str]]) -> str:
    """As sacct pads: identifiers to the left, the rest to the right, a blank behind each."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}

    def line(cells: dict[str, str]) -> str:
        return "".join(
            (cells[n].ljust(w) if n == "JobID" else cells[n].rjust(w)) + " "
            for n, w in widths.items()
        )

    dashes = "".join("-" * width + " " for width in widths.values())
    return "\n".join([line({name: name for name in widths}), dashes, *map(line, rows)])


@given(st.lists(records(), min_size=1, max_size=5, unique_by=lambda r: r["JobID"]))
def test_both_forms_give_the_jobs_that_were_recorded(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("sacct")
    trace = read(folder, parsable(rows) + "\n")
    assert read(folder, padded(rows) + "\n") == trace
    by_id = {job.id: job for job in trace.jobs}
    assert by_id.keys() == {row["JobID"] for row in rows}
    for row in rows:
        job, held = by_id[row["JobID"]], tres(row["AllocTRES"])
        ran = datetime.fromisoformat(row["End"]) - datetime.fromisoformat(row["Start"])
        assert job.actual_s == ran.total_seconds()
        submitted = datetime.fromisoformat(row["Submit"]).replace(tzinfo=SHANGHAI)
        assert job.submitted_at == submitted
        assert job.spec.gpus == held.get("gres/gpu", 0)
        assert job.spec.workers == held["node"]
        assert job.spec.workers * job.spec.per_worker.cpus == pytest.approx(held["cpu"])
        assert job.spec.workers * job.spec.per_worker.memory_gb == pytest.approx(
            held["mem"], abs=0.001 * job.spec.workers
        )
        assert job.spec.tenant == row["Account"]
        if row["Timelimit"] == "UNLIMITED":
            assert job.spec.expected_duration_s == job.actual_s


@given(st.text(alphabet="|JobIDSubmit -_+.0123456789:=,T\n", max_size=300))
def test_anything_else_is_refused_or_read_but_never_breaks(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("sacct")
    for head in ("", HEAD):
        try:
            read(folder, head + text)
        except ReplayInputError as error:
            assert error.problems
