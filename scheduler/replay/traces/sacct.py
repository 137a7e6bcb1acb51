"""Jobs from what Slurm's ``sacct`` prints, as it is: ``--parsable2``, or the padded table.

Fields and forms after sacct(1) of Slurm 22.05. What a record says is taken so:

- submitted: ``Eligible`` where it is given and later than ``Submit`` (a dependency, ``--begin``).
- how long it ran: ``ElapsedRaw``, or ``Elapsed``. What a scheduler was told: ``Timelimit``, where
  there is one, else how long it ran.
- what it held: ``AllocTRES``, or ``ReqTRES`` where that is empty. Its nodes are the workers of the
  gang, if its accelerators can be shared out among them evenly; else each accelerator is one.
- the tenant is the ``Account``.

Steps are passed over; jobs that never started, or have not ended, are counted as skipped.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from scheduler.client.problems import Problem, shown
from scheduler.domain.job import AcceleratorOption, JobSpec, WorkerShape
from scheduler.replay.case import ReplayJob
from scheduler.replay.traces.trace import UNKNOWN_WORK, ReplayInputError, Row, Trace, in_order
from scheduler.replay.traces.trace import text_of as read_text

COMMAND = (
    "sacct --allusers --parsable2 --format=JobID,Submit,Eligible,Start,End,ElapsedRaw,Timelimit,"
    "AllocTRES,ReqTRES,Partition,Account,State"
)
_CUT = f"is cut off by its column; print it with `{COMMAND}`"
NEEDED = (("JobID",), ("Submit",), ("ElapsedRaw", "Elapsed"), ("AllocTRES", "ReqTRES"))
# Columns whose cut-off values would be wrong figures.
EXACT = ("JobID", "Submit", "Eligible", "Start", "End", "Elapsed", "ElapsedRaw", "Timelimit")
_NOT_ENDED = frozenset({"RUNNING", "SUSPENDED", "REQUEUED", "RESIZING", "PENDING"})
_NO_TIME = frozenset({"", "Unknown", "None", "INVALID"})
_NO_LIMIT = frozenset({"", "UNLIMITED", "Partition_Limit", "INVALID"})
_DURATION = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)(?:\.(\d+))?")
_TRES = re.compile(r"(?P<name>[^=,]+)=(?P<amount>\d+(?:\.\d+)?)(?P<unit>[KMGTP]?)")
# Slurm's units are powers of 1024; memory_gb counts 10^9 bytes. Without a unit it is MB.
_BYTES = {"K": 2**10, "": 2**20, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_THOUSANDS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
LEAST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SacctOptions:
    """What sacct does not say.

    Attributes:
        region: where the jobs come from; ``partitions`` may say otherwise, by partition.
        time_zone: of the times, which sacct prints without one.
        gres: the models that stand for a type of accelerator (the ``a100`` of ``gres/gpu:a100``),
            and how fast a job is on them; without an entry, a job runs on any at speed 1.
        max_delay_s: how long a job may wait for a better hour.
        interruptible: jobs may be stopped and go on later.
    """

    region: str
    time_zone: ZoneInfo
    partitions: dict[str, str] = field(default_factory=dict)
    gres: dict[str, tuple[AcceleratorOption, ...]] = field(default_factory=dict)
    max_delay_s: float = 0.0
    interruptible: bool = False


def looks_like(text: str) -> bool:
    """Whether a file begins as sacct's output does."""
    first = text.lstrip().splitlines()[0] if text.strip() else ""
    return "JobID" in re.split(r"[|\s]+", first)


def read(path: Path, options: SacctOptions) -> Trace:
    """The jobs of a file.

    Raises:
        ReplayInputError: with line, column, value and fix of every problem.
    """
    jobs, problems = list[ReplayJob](), list[Problem]()
    skipped, seen = Counter[str](), Counter[str]()
    for row in _rows(str(path), read_text(path)):
        name = row.text("JobID")
        if "." in name:
            continue  # a step of the job above
        why = _why_not(row)
        if why is not None:
            skipped[why] += 1
            continue
        seen[name] += 1
        # A requeued job has a record per run.
        job = _job(row, name if seen[name] == 1 else f"{name}#{seen[name]}", options)
        problems.extend(row.problems)
        jobs.append(job)
    if problems:
        raise ReplayInputError(problems)
    return Trace(in_order(jobs), dict(skipped))


