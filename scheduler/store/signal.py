"""Wake-ups by key: whoever follows something learns that it is time to look again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Signal:
    """Events per key, on one event loop. Clear the event, look, then wait: nothing is missed."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def notify(self, key: str) -> None:
        """Wakes everyone who listens to a key."""
        for event in self._waiting.get(key, ()):
            event.set()

    @contextmanager
    def listen(self, key: str) -> Iterator[asyncio.Event]:
        """An event that every ``notify`` of the key sets, within the block."""
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]
