"""A collector with its last good reading: nothing that a source does stops a report."""

import asyncio
import time
from typing import Generic, TypeVar

import structlog

from agents.collectors.base import Collector, CollectorError, Span

log = structlog.get_logger()

T = TypeVar("T")
# A source that takes longer is left to finish by itself while reports go on.
READ_LIMIT_S = 3.0


class Reading(Generic[T]):
    """Reads one collector in a thread, at most one reading at a time.

    While the source fails, ``value`` stays what it last said: series carry their own time stamps,
    so their age is seen by whoever uses them. It is None until the first reading that succeeds.
    """

    def __init__(self, collector: Collector[T]) -> None:
        self.name = collector.name
        self.value: T | None = None
        self.error: str | None = None
        self._collector = collector
        self._running: asyncio.Task[T] | None = None
        self._failing_since_s: float | None = None

    async def refresh(self, span: Span) -> None:
        """Takes a new reading; after a failure ``error`` says why."""
        if self._running is None:
            self._running = asyncio.create_task(asyncio.to_thread(self._collector.read, span))
        done, _ = await asyncio.wait({self._running}, timeout=READ_LIMIT_S)
        if not done:
            self._failed(f"no answer within {READ_LIMIT_S:g} s")
            return
        task, self._running = self._running, None
        try:
            self.value = task.result()
        except CollectorError as error:
            self._failed(str(error))
        except Exception as error:
            # A collector's own bug must not silence the node's other facts.
            log.exception("collector_broke", collector=self.name)
            self._failed(f"{type(error).__name__}: {error}")
        else:
            if self.error is not None:
                log.info("collector_recovered", collector=self.name)
            self.error = None
            self._failing_since_s = None

    def failing_s(self) -> float:
        """For how long there has been no good reading; 0 while the last one was good."""
        return 0.0 if self._failing_since_s is None else time.monotonic() - self._failing_since_s

    def _failed(self, error: str) -> None:
        if self._failing_since_s is None:
            self._failing_since_s = time.monotonic()
        if error != self.error:
            log.warning("collector_failed", collector=self.name, error=error)
        self.error = error
