"""Ids of jobs: short, lower-case, sorted by time, never a number to YAML or a shell."""

from datetime import UTC, datetime

from scheduler.clock import Clock

# Crockford's base 32: no i, l, o, u, so that an id can be read aloud.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
DIGITS = 10
PREFIX = "j"
ARRAY_PREFIX = "a"
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
# Below the millisecond, ids are counted: 42 bits of time (139 years) and 8 of count.
COUNT_BITS = 8


class JobIds:
    """Gives ids that grow strictly, even where the clock steps back or many ask at once."""

    def __init__(self, clock: Clock, newest: str | None = None) -> None:
        self._clock = clock
        self._newest = _value(newest) if newest else 0

    def new(self) -> str:
        """The next id: ``j`` and ten characters."""
        now_ms = int((self._clock.now() - EPOCH).total_seconds() * 1000)
        self._newest = max(now_ms << COUNT_BITS, self._newest + 1)
        return _text(self._newest)


def array_id(first_chunk_id: str) -> str:
    """The id of an array, from that of its first chunk."""
    return ARRAY_PREFIX + first_chunk_id.removeprefix(PREFIX)


def is_array_id(text: str) -> bool:
    """Whether an id is that of an array, not of a job."""
    digits = text.removeprefix(ARRAY_PREFIX)
    return text != digits and len(digits) == DIGITS and not set(digits) - set(ALPHABET)


def _text(value: int) -> str:
    shifts = range(5 * (DIGITS - 1), -1, -5)
    return PREFIX + "".join(ALPHABET[value >> shift & 31] for shift in shifts)


def _value(text: str) -> int:
    value = 0
    for character in text.removeprefix(PREFIX):
        value = value << 5 | ALPHABET.index(character)
    return value
