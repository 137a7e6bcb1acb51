"""Who used how much of which energy, and who got how much of the green supply, each kWh once.

Energy and its cost are exact integrals over the run, whatever the slots. Green supply is settled
slot by slot: minimum shares first (in proportion, where supply falls short of them), what is left
to all other load of the site in proportion. As the planner's ledger does, but of what really ran.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from scheduler.domain.series import Series
from scheduler.replay.curves import Floats, SiteCurves
from scheduler.replay.fleet import Fleet
from scheduler.replay.outcome import Outcome, Run

RunKey = str


@dataclass(frozen=True, slots=True)
class Energy:
    """Of one run, at the door."""

    kwh: float
    green_kwh: float
    yuan: float
    carbon_kg: float


@dataclass(frozen=True, slots=True)
class _Use:
    """A run's kWh in each slot from ``first`` on; shape (slots it touches,)."""

    run: Run
    first: int
    kwh: Floats
    share: float

    @property
    def span(self) -> slice:
        return slice(self.first, self.first + len(self.kwh))


def share_green(outcome: Outcome, fleet: Fleet) -> dict[RunKey, Energy]:
    """The energy of every run, by its attempt's id."""
    shares = {job.id: job.spec.min_green_share or 0.0 for job in outcome.case.jobs}
    by_cluster: dict[str, list[Run]] = defaultdict(list)
    for run in outcome.runs:
        by_cluster[run.cluster].append(run)
    settled: dict[RunKey, Energy] = {}
    for cluster, runs in by_cluster.items():
        curves = fleet.curves[cluster]
        settled |= _site(runs, curves, outcome.case.slot_s, shares)
    return settled


def _site(
    runs: Sequence[Run], curves: SiteCurves, slot_s: float, shares: dict[str, float]
) -> dict[RunKey, Energy]:
    """The energy of all runs of a site."""
    zero_s = math.floor(min(r.started_at.timestamp() for r in runs) / slot_s) * slot_s
    uses = [_use(run, curves, zero_s, slot_s, shares[run.job_id]) for run in runs]
    slots = max(use.span.stop for use in uses)
    load_kwh, held_kwh = np.zeros(slots), np.zeros(slots)
    for use in uses:
        load_kwh[use.span] += use.kwh
        held_kwh[use.span] += use.share * use.kwh
    edges_s = zero_s + np.arange(slots + 1, dtype=np.float64) * slot_s
    supply_kwh = np.diff(curves.green_kw.sums(edges_s))
    # Of each slot: which part of the minimum shares is met, and which part of all other load.
    kept = _part(supply_kwh, held_kwh)
    rest = _part(supply_kwh - kept * held_kwh, load_kwh - held_kwh)
    carbon_kg = _carbon_kg(curves, edges_s[:-1])
    return {use.run.attempt_id: _energy(use, curves, (kept, rest, carbon_kg)) for use in uses}


def _carbon_kg(curves: SiteCurves, times_s: Floats) -> Floats:
    """Of a kWh that is not green, at each of some times."""
    carbon = curves.site.grid_carbon_g_per_kwh
    if not isinstance(carbon, Series):
        return np.full(len(times_s), carbon / 1000)
    at = [datetime.fromtimestamp(time_s, UTC) for time_s in times_s.tolist()]
    return np.array(carbon.sample(at), dtype=float) / 1000


def _part(supply: Floats, demand: Floats) -> Floats:
    """How much of a demand a supply covers, 0 to 1; 1 where nothing is asked for."""
    whole = np.ones_like(demand)
    covered = np.divide(np.maximum(supply, 0.0), demand, out=whole, where=demand > 0)
    return np.minimum(covered, 1.0)


def _use(run: Run, curves: SiteCurves, zero_s: float, slot_s: float, share: float) -> _Use:
    start_s, end_s = run.started_at.timestamp(), run.ended_at.timestamp()
    first = int((start_s - zero_s) // slot_s)
    last = max(math.ceil((end_s - zero_s) / slot_s), first + 1)
    edges_s = zero_s + np.arange(first, last + 1, dtype=np.float64) * slot_s
    kwh = run.it_kw * np.diff(curves.pue.sums(np.clip(edges_s, start_s, end_s)))
    return _Use(run, first, kwh, share)


def _energy(use: _Use, curves: SiteCurves, by_slot: tuple[Floats, Floats, Floats]) -> Energy:
    """``by_slot``: which part is met of holds, and of the rest; the carbon of what is not green."""
    share, run = use.share, use.run
    kept, rest, carbon_kg = (figure[use.span] for figure in by_slot)
    green_kwh = use.kwh * (share * kept + (1 - share) * rest)
    yuan = curves.yuan.integral(run.started_at.timestamp(), run.ended_at.timestamp())
    emitted_kg = float(((use.kwh - green_kwh) * carbon_kg).sum())
    return Energy(float(use.kwh.sum()), float(green_kwh.sum()), run.it_kw * yuan, emitted_kg)
