"""What a reader answers, and how it tells what is wrong with a file."""

import gzip
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scheduler.client.problems import JobFileError, Problem, shown
from scheduler.domain.job import AcceleratorOption, Command
from scheduler.replay.case import ReplayJob

PROBLEMS_SHOWN_MOST = 20
# A trace does not say what its jobs ran, and a replay does not run it.
UNKNOWN_WORK = Command(("replayed",))


class ReplayInputError(JobFileError):
    """A trace or a world that cannot be used; the message has one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = list(problems)
        more = len(found) - PROBLEMS_SHOWN_MOST
        if more > 0:
            text = f"and {more:,} more like these; mend them first"
            found[PROBLEMS_SHOWN_MOST:] = [Problem(found[-1].file, found[-1].line, "", text)]
        super().__init__(found)


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs by submission, then id; ``skipped`` says why records are no jobs, and how many."""

    jobs: tuple[ReplayJob, ...]
    skipped: dict[str, int] = field(default_factory=dict)


def in_order(jobs: Iterable[ReplayJob]) -> tuple[ReplayJob, ...]:
    """By submission, then id."""
    return tuple(sorted(jobs, key=lambda job: (job.submitted_at, job.id)))


def text_of(path: Path) -> str:
    """A file as text; one whose name ends in .gz is unpacked.

    Raises:
        ReplayInputError: it cannot be read, or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError) as error:
        problem = Problem(str(path), 1, "", f"cannot be read: {error}; give a readable file")
        raise ReplayInputError([problem]) from error
    except UnicodeDecodeError as error:
        text = f"is not UTF-8 (byte 0x{error.object[error.start]:02x}); save it as UTF-8"
        raise ReplayInputError([Problem(str(path), 1, "", text)]) from error


@dataclass(slots=True)
class Row:
    """One record by column. What cannot be read is noted, and its default stands in."""

    file: str
    line: int
    values: dict[str, str]
    problems: list[Problem] = field(default_factory=list)

    def object_to(self, column: str, message: str) -> None:
        """Notes a problem."""
        self.problems.append(Problem(self.file, self.line, column, message))

    def text(self, column: str, default: str | None = None) -> str:
        """What stands there; without a default it must not be empty."""
        value = self.values.get(column, "").strip()
        if not value and default is None:
            self.object_to(column, f"is empty; every row needs {column}")
        return value or default or ""

    def number(self, column: str, default: float | None = None) -> float:
        """A finite number."""
        value = self.text(column, None if default is None else "")
        if not value:
            return default or 0.0
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.object_to(column, f"{shown(value)} is not a number; write e.g. 3600 or 0.5")
            return default or 0.0
        return number

    def optional_number(self, column: str) -> float | None:
        """A finite number, or None where nothing stands."""
        return self.number(column) if self.values.get(column, "").strip() else None

    def whole(self, column: str, default: int) -> int:
        """A whole number."""
        number = self.number(column, default)
        if number != int(number):
            self.object_to(column, f"{number:g} is not whole; write e.g. {math.ceil(number)}")
        return int(number)

    def flag(self, column: str) -> bool:
        """true or false, false where nothing stands."""
        value = self.values.get(column, "").strip().lower()
        if value not in FLAGS:
            self.object_to(column, f"{shown(value)} is neither; write true or false")
        return FLAGS.get(value, False)

    def moment(self, column: str, zero_at: datetime) -> datetime | None:
        """ISO 8601 with its zone, or seconds since ``zero_at``; None where nothing stands."""
        value = self.values.get(column, "").strip()
        if not value:
            return None
        try:
            return (zero_at + timedelta(seconds=float(value))).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # not a number of seconds
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            text = f"{shown(value)} is not a time; write 2026-11-20T18:00+08:00, or seconds"
            self.object_to(column, text)
            return None
        if at.tzinfo is None:
            self.object_to(column, f"{shown(value)} has no time zone; write {value}+08:00, or Z")
            return None
        return at.astimezone(UTC)


FLAGS = {"": False, "true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def accelerators_of(text: str) -> tuple[AcceleratorOption, ...]:
    """``A800:1.0;910B:0.7`` as options; a speed that is left out is 1.

    Raises:
        ValueError: an entry is neither ``model`` nor ``model:speed``.
    """
    options = []
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        model, _, speed = entry.partition(":")
        try:
            options.append(AcceleratorOption(model.strip(), float(speed) if speed else 1.0))
        except ValueError as error:
            raise ValueError(
                f"{shown(entry)} is not model:speed; write e.g. A800:1.0;910B:0.7"
            ) from error
    return tuple(options)
