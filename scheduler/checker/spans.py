"""Spans of time as slots, and what adds up in them."""

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from scheduler.checker.view import TOUCH_S
from scheduler.planner.snapshot import RunningAttempt, Snapshot


def touched(snapshot: Snapshot, start_at: datetime, end_at: datetime) -> range:
    """The slots that a span of time touches, from slot 0 on."""
    start_s, end_s = ((at - snapshot.start_at).total_seconds() for at in (start_at, end_at))
    first = math.floor((start_s + TOUCH_S) / snapshot.slot_s)
    last = math.ceil((end_s - TOUCH_S) / snapshot.slot_s)
    return range(max(first, 0), max(last, first + 1, 1))


def running(snapshot: Snapshot, attempt: RunningAttempt) -> range:
    """From now on, slot 0 even if it should have ended."""
    return range(touched(snapshot, snapshot.now_at, attempt.expected_end_at).stop)


def levels(entries: Iterable[tuple[range, float]], stop: int) -> list[float]:
    """What amounts over spans of slots add up to in each slot before a last one."""
    edges: dict[int, float] = defaultdict(float)
    for slots, amount in entries:
        edges[slots.start] += amount
        edges[slots.stop] -= amount
    made, level = [], 0.0
    for slot in range(stop):
        level += edges.get(slot, 0.0)
        made.append(level)
    return made
