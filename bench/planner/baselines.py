"""What others would do with the same snapshot: one pass over the jobs, each put where it goes.

Jobs come in the order of their arrival. Each starts in the first slot in which any pool has room
for all of its run beside those before it, under the rules of ``grid``; a rule then picks the pool.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.planner.grid import TOLERANCE, Ask, Bools, Floats, Grid, Ints

# Of the pools that could start a job in a slot (indices into ``ask.pools``), the one that does.
Rule = Callable[[Grid, Ask, Ints, int], int]


def first_fit(_grid: Grid, _ask: Ask, able: Ints, _slot: int) -> int:
    """FIFO first fit: the first in the order of the snapshot."""
    return int(able[0])


def cheapest_now(grid: Grid, ask: Ask, able: Ints, slot: int) -> int:
    """The cheapest site now: least energy cost if the tariff of the moment stayed."""
    site = grid.site[ask.pools[able]]
    yuan = ask.kw[able] * ask.run_s[able] * (grid.price * grid.pue)[site, slot]
    return int(able[np.argmin(yuan)])


RULES: dict[str, Rule] = {"FIFO first fit": first_fit, "cheapest site now": cheapest_now}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Per job of the snapshot its pool, -1 where it has none, its start in seconds since the
    snapshot, and what its energy costs at the door."""

    pool: Ints
    start_s: Floats
    energy_yuan: Floats


def schedule(grid: Grid, rule: Rule) -> Schedule:
    """Places all jobs of the grid's snapshot by one rule."""
    jobs = grid.snapshot.jobs
    arrivals = [(job.spec.earliest_start_at or job.submitted_at, job.id) for job in jobs]
    pool = np.full(len(jobs), -1, dtype=np.int64)
    start_s, run_s, kw = np.zeros((3, len(jobs)))
    left = Left(grid)
    for i in sorted(range(len(jobs)), key=arrivals.__getitem__):
        ask = grid.ask(jobs[i])
        found = _place(left, ask, grid.regions.index(jobs[i].spec.region), rule)
        if found is not None:
            at, slot = found
            start_s[i] = slot * grid.snapshot.slot_s
            pool[i], run_s[i], kw[i] = ask.pools[at], ask.run_s[at], ask.kw[at]
    energy_yuan = grid.energy_yuan(pool, start_s, run_s, kw)
    return Schedule(pool=pool, start_s=start_s, energy_yuan=energy_yuan)


def _place(left: "Left", ask: Ask, region: int, rule: Rule) -> tuple[int, int] | None:
    """Puts a job in its place; None where there is none."""
    if not len(ask.pools) or ask.last.max() < ask.first:
        return None
    for stop in (ask.first + 1, int(ask.last.max()) + 1):
        able = left.able(ask, region, stop)
        slots = np.flatnonzero(able.any(axis=0))
        if len(slots):
            slot = int(slots[0])
            at = rule(left.grid, ask, np.flatnonzero(able[:, slot]), ask.first + slot)
            left.take(ask, region, at, ask.first + slot)
            return at, ask.first + slot
    return None


class Left:
    """What is left of a grid while jobs are put into it."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._room = grid.room.copy()
        self._power_kw, self._green_kw = grid.power_kw.copy(), grid.green_kw.copy()
        self._link_gb = grid.link_gb.copy()

    def able(self, ask: Ask, region: int, stop: int) -> Bools:
        """Which pools can start a job from ``ask.first`` up to ``stop`` (exclusive); (p, starts).

        A start is ruled out by any slot that its run touches and that lacks something.
        """
        grid, starts = self.grid, np.arange(ask.first, stop)
        window = slice(ask.first, min(stop + int(ask.touched.max()) - 1, grid.axis))
        site = grid.site[ask.pools]
        short = (self._room[ask.pools, :, window] + TOLERANCE < ask.need[:, None]).any(axis=1)
        short |= self._power_kw[site, window] + TOLERANCE < ask.kw[:, None]
        short |= self._green_kw[site, window] + TOLERANCE < ask.green_kw[:, None]
        counted = np.zeros((len(site), short.shape[1] + 1), dtype=np.int64)
        np.cumsum(short, axis=1, out=counted[:, 1:])
        begin = np.arange(len(starts))
        end = np.minimum(begin + ask.touched[:, None], short.shape[1])
        able = np.take_along_axis(counted, end, axis=1) == counted[:, : len(starts)]
        able &= starts <= ask.last[:, None]
        link_gb = self._link_gb[site, region]
        for k in range(ask.staged_gb.shape[1]):
            slot = np.minimum(starts + k, grid.axis - 1)
            able &= link_gb[:, slot] + TOLERANCE >= ask.staged_gb[:, k, None]
        return np.asarray(able)

    def take(self, ask: Ask, region: int, at: int, slot: int) -> None:
        """Holds what a run needs in every slot it touches."""
        pool = int(ask.pools[at])
        site, span = int(self.grid.site[pool]), slice(slot, slot + int(ask.touched[at]))
        self._room[pool, :, span] -= ask.need[:, None]
        self._power_kw[site, span] -= ask.kw[at]
        self._green_kw[site, span] -= ask.green_kw[at]
        staged = self._link_gb[site, region, slot : slot + ask.staged_gb.shape[1]]
        staged -= ask.staged_gb[at, : len(staged)]
