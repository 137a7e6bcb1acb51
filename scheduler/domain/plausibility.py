"""What is believed of a report: a range for every field; what lies outside is rejected alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from scheduler.domain.fleet import Rejection, Rtt
from scheduler.domain.series import Series


@dataclass(frozen=True, slots=True)
class Range:
    """Least and most believable value, and the unit for the message."""

    least: float
    most: float
    unit: str

    def objection(self, value: float) -> str | None:
        """Why the value is not believed, or None."""
        if math.isfinite(value) and self.least <= value <= self.most:
            return None
        return f"not within {self.least:g} to {self.most:g} {self.unit}".rstrip()


NODE_RANGES: Mapping[str, Range] = {
    "gpus": Range(0, 64, "accelerators"),
    "cpus": Range(0, 4096, "cores"),
    "memory_gb": Range(0, 65536, "GB"),
    "gpu_power_kw": Range(0, 5, "kW"),
    "cpu_power_kw": Range(0, 1, "kW"),
    "cpu_load": Range(0, 1, ""),
}
SITE_RANGES: Mapping[str, Range] = {
    "price_yuan_per_kwh": Range(-1, 10, "yuan/kWh"),
    "green_supply_kw": Range(0, 10_000_000, "kW"),
    "pue": Range(1, 3, ""),
    "grid_carbon_g_per_kwh": Range(0, 2000, "g/kWh"),
    "power_cap_kw": Range(0, 10_000_000, "kW"),
}
LINK_RANGES: Mapping[str, Range] = {
    "bandwidth_gbps": Range(0, 1_000_000, "Gbit/s"),
    "transfer_yuan_per_gb": Range(0, 1000, "yuan/GB"),
}
STEP_S = Range(0.001, 366 * 86400, "s")
RTT_MS = Range(0, 10_000, "ms")
LOSS = Range(0, 1, "")
# Of an agent's clock: what NTP keeps without effort, and a message that took its time.
CLOCK_OFF_MOST_S = 30.0


def judge_number(
    name: str, value: float, allowed: Range, at: datetime, prefix: str = ""
) -> Rejection | None:
    """A rejection of one number, or None."""
    objection = allowed.objection(value)
    return Rejection(prefix + name, f"{value:g}", objection, at) if objection else None


def judge_series(name: str, series: Series, at: datetime) -> Rejection | None:
    """A rejection of a whole series for the first value or stamp that is not believable."""
    if not series.values:
        return Rejection(name, "[]", "has no values", at)
    if objection := STEP_S.objection(series.step_s):
        return Rejection(f"{name}.step_s", f"{series.step_s:g}", objection, at)
    return _judge_values(name, name, series.values, at) or _judge_quantiles(name, series, at)


def _judge_values(name: str, where: str, values: Sequence[float], at: datetime) -> Rejection | None:
    for index, value in enumerate(values):
        objection = SITE_RANGES[name].objection(value)
        if objection:
            return Rejection(f"{where}[{index}]", f"{value:g}", objection, at)
    return None


def _judge_quantiles(name: str, series: Series, at: datetime) -> Rejection | None:
    """Ascending and of the series' length, and so are their values at every step, with the median
    among them."""
    qs = [one.q for one in series.quantiles]
    for one in series.quantiles:
        where = f"{name}.quantiles[{one.q:g}]"
        if not 0 < one.q < 1 or one.q == 0.5 or qs != sorted({*qs}):
            told = "q must lie between 0 and 1, not be 0.5, and grow from one to the next"
            return Rejection(f"{name}.quantiles", f"{qs}", told, at)
        if len(one.values) != len(series.values):
            told = f"has {len(one.values)} values for the {len(series.values)} of the series"
            return Rejection(where, f"{len(one.values)} values", told, at)
        if objection := _judge_values(name, where, one.values, at):
            return objection
    known = sorted([(0.5, series.values), *((one.q, one.values) for one in series.quantiles)])
    for (low, below), (high, above) in pairwise(known):
        for index, (less, more) in enumerate(zip(below, above, strict=True)):
            if less > more:
                told = f"quantile {low:g} is above quantile {high:g}"
                return Rejection(f"{name}[{index}]", f"{less:g} > {more:g}", told, at)
    return None


def judge_rtt(rtt: Rtt, at: datetime) -> Rejection | None:
    """A rejection of one region's round-trip times, or None."""
    where = f"rtt[{rtt.region}]"
    times = {name: getattr(rtt, name) for name in ("p50_ms", "p95_ms", "p99_ms", "jitter_ms")}
    if rtt.connect_ms is not None:
        times["connect_ms"] = rtt.connect_ms
    for name, value in times.items():
        objection = RTT_MS.objection(value)
        if objection:
            return Rejection(f"{where}.{name}", f"{value:g}", objection, at)
    if objection := LOSS.objection(rtt.loss):
        return Rejection(f"{where}.loss", f"{rtt.loss:g}", objection, at)
    if not rtt.p50_ms <= rtt.p95_ms <= rtt.p99_ms:
        told = f"{rtt.p50_ms:g} / {rtt.p95_ms:g} / {rtt.p99_ms:g}"
        return Rejection(where, told, "percentiles must not fall", at)
    return None


def judge_clock(ahead_s: float, at: datetime) -> Rejection | None:
    """A rejection of an agent's clock that is ``ahead_s`` (behind: less than 0) of ours, or None.

    The value is told in coarse steps: one that hardly moves is not news with every report.
    """
    if math.isfinite(ahead_s) and abs(ahead_s) <= CLOCK_OFF_MOST_S:
        return None
    side = "ahead" if ahead_s > 0 else "behind"
    off = f"{round(abs(ahead_s) / 60)} min" if math.isfinite(ahead_s) else "far"
    told = "times that it tells count by when they arrive; set its clock (chrony, NTP)"
    return Rejection("clock", f"{off} {side}", f"more than {CLOCK_OFF_MOST_S:g} s off: {told}", at)
