"""A sick accelerator that Ray still has: nothing of an attempt runs on it, and then nobody gets it.

Ray gives the lowest free accelerator first, so that the first attempt of each node meets the one
that is called sick here.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agents import sickfile
from agents.collectors.accelerators import Sick
from agents.executor.base import Assignment
from agents.executor.local_cluster import LocalCluster
from agents.executor.ray_executor import RayExecutor
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode
from tests.contract.executor_cases import (
    NODE,
    SECOND_NODE,
    an_assignment,
    final,
    folder_of,
    run,
    until,
)
from tests.integration.conftest import GPUS, an_hour
from tests.integration.drivers import a_driver, an_executor

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

SICK = (Sick(0, "GPU-0", "XID 79"),)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def executor(ray_cluster: LocalCluster, data_dir: Path) -> AsyncIterator[RayExecutor]:
    executor = an_executor(ray_cluster, data_dir)
    executor.hold(an_hour())
    await executor.open()
    for node_id in (NODE, SECOND_NODE):
        (data_dir / node_id).mkdir(exist_ok=True)
    yield executor
    await executor.close()


def telling(node_id: str) -> Assignment:
    told = ("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 0.5")
    return an_assignment(*told, nodes=(node_id,), gpus=1)


async def test_an_attempt_never_runs_on_it_and_the_next_get_others(
    executor: RayExecutor, data_dir: Path
) -> None:
    sickfile.write(data_dir / NODE, SICK)
    gang = an_assignment("touch", str(data_dir / "ran"), nodes=(SECOND_NODE, NODE), gpus=1)
    seen = await run(executor, gang)
    assert (seen.state, seen.exit_code, seen.started_at_s) == (AttemptState.FAILED, None, None)
    assert seen.reason is not None and seen.reason.code is ReasonCode.ACCELERATOR_SICK
    assert seen.reason.message == f"worker 1 on {NODE} was given a sick accelerator (GPU-0: XID 79)"
    assert not (data_dir / "ran").exists(), "the other worker's accelerator was well"

    others = [telling(NODE) for _ in range(GPUS - 1)]
    for assignment in others:
        await executor.start(assignment)
    given = set()
    for assignment in others:
        ended = await until(executor, assignment.attempt_id, final)
        assert ended.state is AttemptState.SUCCEEDED, ended
        given.add((folder_of(data_dir, assignment) / "rank-0.stdout").read_text().strip())
    assert given <= {"1", "2", "3"}

    sickfile.write(data_dir / NODE, ())
    whole = await run(executor, an_assignment("true", nodes=(NODE,), gpus=GPUS))
    assert whole.state is AttemptState.SUCCEEDED, whole


async def test_a_driver_gets_no_bundle_with_it(executor: RayExecutor, data_dir: Path) -> None:
    sickfile.write(data_dir / SECOND_NODE, SICK)
    refused = await run(executor, a_driver("sick-1", "true", gpus=1))
    assert refused.reason is not None and refused.reason.code is ReasonCode.ACCELERATOR_SICK
    after = await run(executor, a_driver("sick-2", "true", gpus=1))
    assert after.state is AttemptState.SUCCEEDED, after
    sickfile.write(data_dir / SECOND_NODE, ())
