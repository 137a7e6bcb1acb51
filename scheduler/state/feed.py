"""Changes of jobs, told in order to whoever watches."""

from asyncio import Event
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scheduler.domain.job import Job, JobEvent

# A round may change tens of thousands of jobs before a watcher gets to read.
BACKLOG_MOST = 65536


class SlowWatcherError(Exception):
    """A watcher lags so far that its changes are no longer kept."""

    def __init__(self) -> None:
        super().__init__(
            f"this watcher lags by more than {BACKLOG_MOST} changes; read faster, watch fewer "
            "jobs, or list them and watch again"
        )


class Subscription:
    """The changes from subscribing on; iterate to get them."""

    def __init__(self, wanted: Callable[[Job], bool]) -> None:
        self._wanted = wanted
        self._backlog: deque[tuple[Job, JobEvent]] = deque()
        self._arrived = Event()
        self._lost = False

    def put(self, job: Job, event: JobEvent) -> None:
        """Takes a change in, if it is wanted."""
        if self._lost or not self._wanted(job):
            return
        if len(self._backlog) >= BACKLOG_MOST:
            self._lost = True
            self._backlog.clear()
        else:
            self._backlog.append((job, event))
        self._arrived.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> tuple[Job, JobEvent]:
        while not self._backlog:
            if self._lost:
                raise SlowWatcherError
            self._arrived.clear()
            await self._arrived.wait()
        return self._backlog.popleft()


class Feed:
    """Hands every change to all subscriptions."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    @contextmanager
    def subscribe(self, wanted: Callable[[Job], bool]) -> Iterator[Subscription]:
        """The changes of wanted jobs, within the block."""
        subscription = Subscription(wanted)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, job: Job, event: JobEvent) -> None:
        """Called once per durable change, in the order of the commits."""
        for subscription in self._subscriptions:
            subscription.put(job, event)
