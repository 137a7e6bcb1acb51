"""Recorded rounds as bytes: JSON, compressed with gzip, which people can read as well.

Floats keep their last bit, infinities and NaN included; times keep their zone. The zone of
``now_at`` keeps its name, for explanations tell times in it.
"""

import gzip
import zlib
from dataclasses import replace
from datetime import timedelta, timezone

from pydantic import ConfigDict, TypeAdapter, ValidationError

from scheduler.rounds.record import RecordedRound

FORMAT = 1
# Rounds are large and alike: more effort takes long and gains little.
_EFFORT = 3


# The zone that ``now_at`` is told in: its name, and seconds east of UTC.
Zone = tuple[str, float]
_FILE: TypeAdapter[tuple[int, Zone, RecordedRound]] = TypeAdapter(
    tuple[int, Zone, RecordedRound], config=ConfigDict(ser_json_inf_nan="constants")
)


class RoundFileError(ValueError):
    """The file holds no round that this software can plan again."""


def to_bytes(made: RecordedRound) -> bytes:
    """The round as a file; the same round always gives the same bytes."""
    now_at = made.snapshot.now_at
    east = now_at.utcoffset()
    assert east is not None, "the times of a snapshot are aware"
    zone = (now_at.tzname() or "", east.total_seconds())
    text = _FILE.dump_json((FORMAT, zone, made))
    return gzip.compress(text, _EFFORT, mtime=0)


def from_bytes(data: bytes) -> RecordedRound:
    """The round that a file holds.

    Raises:
        RoundFileError: it is no such file, damaged, or of a format that this software cannot read.
    """
    try:
        text = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        told = f"it is not a whole gzip file ({error}); export the round again"
        raise RoundFileError(told) from error
    number = text.partition(b",")[0].removeprefix(b"[").decode(errors="replace")
    if number != str(FORMAT):
        told = f"its format is {number[:10]!r}, this software reads {FORMAT}"
        raise RoundFileError(f"{told}: is it a round, and of this version?")
    try:
        _, (name, east_s), made = _FILE.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        told = f"{where}: {first['msg']}; another version wrote it: plan it again with that one"
        raise RoundFileError(told) from error
    zone = timezone(timedelta(seconds=east_s), name)
    now_at = made.snapshot.now_at.astimezone(zone)
    return replace(made, snapshot=replace(made.snapshot, now_at=now_at))
