"""Jobs from a CSV file with documented columns: see ``docs/replay-data.md``."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from scheduler.client.problems import Problem, did_you_mean, shown
from scheduler.domain.job import DataInput, JobSpec, WorkerShape
from scheduler.domain.validation import violations
from scheduler.replay.case import ReplayJob
from scheduler.replay.traces.trace import (
    UNKNOWN_WORK,
    ReplayInputError,
    Row,
    Trace,
    accelerators_of,
    in_order,
    text_of,
)

REQUIRED = ("id", "submitted_at", "duration_s", "region")
OPTIONAL = (
    "expected_duration_s",
    "gpus",
    "workers",
    "cpus",
    "memory_gb",
    "accelerators",
    "tenant",
    "max_rtt_ms",
    "min_green_share",
    "max_delay_s",
    "deadline_at",
    "interruptible",
    "priority",
    "data",
)
COLUMNS = REQUIRED + OPTIONAL
T = TypeVar("T")
_DATA = re.compile(r"(?P<gb>\d+(\.\d+)?)\s*@\s*(?P<place>\S.*)")


def read(path: Path, *, zero_at: datetime) -> Trace:
    """The jobs of a file.

    Args:
        zero_at: what a time that is given in seconds counts from.

    Raises:
        ReplayInputError: with line, column, value and fix of every problem.
    """
    rows, problems, jobs = list(_rows(path)), [], []
    first_line: dict[str, int] = {}
    for row in rows:
        job = _job(row, zero_at)
        if job.id in first_line:
            row.object_to("id", f"{shown(job.id)} is also on line {first_line[job.id]}; rename it")
        first_line.setdefault(job.id, row.line)
        problems.extend(row.problems)
        jobs.append(job)
    if problems:
        raise ReplayInputError(problems)
    return Trace(in_order(jobs))


def _rows(path: Path) -> Iterator[Row]:
    reader = csv.DictReader(
        io.StringIO(text_of(path), newline=""), restkey="", restval="", strict=True
    )
    file, columns = str(path), [name.strip() for name in reader.fieldnames or ()]
    problems = [
        Problem(
            file, 1, name, f"unknown column; drop it, or rename it: {did_you_mean(name, COLUMNS)}"
        )
        for name in columns
        if name not in COLUMNS
    ]
    problems += [
        Problem(file, 1, name, f"is missing; add the column {name}")
        for name in REQUIRED
        if name not in columns
    ]
    problems += [
        Problem(file, 1, name, "is there twice; drop one")
        for name in sorted({name for name in columns if columns.count(name) > 1})
    ]
    if problems:
        raise ReplayInputError(problems)
    reader.fieldnames = columns
    try:
        for values in reader:
            row = Row(file, reader.line_num, values)
            if "" in values:  # more cells than columns
                cells = len(columns) + len(values.pop(""))
                text = f"has {cells} cells for {len(columns)} columns; quote cells with a comma"
                raise ReplayInputError([Problem(file, row.line, "", text)])
            yield row
    except csv.Error as error:
        text = f"is not CSV: {error}; save it as comma-separated UTF-8"
        raise ReplayInputError([Problem(file, reader.reader.line_num, "", text)]) from error


def _job(row: Row, zero_at: datetime) -> ReplayJob:
    """A row as a job; its problems are in the row."""
    name = row.text("id")
    duration_s = row.number("duration_s")
    row.text("submitted_at")
    submitted_at = row.moment("submitted_at", zero_at) or zero_at
    if duration_s <= 0 and not any(p.field == "duration_s" for p in row.problems):
        row.object_to("duration_s", f"{duration_s:g} is not above 0; drop jobs that never ran")
        duration_s = 1.0
    spec = JobSpec(
        name=name,
        tenant=row.text("tenant", "default"),
        region=row.text("region"),
        work=UNKNOWN_WORK,
        expected_duration_s=row.number("expected_duration_s", duration_s),
        workers=row.whole("workers", 1),
        per_worker=WorkerShape(
            gpus=row.whole("gpus", 0),
            cpus=row.number("cpus", 1.0),
            memory_gb=row.number("memory_gb", 1.0),
        ),
        accelerators=_parsed(row, "accelerators", accelerators_of),
        deadline_at=row.moment("deadline_at", zero_at),
        max_delay_s=row.number("max_delay_s", 0.0),
        interruptible=row.flag("interruptible"),
        max_rtt_ms=row.optional_number("max_rtt_ms"),
        min_green_share=row.optional_number("min_green_share"),
        data=_parsed(row, "data", _data),
        priority=row.whole("priority", 0),
    )
    if not row.problems:
        _judge(row, spec, submitted_at)
    return ReplayJob(id=name, spec=spec, submitted_at=submitted_at, actual_s=duration_s)


def _judge(row: Row, spec: JobSpec, submitted_at: datetime) -> None:
    """The rules of a submission, as far as they need no world.

    A deadline that cannot be kept is no fault of the file: the replay counts it as missed.
    """
    faults = violations(spec, now_at=submitted_at, regions=(spec.region,), places=(), nodes=())
    for fault in faults:
        column = fault.field.removeprefix("per_worker.").split("[")[0].split(".")[0]
        if column != "deadline_at":
            row.object_to({"name": "id"}.get(column, column), fault.description)


def _parsed(row: Row, column: str, parse: Callable[[str], tuple[T, ...]]) -> tuple[T, ...]:
    try:
        return parse(row.values.get(column, ""))
    except ValueError as error:
        row.object_to(column, str(error))
        return ()


def _data(text: str) -> tuple[DataInput, ...]:
    """``300@shanghai;20@beijing``: GB and the region or cluster where they lie."""
    inputs = []
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        found = _DATA.fullmatch(entry)
        if found is None:
            raise ValueError(f"{shown(entry)} is not GB@place; write e.g. 300@shanghai;20@beijing")
        inputs.append(DataInput(float(found["gb"]), found["place"]))
    return tuple(inputs)
