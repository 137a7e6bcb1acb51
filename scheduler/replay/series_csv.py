"""Values over time from a CSV file, sampled on the steps of a world."""

import csv
import io
import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from scheduler.client.problems import Problem, did_you_mean, shown
from scheduler.replay.traces.trace import ReplayInputError, text_of
from scheduler.replay.world_keys import FileKeys


def sample(keys: FileKeys, times: Sequence[datetime]) -> list[float]:
    """The value that holds at each of some growing times.

    Raises:
        ReplayInputError: the file cannot be read, or does not reach over all of them.
    """
    stamps, values = _read(keys)
    shift = timedelta(hours=keys.shift_h)
    # The last value holds as long as the one before it did; an only value holds an hour.
    ends_at = stamps[-1] + (stamps[-1] - stamps[-2] if len(stamps) > 1 else timedelta(hours=1))
    if times[0] + shift < stamps[0] or times[-1] + shift >= ends_at:
        text = (
            f"covers {stamps[0].isoformat()} to {ends_at.isoformat()}, and the world asks for "
            f"{(times[0] + shift).isoformat()} to {(times[-1] + shift).isoformat()}; "
            "mend start_at, days or shift_h"
        )
        raise ReplayInputError([Problem(str(keys.path), 1, keys.column, text)])
    return [values[bisect_right(stamps, at + shift) - 1] for at in times]


def _read(keys: FileKeys) -> tuple[list[datetime], list[float]]:
    path, zone = Path(keys.path), ZoneInfo(keys.time_zone)
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""))
    columns = list(reader.fieldnames or ())
    lacking = [name for name in (keys.time_column, keys.column) if name not in columns]
    if lacking:
        raise ReplayInputError(
            Problem(str(path), 1, name, f"no such column; {did_you_mean(name, columns)}")
            for name in lacking
        )
    stamps, values = list[datetime](), list[float]()
    for row in reader:
        stamp = _stamp(path, reader.line_num, keys.time_column, row[keys.time_column] or "", zone)
        if stamps and stamp <= stamps[-1]:
            text = f"{shown(row[keys.time_column])} is not after the row above; sort the rows"
            raise ReplayInputError([Problem(str(path), reader.line_num, keys.time_column, text)])
        stamps.append(stamp)
        values.append(_value(path, reader.line_num, keys.column, row[keys.column]) * keys.times)
    if not stamps:
        raise ReplayInputError([Problem(str(path), 1, "", "has no rows; add at least one")])
    return stamps, values


def _stamp(path: Path, line: int, column: str, text: str, zone: ZoneInfo) -> datetime:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError as error:
        told = f"{shown(text)} is not a time; write e.g. 2026-06-01T12:15"
        raise ReplayInputError([Problem(str(path), line, column, told)]) from error
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


def _value(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        told = f"{shown(text)} is not a number; write one, or leave the row out"
        raise ReplayInputError([Problem(str(path), line, column, told)])
    return value
