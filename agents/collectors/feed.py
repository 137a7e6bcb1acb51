"""A feed as the configuration names it: from a file, over HTTP or from Prometheus."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from agents.collectors.base import CollectorError
from agents.collectors.known import Known, Values
from agents.collectors.remote import http_json, prometheus
from agents.collectors.seriesfile import SeriesFile
from agents.source_keys import Feed


class Source(Protocol):
    """What tells values over time; ``source`` names it."""

    source: str

    def known(self, now_at: datetime) -> Known:
        """What it tells. Raises CollectorError."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is believable of a value after it was scaled."""

    least: float
    most: float


def feed(keys: Feed, column: str, bounds: Bounds) -> Source:
    """The source that the keys name; ``column`` is the name of its values in a CSV file."""
    if keys.file is not None:
        file = SeriesFile(
            keys.file,
            column,
            time_zone=keys.time_zone,
            scale=keys.scale,
            negative=bounds.least < 0,
        )
        return _Judged(file, 1.0, column, bounds)
    if keys.http is not None:
        return _Judged(http_json(keys.http, keys.time_zone), keys.scale, column, bounds)
    assert keys.prometheus is not None, "the configuration names one source"
    return _Judged(prometheus(keys.prometheus), keys.scale, column, bounds)


class _Judged:
    """Scales what a source tells, and refuses what cannot be: at the agent, where the operator of
    the source looks first."""

    def __init__(self, behind: Source, scale: float, column: str, bounds: Bounds) -> None:
        self.source = behind.source
        self._behind = behind
        self._scale = scale
        self._column = column
        self._bounds = bounds

    def known(self, now_at: datetime) -> Known:
        told = self._behind.known(now_at)

        def at(when: datetime) -> Values | None:
            values = told.at(when)
            if values is None:
                return None
            scaled = tuple(value * self._scale for value in values)
            for value in scaled:
                if not self._bounds.least <= value <= self._bounds.most:
                    raise CollectorError(
                        f"{self.source}: {self._column} {value:g} is not within "
                        f"{self._bounds.least:g} to {self._bounds.most:g}"
                    )
            return scaled

        return replace(told, at=at)
