"""Jobs derived from the Philly trace by Gavel (OSDI 2020), with speeds as measured.

Each job of the trace is of one of Gavel's job types, with a number of steps. Its length is that
many steps at the speed of the reference accelerator; its relative speed on another one is the
quotient of the two measured speeds, and one that measured 0 steps per second cannot run it.
Gangs larger than those that were measured are taken to go on as the largest one did: the same
speed per accelerator. What was not measured at all is skipped and counted.
"""

import csv
import io
import math
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from scheduler.client.problems import Problem
from scheduler.domain.job import AcceleratorOption, JobSpec, WorkerShape
from scheduler.replay.case import ReplayJob
from scheduler.replay.traces.trace import UNKNOWN_WORK, ReplayInputError, Row, Trace, in_order
from scheduler.replay.traces.trace import text_of as read_text

TRACE_COLUMNS = ("vc", "job_type", "total_steps", "arrival_s", "num_gpus")
SPEED_COLUMNS = ("gpu", "job_type", "scale_factor", "steps_per_s")
REFERENCE = "v100"
GPUS_PER_NODE = 8
CPUS_PER_GPU = 8.0
MEMORY_GB_PER_GPU = 60.0

# steps/s by accelerator, job type and number of accelerators.
Speeds = dict[tuple[str, str, int], float]


def read(
    trace: Path, speeds: Path, *, start_at: datetime, region: str, models: dict[str, str]
) -> Trace:
    """The jobs of the trace, of one region and without wishes.

    Args:
        start_at: what arrivals count from.
        models: which model of the world stands for which accelerator that was measured.

    Raises:
        ReplayInputError: with line, column and value of every problem.
    """
    known = _speeds(speeds)
    jobs, problems, skipped = list[ReplayJob](), list[Problem](), Counter[str]()
    for index, row in enumerate(_rows(trace, TRACE_COLUMNS)):
        gpus, kind = row.whole("num_gpus", 1), row.text("job_type")
        scale = _measured_scale(known, kind, gpus)
        if scale is None:
            skipped["no speed measured for its type and size"] += 1
            continue
        reference = known[REFERENCE, kind, scale] * gpus / scale
        actual_s = row.number("total_steps") / reference
        options = {
            model: known.get((gpu, kind, scale), 0.0) * gpus / scale / reference
            for gpu, model in models.items()
        }
        spec = JobSpec(
            name=f"{index:05d}",
            tenant=row.text("vc"),
            region=region,
            work=UNKNOWN_WORK,
            expected_duration_s=actual_s,
            workers=_workers(gpus),
            per_worker=_worker(gpus // _workers(gpus)),
            accelerators=tuple(
                AcceleratorOption(model, round(speed, 6))
                for model, speed in options.items()
                if speed > 0
            ),
        )
        arrival = timedelta(seconds=row.number("arrival_s"))
        problems.extend(row.problems)
        jobs.append(
            ReplayJob(id=spec.name, spec=spec, submitted_at=start_at + arrival, actual_s=actual_s)
        )
    if problems:
        raise ReplayInputError(problems)
    return Trace(in_order(jobs), dict(skipped))


def _speeds(path: Path) -> Speeds:
    rows = _rows(path, SPEED_COLUMNS)
    found = {
        (row.text("gpu"), row.text("job_type"), row.whole("scale_factor", 1)): row.number(
            "steps_per_s"
        )
        for row in rows
    }
    problems = [problem for row in rows for problem in row.problems]
    if problems:
        raise ReplayInputError(problems)
    return found


def _measured_scale(speeds: Speeds, kind: str, gpus: int) -> int | None:
    """The largest gang measured on the reference that is not larger than this one; of a gang,
    one on a single accelerator says nothing."""
    scales = [
        scale
        for gpu, other, scale in speeds
        if gpu == REFERENCE and other == kind and scale <= gpus and (scale > 1) == (gpus > 1)
    ]
    return max(scales, default=None)


def _workers(gpus: int) -> int:
    """Nodes of a gang: full ones, or as many halves of them as are needed to share it evenly."""
    if gpus <= GPUS_PER_NODE:
        return 1
    per_node = math.gcd(gpus, GPUS_PER_NODE)
    return gpus // per_node


def _worker(gpus: int) -> WorkerShape:
    return WorkerShape(gpus=gpus, cpus=gpus * CPUS_PER_GPU, memory_gb=gpus * MEMORY_GB_PER_GPU)


def _rows(path: Path, columns: tuple[str, ...]) -> list[Row]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="")
    lacking = [name for name in columns if name not in (reader.fieldnames or ())]
    if lacking:
        raise ReplayInputError(
            Problem(str(path), 1, name, f"is missing; the columns are {', '.join(columns)}")
            for name in lacking
        )
    return [Row(str(path), reader.line_num, values) for values in reader]
