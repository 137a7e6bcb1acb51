"""Wakes whoever waits for something to be stored."""

from asyncio import Event


class Bell:
    """Rung after a commit; those who wait then look at the database by themselves."""

    def __init__(self) -> None:
        self._next = Event()

    @property
    def next(self) -> Event:
        """Set at the next ring: to be had before a look at the database, and awaited after it."""
        return self._next

    def ring(self) -> None:
        """Wakes all who wait."""
        rung, self._next = self._next, Event()
        rung.set()
