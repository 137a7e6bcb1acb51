"""Which jobs' time comes next."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T", datetime, float)


class Calendar(Generic[T]):
    """At most one time per job. Many jobs share a time: those of a slot, of a back-off."""

    def __init__(self) -> None:
        self._times: list[T] = []
        self._at: dict[T, dict[str, None]] = {}
        self._of: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._of)

    def put(self, job_id: str, at: T | None) -> None:
        """Notes a job's time in place of the one before; None: it has none."""
        before = self._of.pop(job_id, None)
        if before is not None:
            alike = self._at[before]
            del alike[job_id]
            if not alike:
                del self._at[before], self._times[bisect_left(self._times, before)]
        if at is not None:
            self._of[job_id] = at
            if at not in self._at:
                self._at[at] = {}
                insort(self._times, at)
            self._at[at][job_id] = None

    def first(self) -> T | None:
        """The earliest time of all."""
        return self._times[0] if self._times else None

    def after(self, at: T) -> T | None:
        """The earliest that is later than a time."""
        return next(islice(self._times, bisect_right(self._times, at), None), None)

    def until(self, at: T) -> list[str]:
        """The jobs whose time is not later than a time, the earliest first."""
        return [i for t in self._times[: bisect_right(self._times, at)] for i in self._at[t]]

    def __iter__(self) -> Iterator[str]:
        """The jobs, the earliest first; those of one time by their ids."""
        for at in self._times:
            yield from sorted(self._at[at])
