"""Plan tokens: what `Preview` has answered for a job, short enough to be typed, to be held against
what would be answered when the job is submitted.

A token holds all that it stands for, so nothing is stored and any scheduler of the fleet reads it.
It is not signed, for it only ever makes a submission stricter; a checksum tells a damaged one.
"""

import base64
import binascii
import hashlib
import math
import struct
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from scheduler.domain.job import JobSpec
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import PlannedStart
from scheduler.planning.mirror import without_content

PREFIX = "plan."
VALID_FOR = timedelta(minutes=15)
# A run may cost so much more than was told, or so many yuan where it costs next to nothing.
DEARER_SHARE = 0.05
DEARER_YUAN = 0.01
_FORMAT = 1
# Format, flags, valid until (seconds), the job's digest, its start (milliseconds) and its cost.
_HEAD = struct.Struct(">BBI8sqf")
_NOW = 1
_CHECKSUM_BYTES = 6
_DIGEST_BYTES = 8


class TokenError(ValueError):
    """It is no token, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Where and when a job would start, and what its run costs. ``now`` is at once."""

    cluster: str
    accelerator: str
    start_at: datetime
    now: bool
    cost_yuan: float

    def __str__(self) -> str:
        pool = f"{self.cluster} {self.accelerator}".strip()
        at = "at once" if self.now else f"at {self.start_at.astimezone():%m-%d %H:%M %Z}"
        return f"{pool} {at} for {self.cost_yuan:.2f} yuan"


@dataclass(frozen=True, slots=True)
class Token:
    """What was told of a job, by its digest, and until when that may be relied on (real time)."""

    digest: bytes
    told: Answer
    until_at: datetime

    @property
    def planned(self) -> PlannedStart:
        """Where the job stands planned for who believes the token."""
        return PlannedStart(self.told.cluster, self.told.accelerator, self.told.start_at)


def answer_of(placement: Placement | None) -> Answer | None:
    """What a token remembers of a place; None without one."""
    if placement is None:
        return None
    where = (placement.cluster, placement.accelerator, placement.start_at, placement.now)
    return Answer(*where, placement.cost_yuan)


def digest(spec: JobSpec) -> bytes:
    """Of all that a plan depends on in a spec but its two absolute times: what they change shows in
    the answer."""
    plain = without_content(spec).without_times()
    text = repr([(field.name, getattr(plain, field.name)) for field in fields(JobSpec)])
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]


def written(spec: JobSpec, told: Answer, now_at: datetime) -> tuple[str, datetime]:
    """The token of an answer, and until when it holds.

    Args:
        now_at: real time, aware.
    """
    until_at = (now_at + VALID_FOR).replace(microsecond=0)
    head = _HEAD.pack(
        _FORMAT,
        _NOW if told.now else 0,
        int(until_at.timestamp()),
        digest(spec),
        round(told.start_at.timestamp() * 1000),
        told.cost_yuan,
    )
    names = f"{told.cluster}\0{told.accelerator}".encode()
    data = head + names
    return PREFIX + base64.urlsafe_b64encode(_checksum(data) + data).decode().rstrip("="), until_at


def read(text: str) -> Token:
    """What a token holds.

    Raises:
        TokenError: it is none.
    """
    letters = text.strip().removeprefix(PREFIX)
    try:
        whole = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
    except (binascii.Error, ValueError) as error:
        raise TokenError(_NONE) from error
    checksum, data = whole[:_CHECKSUM_BYTES], whole[_CHECKSUM_BYTES:]
    if len(data) < _HEAD.size or checksum != _checksum(data) or data[0] != _FORMAT:
        raise TokenError(_NONE)
    _, flags, until_s, own, start_ms, cost_yuan = _HEAD.unpack_from(data)
    try:
        cluster, _, accelerator = data[_HEAD.size :].decode().partition("\0")
        start_at = datetime.fromtimestamp(start_ms / 1000, UTC)
        until_at = datetime.fromtimestamp(until_s, UTC)
    except (ValueError, OverflowError, OSError) as error:  # not written by us
        raise TokenError(_NONE) from error
    if not math.isfinite(cost_yuan):
        raise TokenError(_NONE)
    return Token(
        own, Answer(cluster, accelerator, start_at, bool(flags & _NOW), cost_yuan), until_at
    )


_NONE = "is no plan token, or not a whole one; copy all of what `westward plan` printed"


def objection(told: Answer, now: Answer | None, now_at: datetime, slot_s: float) -> str:
    """What has become materially worse: another pool, a start that is at once no more or more than
    a slot later, or a run that costs over 5 % more; empty for nothing."""
    if now is None:
        return "it has no place"
    if (told.cluster, told.accelerator) != (now.cluster, now.accelerator):
        return "another cluster or accelerator"
    later_s = (now.start_at - max(told.start_at, now_at)).total_seconds()
    if not now.now and (told.now or later_s > slot_s):
        return f"{later_s / 60:.0f} minutes later"
    if now.cost_yuan > told.cost_yuan + max(DEARER_SHARE * abs(told.cost_yuan), DEARER_YUAN):
        return f"{now.cost_yuan - told.cost_yuan:.2f} yuan dearer"
    return ""


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECKSUM_BYTES]
