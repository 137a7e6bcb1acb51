"""What an attempt has used."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Energy:
    """PUE left out; ``estimated_kwh`` is the part for which no power could be read."""

    kwh: float
    estimated_kwh: float
