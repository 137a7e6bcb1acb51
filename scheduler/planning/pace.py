"""When the next planning round is due, and whether it may be a whole one.

Whole rounds plan all that is pending, each followed by a rest of ``REST_TIMES`` its own length, so
that planning leaves room for the calls while thousands wait. In between, quick rounds give what
falls free to the front of the line: see ``front``.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from scheduler.clock import Clock

# Things that come together are planned together: how long a round waits for company.
GATHER_S = 0.02
# What new jobs ask for a round with.
SUBMITTED = "submit"
REST_TIMES = 4.0
# The longest that a round's rest keeps new jobs waiting for a quick one.
REST_MOST_S = 0.25


class Pace:
    """Who has asked for rounds, and how long the last ones took."""

    def __init__(self, clock: Clock, round_interval_s: float) -> None:
        self._clock = clock
        self._interval_s = round_interval_s
        self._asked: Counter[str] = Counter()
        self._soon: set[str] = set()
        self._wake = asyncio.Event()
        # Whether anything has happened since the last whole round began.
        self._stale = True
        self._whole_due_s = self._rested_s = self._tick_due_s = clock.monotonic()

    def ask(self, what: str, *, soon: bool = True) -> None:
        """Asks for a whole round, and if ``soon`` for a quick one before it; ``what`` is kept
        with the round."""
        self._stale = True
        if not self._asked[what] or (soon and what not in self._soon):
            self._wake.set()
        self._asked[what] += 1
        if soon:
            self._soon.add(what)

    async def due(self, others_s: Callable[[], float]) -> str:
        """Waits until a round is due, at the latest when it has been ``others_s()`` seconds of
        real time; returns what has asked for it."""
        while (pause_s := min(self._pause_s(), others_s())) > 0:
            self._wake.clear()
            try:
                # Not wait_for: in Python 3.11 it can lose a cancellation that meets the event.
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                self._stale = True
                break
        if self._asked:
            await asyncio.sleep(GATHER_S)
        asked = ", ".join(sorted(self._asked)) or "tick"
        self._asked.clear()
        self._soon.clear()
        return asked

    @property
    def rested(self) -> bool:
        """Whether a whole round may be made."""
        return self._clock.monotonic() >= self._whole_due_s

    def begin_whole(self) -> None:
        """A whole round takes its look at the world."""
        self._stale = False

    def end(self, began_s: float, *, whole: bool) -> None:
        """A round that began at ``began_s`` of the monotonic clock is over."""
        now_s = self._clock.monotonic()
        rest_s = REST_TIMES * (now_s - began_s)
        self._rested_s = now_s + min(rest_s, REST_MOST_S)
        self._tick_due_s = now_s + self._interval_s
        if whole:
            self._whole_due_s = now_s + min(rest_s, self._interval_s)

    def _pause_s(self) -> float:
        """Seconds of real time until a round is due."""
        now_s = self._clock.monotonic()
        due_s = [self._tick_due_s]
        if self._soon:
            # Accelerators that have fallen free do not wait.
            due_s.append(self._rested_s if self._soon == {SUBMITTED} else now_s)
        if self._stale:
            due_s.append(self._whole_due_s)
        return min(due_s) - now_s
