"""Prices, PUE and green supply as piecewise constant curves, integrated exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.domain.fleet import Site
from scheduler.domain.series import Series

Floats = NDArray[np.float64]


class Curve:
    """Value ``i`` holds from ``edges_s[i]`` (epoch seconds) to the next edge; the first also holds
    before, the last also after: as ``Series.at`` reads a series. Shapes (n,)."""

    def __init__(self, edges_s: Floats, values: Floats) -> None:
        self.edges_s = edges_s
        self.values = values
        self._sums = np.concatenate(([0.0], np.cumsum(values[:-1] * np.diff(edges_s))))

    @staticmethod
    def of(series: Series) -> "Curve":
        """The curve of a series; neighbours of one value become one piece.

        Raises:
            ValueError: the series has no values.
        """
        if not series.values:
            raise ValueError(f"series {series.source!r} has no values")
        values = np.array(series.values, dtype=np.float64)
        steps = np.arange(len(values), dtype=np.float64)
        edges_s = series.start_at.timestamp() + steps * series.step_s
        new = np.concatenate(([True], np.diff(values) != 0))
        return Curve(edges_s[new], values[new])

    def at(self, times_s: Floats) -> Floats:
        """The values at some times."""
        return self.values[self._piece(times_s)]

    def one_at(self, time_s: float) -> float:
        """The value at one time."""
        return float(self.values[max(int(self.edges_s.searchsorted(time_s, "right")) - 1, 0)])

    def sums(self, times_s: Floats) -> Floats:
        """The integral from the first edge to each time, in units of the values times hours."""
        piece = self._piece(times_s)
        over_s = times_s - self.edges_s[piece]
        return np.asarray((self._sums[piece] + over_s * self.values[piece]) / 3600)

    def integral(self, start_s: float, end_s: float) -> float:
        """The integral between two times, in units of the values times hours."""
        low, high = self.sums(np.array([start_s, end_s]))
        return float(high - low)

    def times(self, other: "Curve") -> "Curve":
        """The product of two curves."""
        edges_s = np.union1d(self.edges_s, other.edges_s)
        return Curve(edges_s, self.at(edges_s) * other.at(edges_s))

    def _piece(self, times_s: Floats) -> NDArray[np.int64]:
        found = self.edges_s.searchsorted(times_s, "right") - 1
        return np.asarray(np.maximum(found, 0), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class SiteCurves:
    """What a kW of IT power uses and costs at a site: ``pue`` (kWh at the door per IT kWh),
    ``yuan`` (PUE × price), ``price`` itself, and the ``green_kw`` that the site is supplied with.
    """

    site: Site
    pue: Curve
    price: Curve
    yuan: Curve
    green_kw: Curve

    @staticmethod
    def of(site: Site) -> "SiteCurves":
        pue, price = Curve.of(site.pue), Curve.of(site.price_yuan_per_kwh)
        green = Curve.of(site.green_supply_kw)
        green_kw = Curve(green.edges_s, np.maximum(green.values, 0.0))
        return SiteCurves(site, pue, price, pue.times(price), green_kw)


def curves_of(sites: Sequence[Site]) -> dict[str, SiteCurves]:
    """The curves of several sites, by cluster."""
    return {site.cluster: SiteCurves.of(site) for site in sites}