def _rows(file: str, text: str) -> Iterator[Row]:
    lines = text.splitlines()
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        problem = Problem(file, 1, "", f"is empty; print it with `{COMMAND}`")
        raise ReplayInputError([problem])
    table = _padded(file, numbered) if "|" not in numbered[0][1] else _parsable(file, numbered)
    _, columns = next(table)
    lacking = [names for names in NEEDED if not any(name in columns for name in names)]
    if lacking:
        line = numbered[0][0]
        text = f"is missing; print it with `{COMMAND}`"
        raise ReplayInputError(Problem(file, line, " or ".join(names), text) for names in lacking)
    for number, cells in table:
        row = Row(file, number, dict(zip(columns, cells, strict=True)))
        for name in EXACT:
            if row.values.get(name, "").endswith("+"):
                row.object_to(name, f"{shown(row.values[name])} {_CUT}")
        yield row


def _parsable(file: str, lines: list[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The cells of ``--parsable2``, or of ``--parsable`` with its bar at the end."""
    ends = lines[0][1].rstrip().endswith("|")
    columns = lines[0][1].strip().removesuffix("|" if ends else "").split("|")
    yield lines[0][0], columns
    for number, line in lines[1:]:
        cells = line.removesuffix("|" if ends else "").split("|")
        more = len(cells) - len(columns)
        if more > 0 and "JobName" in columns:  # a name may have bars of its own
            at = columns.index("JobName")
            cells[at : at + more + 1] = ["|".join(cells[at : at + more + 1])]
        if len(cells) != len(columns):
            text = f"has {len(cells)} cells for {len(columns)} columns; print it with `{COMMAND}`"
            raise ReplayInputError([Problem(file, number, "", text)])
        yield number, cells


def _padded(file: str, lines: list[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The cells of the table, whose second line of dashes says where they stand."""
    if len(lines) < 2 or not re.fullmatch(r"[-\s]+", lines[1][1]):
        text = f"has no line of dashes below the header; print it with `{COMMAND}`"
        raise ReplayInputError([Problem(file, lines[0][0], "", text)])
    spans = [found.span() for found in re.finditer(r"-+", lines[1][1])]
    for number, line in (lines[0], *lines[2:]):
        yield number, [line[first:last].strip() for first, last in spans]


def _why_not(row: Row) -> str | None:
    """Why a record is no job to replay."""
    state = row.values.get("State", "").split(" ")[0].rstrip("+")
    start = row.values.get("Start", "").strip()
    started = "Start" not in row.values or start not in _NO_TIME
    if state == "PENDING" or not started:
        return "never started"
    if state in _NOT_ENDED or row.values.get("End", "").strip() == "Unknown":
        return "not ended"
    elapsed_s = _elapsed_s(row)
    if elapsed_s is not None and elapsed_s < LEAST_S:
        return "ran less than a second"
    return None


def _job(row: Row, name: str, options: SacctOptions) -> ReplayJob:
    """A record as a job; its problems are in the row."""
    actual_s = _elapsed_s(row)
    if actual_s is None:
        row.object_to("Elapsed", f"{shown(row.values.get('Elapsed', ''))} is no [days-]h:mm:ss")
    submitted_at = _time(row, "Submit", options.time_zone)
    if row.values.get("Eligible", "").strip() not in _NO_TIME:
        submitted_at = max(submitted_at, _time(row, "Eligible", options.time_zone))
    worker, workers, models = _shape(row, options)
    partition = row.values.get("Partition", "").strip()
    spec = JobSpec(
        name=name,
        tenant=row.text("Account", "default"),
        region=options.partitions.get(partition, options.region),
        work=UNKNOWN_WORK,
        expected_duration_s=_limit_s(row) or actual_s or LEAST_S,
        workers=workers,
        per_worker=worker,
        accelerators=models,
        max_delay_s=options.max_delay_s,
        interruptible=options.interruptible,
    )
    return ReplayJob(id=name, spec=spec, submitted_at=submitted_at, actual_s=actual_s or LEAST_S)


def _elapsed_s(row: Row) -> float | None:
    raw = row.values.get("ElapsedRaw", "").strip()
    return float(raw) if raw.isdecimal() else duration_s(row.values.get("Elapsed", ""))


def duration_s(text: str) -> float | None:
    """Seconds of ``[[days-]hours:]minutes:seconds[.fraction]``; None where it is something else."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        return None
    days, hours, minutes, seconds, fraction = found.groups()
    whole = (int(days or 0) * 24 + int(hours or 0)) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + (float(f"0.{fraction}") if fraction else 0.0)


def _limit_s(row: Row) -> float | None:
    value = row.values.get("Timelimit", "").strip()
    if value in _NO_LIMIT:
        return None
    limit_s = duration_s(value)
    if limit_s is None:
        row.object_to("Timelimit", f"{shown(value)} is no [days-]h:mm:ss, nor UNLIMITED")
    return limit_s


def _time(row: Row, column: str, zone: ZoneInfo) -> datetime:
    value = row.values.get(column, "").strip()
    try:
        if value.isdecimal():  # SLURM_TIME_FORMAT=%s
            return datetime.fromtimestamp(int(value), UTC)
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        fix = "print it without SLURM_TIME_FORMAT, as 2026-11-20T18:00:00"
        row.object_to(column, f"{shown(value)} is not a time; {fix}")
        return datetime.fromtimestamp(0, UTC)


def tres(text: str) -> dict[str, float]:
    """``cpu=8,mem=64G,gres/gpu:a100=2`` by name; ``mem`` in GB of 10^9 bytes.

    Raises:
        ValueError: an entry is not name=amount.
    """
    amounts = {}
    for entry in filter(None, text.strip().split(",")):
        found = _TRES.fullmatch(entry)
        if found is None:
            raise ValueError(f"{shown(entry)} is not name=amount")
        name, amount, unit = found["name"], float(found["amount"]), found["unit"]
        amounts[name] = amount * (_BYTES[unit] / 1e9 if name == "mem" else _THOUSANDS[unit])
    return amounts


def _shape(
    row: Row, options: SacctOptions
) -> tuple[WorkerShape, int, tuple[AcceleratorOption, ...]]:
    """Each worker, how many there are, and the models they run on."""
    column = next((c for c in ("AllocTRES", "ReqTRES") if row.values.get(c, "").strip()), "ReqTRES")
    text = row.values.get(column, "").strip()
    try:
        held = tres(text)
    except ValueError as error:
        row.object_to(column, f"{error}; print it with `{COMMAND}`")
        return WorkerShape(), 1, ()
    typed = {name.partition(":")[2]: n for name, n in held.items() if name.startswith("gres/gpu:")}
    gpus = int(held.get("gres/gpu", sum(typed.values())))
    nodes = max(1, int(held.get("node", 1)))
    workers = nodes if gpus % nodes == 0 else gpus
    if not held.get("cpu"):
        row.object_to(column, f"{shown(text)} has no cpu=; print it with `{COMMAND}`")
    shape = WorkerShape(
        gpus=gpus // workers,
        cpus=max(held.get("cpu", 1.0) / workers, LEAST_SHARE),
        memory_gb=max(held.get("mem", 0.0) / workers, LEAST_SHARE),
    )
    kind = max(typed, key=lambda name: typed[name], default="")
    return shape, workers, options.gres.get(kind, ()) if gpus else ()


# A share of a core or of memory that is still a share; figures of 0 are none to place by.
LEAST_SHARE = 0.001
