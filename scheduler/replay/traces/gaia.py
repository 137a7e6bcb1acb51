"""The jobs of GAIA's traces (ASPLOS 2024), with their longest waits and queues.

After the rules of the paper's simulator: time goes in ticks of 5 s, to which arrivals and lengths
are truncated; a job below 2 h may wait 6 h, a longer one 24 h; a scheduler knows its exact length,
or the average of its queue (2 h belongs to both, and the average is truncated to ticks too).
"""

import csv
import io
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean

from scheduler.client.problems import Problem
from scheduler.domain.job import JobSpec, WorkerShape
from scheduler.replay.case import ReplayJob
from scheduler.replay.traces.trace import UNKNOWN_WORK, ReplayInputError, Row, Trace, in_order
from scheduler.replay.traces.trace import text_of as read_text

COLUMNS = ("arrival_time", "length", "cpus")
TICK_S = 5.0
SHORT_S = 7200.0
SHORT_WAIT_S = 6 * 3600.0
LONG_WAIT_S = 24 * 3600.0
REGION = "origin"


def read(path: Path, *, start_at: datetime, exact: bool) -> Trace:
    """The jobs of a file whose times are in seconds.

    Args:
        start_at: what arrivals count from.
        exact: lengths are known when jobs arrive; else the average of their queue is.

    Raises:
        ReplayInputError: with line, column, value and fix of every problem.
    """
    rows = _rows(path)
    lengths_s = [row.number("length") for row in rows]
    short = [s for s in lengths_s if s <= SHORT_S]
    long = [s for s in lengths_s if s >= SHORT_S]
    jobs = []
    for index, (row, length_s) in enumerate(zip(rows, lengths_s, strict=True)):
        actual_s = _whole_ticks(length_s)
        is_short = actual_s < SHORT_S
        average_s = _whole_ticks(fmean(short if is_short else long))
        spec = JobSpec(
            name=f"{index:06d}",
            tenant="gaia",
            region=REGION,
            work=UNKNOWN_WORK,
            expected_duration_s=actual_s if exact else average_s,
            per_worker=WorkerShape(gpus=0, cpus=row.number("cpus"), memory_gb=0.001),
            max_delay_s=SHORT_WAIT_S if is_short else LONG_WAIT_S,
        )
        arrival = timedelta(seconds=_whole_ticks(row.number("arrival_time")))
        jobs.append(
            ReplayJob(id=spec.name, spec=spec, submitted_at=start_at + arrival, actual_s=actual_s)
        )
    problems = [problem for row in rows for problem in row.problems]
    if problems:
        raise ReplayInputError(problems)
    return Trace(in_order(jobs))


def _rows(path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="")
    lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if lacking:
        raise ReplayInputError(
            Problem(str(path), 1, name, f"is missing; the columns are {', '.join(COLUMNS)}")
            for name in lacking
        )
    return [Row(str(path), reader.line_num, values) for values in reader]


def _whole_ticks(seconds: float) -> float:
    return seconds // TICK_S * TICK_S
