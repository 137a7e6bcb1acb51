"""Who wants to hear of rounds."""

from collections.abc import Sequence
from typing import Protocol

from scheduler.domain.round import PlacementRecord, RoundRecord


class RoundListener(Protocol):
    """Hears of rounds, on the event loop."""

    def made(self, record: RoundRecord) -> None:
        """A round was made and stored."""

    def placed(self, placements: Sequence[PlacementRecord]) -> None:
        """Jobs of a round got their attempts."""

    def failed(self, round_id: int, why: str) -> None:
        """A round came to nothing."""
