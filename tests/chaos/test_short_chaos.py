"""A short seeded chaos run on real Ray; `make chaos` is the long one."""

import pytest

from tests.chaos.run import run
from tests.chaos.stage import staged

SEED = 7
FAULTS = 18
JOBS = 24
OVER_S = 15.0
# What Ray's own head and a full disk do takes longer than a test may.
KINDS = frozenset(
    {
        "scheduler killed",
        "agent killed",
        "bridge killed",
        "ray worker killed",
        "job process killed",
        "stream cut",
        "stream partitioned",
        "stream delayed",
        "stream repeats",
    }
)


@pytest.mark.ray
@pytest.mark.timeout(400)
async def test_no_job_is_lost_and_none_runs_twice_at_once() -> None:
    async with staged([1], small_disk=False) as (stage, folder):
        report = await run(stage, seed=SEED, jobs=JOBS, faults=FAULTS, over_s=OVER_S, kinds=KINDS)
        assert not report.violations, f"the logs are in {folder}"
        assert report.states.total() == JOBS
        assert report.states["SUCCEEDED"] > JOBS / 2
        assert report.faults.total() > FAULTS / 2
        assert report.lives > JOBS / 2
