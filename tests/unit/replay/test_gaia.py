"""The clock, the sums and the bound on a published trace: GAIA (ASPLOS 2024) without reserved CPUs.

Its grid is a world whose price is the carbon intensity; see bench/data/gaia/SOURCE.md for the rules
and where the figures come from.
"""

from pathlib import Path

import pytest

from scheduler.replay import world
from scheduler.replay.bound import lower_bound
from scheduler.replay.case import ReplayCase
from scheduler.replay.engine import replay
from scheduler.replay.metrics import measure
from scheduler.replay.traces import gaia

DATA = Path(__file__).resolve().parents[3] / "bench" / "data"
NO_WAIT = 562.17126
LEAST = 344.0284


def test_starting_at_once_and_the_least_that_is_possible() -> None:
    grid = world.load(DATA / "worlds" / "gaia.yaml")
    trace = gaia.read(DATA / "gaia" / "pai_1k.csv", start_at=grid.start_at, exact=True)
    case = ReplayCase(name="gaia", world=grid.world, jobs=trace.jobs, start_at=grid.start_at)
    outcome = replay(case, "fifo", gather_s=0)
    metrics = measure(outcome).metrics
    assert metrics.energy_yuan == pytest.approx(NO_WAIT, abs=1e-5)
    assert (metrics.wait_mean_s, metrics.unplaced_jobs) == (0.0, 0)
    assert lower_bound([outcome], metrics.energy_yuan).energy_yuan == pytest.approx(LEAST, abs=5e-5)
