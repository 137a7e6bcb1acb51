"""Durations, moments and shares as people write them."""

import re
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?"
    r"(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
DURATION_PATTERN = r"^(\d+(\.\d+)?d)?(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?$"
PERCENT_PATTERN = r"^\d+(\.\d+)?\s*%$"
# Further ahead nobody plans, and the calendar ends in 9999.
AHEAD_MOST_DAYS = 36_500
MOMENT_PATTERN = r"^(\+\d.*|\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2}))$"


def duration_s(value: object) -> object:
    """Seconds of ``"30m"``, ``"1h30m"``, ``"2d"``; numbers are seconds already.

    Raises:
        ValueError: text of another form.
    """
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if not value.strip() or found is None:
        raise ValueError(f"{value!r} is not a duration; write 90, 45s, 30m, 1h30m or 2d")
    return sum(float(n) * _SECONDS[unit] for unit, n in found.groupdict().items() if n is not None)


def moment(value: object) -> object:
    """``"+4h"`` as a timedelta after submission, ISO 8601 with a zone as an aware datetime.

    Raises:
        ValueError: neither of the two, a time without its zone, or one that no calendar holds.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a time; write +4h or 2026-11-20T18:00+08:00")
    text = value.strip()
    if text.startswith("+"):
        seconds = duration_s(text[1:])
        assert isinstance(seconds, float)
        if seconds > AHEAD_MOST_DAYS * _SECONDS["d"]:
            raise ValueError(f"{value!r} is over {AHEAD_MOST_DAYS} days ahead; write +4h or +30d")
        return timedelta(seconds=seconds)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a time; write +4h or 2026-11-20T18:00+08:00") from error
    if at.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; write {text}+08:00, or Z for UTC")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        told = f"{value!r} lies outside the years 1 to 9999 in UTC"
        raise ValueError(f"{told}; write 2026-11-20T18:00+08:00") from error


def share(value: object) -> object:
    """``"80%"`` as 0.8; numbers are shares already.

    Raises:
        ValueError: text that is not a percentage, or a number outside 0 to 1.
    """
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(PERCENT_PATTERN, text):
            raise ValueError(f"{value!r} is not a share; write 0.8 or 80%")
        value = float(text[:-1]) / 100
    if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= 1:
        fix = f"{value:g}%" if 2 <= value <= 100 else "0.8 or 80%"
        raise ValueError(f"{value!r} is not a share of 0 to 1; write {fix}")
    return value
