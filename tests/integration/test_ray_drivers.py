"""Ray drivers of the user's own: kept within what is reserved, stopped when they are told."""

import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agents.executor import processes
from agents.executor.local_cluster import LocalCluster
from agents.executor.ray_executor import RayExecutor
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode
from tests.contract.executor_cases import (
    DEADLINE_S,
    NODE,
    SECOND_NODE,
    an_assignment,
    eventually,
    final,
    folder_of,
    reason_of,
    run,
    running,
    until,
)
from tests.integration.conftest import GPUS, an_hour
from tests.integration.drivers import (
    a_driver,
    a_python_driver,
    an_executor,
    output_of,
    process_saying,
    started,
)

pytestmark = [pytest.mark.ray, pytest.mark.asyncio(loop_scope="module")]

# From the call of stop to the signal, in the process that is told to end.
SIGNAL_WITHIN_S = 2.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def executor(ray_cluster: LocalCluster, data_dir: Path) -> AsyncIterator[RayExecutor]:
    executor = an_executor(ray_cluster, data_dir)
    executor.hold(an_hour())
    await executor.open()
    yield executor
    await executor.close()


DESCENDANTS = """
import json, os, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as InGroup

ray.init()

def here():
    group = ray.util.get_current_placement_group()
    return [ray.get_runtime_context().get_node_id(), group and group.id.hex(),
            os.environ.get("CUDA_VISIBLE_DEVICES")]

@ray.remote(num_cpus=0.1)
def task(depth, **options):
    below = ray.get(task.options(**options).remote(depth - 1)) if depth else []
    return [here(), *below]

@ray.remote
class Actor:
    def spread(self):
        return ray.get(task.remote(1, scheduling_strategy="SPREAD"))
    def in_a_group(self):
        group = ray.util.placement_group([{"CPU": 0.5}, {"CPU": 0.5}])
        ray.get(group.ready())
        of_second = task.options(scheduling_strategy=InGroup(group, 1)).remote(1)
        found = ray.get(of_second)
        ray.util.remove_placement_group(group)
        return found

actor = Actor.remote()
labels = {node["NodeID"]: node["Labels"]["westward-node"] for node in ray.nodes()}
head = [node for node, label in labels.items() if label == "node-1"][0]
soft = NodeAffinitySchedulingStrategy(head, soft=True)
seen = [here()]
seen += ray.get(task.remote(2)) + ray.get(task.options(scheduling_strategy="DEFAULT").remote(0))
seen += ray.get(task.options(scheduling_strategy=soft).remote(0))
seen += ray.get(actor.spread.remote()) + ray.get(actor.in_a_group.remote())
with_gpu = ray.get([task.options(num_gpus=1).remote(0) for _ in range(2)])
print(json.dumps({
    # The driver's own is a guess where one machine has several.
    "nodes": sorted({labels[node] for node, _, _ in seen[1:]}),
    "driver on": os.environ["WESTWARD_LOCAL_NODE"],
    "groups": sorted({group for _, group, _ in seen}),
    "reserved": os.environ["WESTWARD_PLACEMENT_GROUP"],
    "gpus": sorted(given[0][2] for given in with_gpu),
    "others": sorted({str(given) for _, _, given in seen}),
    "count": len(seen),
}))
"""


async def test_all_that_a_driver_starts_is_in_its_reservation(
    executor: RayExecutor, data_dir: Path, tmp_path: Path
) -> None:
    two = (SECOND_NODE, SECOND_NODE)
    driver = a_python_driver("whole-1", DESCENDANTS, tmp_path, nodes=two, gpus=1, cpus=1.5)
    seen = await run(executor, driver)
    assert seen.state is AttemptState.SUCCEEDED, (seen, output_of(data_dir, driver))
    told = json.loads(output_of(data_dir, driver).strip().splitlines()[-1])
    assert told["nodes"] == [SECOND_NODE]
    assert told["driver on"] == SECOND_NODE
    assert told["groups"] == [told["reserved"]]
    # One after the other they may be given the same one.
    assert {*told["gpus"]} <= {str(gpu) for gpu in range(GPUS)}
    assert told["others"] == [""]
    assert told["count"] == 10


LEADS_OUT = """
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

@ray.remote(num_cpus=1)
def task():
    pass

head = [n["NodeID"] for n in ray.nodes() if n["Labels"]["westward-node"] == "node-1"][0]
there = NodeAffinitySchedulingStrategy(head, soft=False)
ways = {
    "too big a task": lambda: task.options(num_gpus=1).remote(),
    "another node": lambda: task.options(scheduling_strategy=there).remote(),
    "too big a group": lambda: ray.util.placement_group([{"CPU": 2}]),
    "another cluster": lambda: ray.init(address="local"),
    "Ray's client": lambda: ray.init("ray://127.0.0.1:10001"),
}
for name, way in ways.items():
    try:
        way()
    except ValueError as error:
        print("refused", name, error)
"""


async def test_what_leads_out_of_the_reservation_is_refused(
    executor: RayExecutor, data_dir: Path, tmp_path: Path
) -> None:
    driver = a_python_driver("out-1", f"import ray; ray.init()\n{LEADS_OUT}", tmp_path)
    seen = await run(executor, driver)
    assert seen.state is AttemptState.SUCCEEDED, (seen, output_of(data_dir, driver))
    assert output_of(data_dir, driver).count("refused") == 5, output_of(data_dir, driver)


async def test_resources_are_held_for_a_driver_until_it_ends(
    executor: RayExecutor, data_dir: Path
) -> None:
    driver = a_driver("held-1", "sleep 600", gpus=GPUS)
    await executor.start(driver)
    await until(executor, "held-1", running)
    gang = an_assignment("true", nodes=(SECOND_NODE,), gpus=1)
    await executor.start(gang)
    other = an_assignment("true", nodes=(NODE,), gpus=1)
    assert (await run(executor, other)).state is AttemptState.SUCCEEDED
    waiting = await until(executor, gang.attempt_id, lambda seen: True)
    assert waiting.state is AttemptState.STARTING
    await executor.stop("held-1", grace_s=0.0)
    assert (await until(executor, gang.attempt_id, final)).state is AttemptState.SUCCEEDED


async def test_a_driver_that_cannot_be_reserved_never_runs(
    ray_cluster: LocalCluster, tmp_path: Path
) -> None:
    executor = an_executor(ray_cluster, tmp_path, start_timeout_s=1.0)
    executor.hold(an_hour())
    await executor.open()
    trace = tmp_path / "trace"
    nodes = (NODE, SECOND_NODE)
    too_big = await run(executor, a_driver("big-1", f"touch {trace}", nodes=nodes, gpus=GPUS + 1))
    assert (too_big.state, reason_of(too_big)) == (AttemptState.FAILED, ReasonCode.RAY_ERROR)
    assert too_big.reason and f"{GPUS + 1} GPU" in too_big.reason.message
    unknown = await run(executor, a_driver("unknown-1", f"touch {trace}", nodes=("node-9",)))
    assert reason_of(unknown) is ReasonCode.RAY_ERROR
    assert unknown.reason and "westward-node=node-9" in unknown.reason.message
    assert not trace.exists()
    await executor.close()


async def test_the_signal_is_prompt_for_a_driver_and_its_grace_is_kept(
    executor: RayExecutor, data_dir: Path, tmp_path: Path
) -> None:
    told, saved = tmp_path / "told", tmp_path / "saved"
    # Longer than Ray itself would wait.
    trap = f"trap 'date +%s.%N > {told}; sleep 4; touch {saved}; exit 0' TERM"
    driver = a_driver("prompt-1", f"{trap}; echo up; while :; do sleep 0.02; done")
    await started(executor, data_dir, driver, "up")
    asked_at_s = time.time()
    await executor.stop("prompt-1", grace_s=20.0)
    seen = await until(executor, "prompt-1", final)
    assert (seen.state, seen.exit_code) == (AttemptState.STOPPED, 0), seen
    assert saved.exists()
    assert float(told.read_text()) - asked_at_s < SIGNAL_WITHIN_S
    assert processes.find("prompt-1") == []


async def test_the_signal_is_prompt_for_a_command(
    executor: RayExecutor, data_dir: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    trap = f"trap 'date +%s.%N > {told}; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    command = an_assignment("bash", "-c", trap)
    await executor.start(command)
    out = folder_of(data_dir, command) / "rank-0.stdout"
    await eventually(lambda: out.exists() and "up" in out.read_text(), within_s=DEADLINE_S)
    asked_at_s = time.time()
    await executor.stop(command.attempt_id, grace_s=20.0)
    await until(executor, command.attempt_id, final)
    assert float(told.read_text()) - asked_at_s < SIGNAL_WITHIN_S


async def test_a_driver_that_does_not_listen_is_killed_after_its_grace(
    executor: RayExecutor, data_dir: Path
) -> None:
    deaf = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 600' & echo up; sleep 600; sleep 600"
    driver = a_driver("deaf-1", deaf)
    await started(executor, data_dir, driver, "up")
    await executor.stop("deaf-1", grace_s=600.0)
    await executor.stop("deaf-1", grace_s=0.5)
    seen = await until(executor, "deaf-1", final, within_s=15.0)
    assert (seen.state, seen.exit_code) == (AttemptState.STOPPED, -signal.SIGKILL)
    assert processes.find("deaf-1") == []


async def test_a_driver_killed_for_memory(executor: RayExecutor, data_dir: Path) -> None:
    driver = a_driver(
        "oom-1", "echo up; python -c 'import time; print(12); time.sleep(600)'; exit $?"
    )
    await started(executor, data_dir, driver, "12")
    # The kernel kills the biggest process; the shell around it tells of that.
    found = process_saying("-c\0import time; print", [f"{processes.ATTEMPT_VARIABLE}=oom-1"])
    processes.send(found, signal.SIGKILL)
    seen = await until(executor, "oom-1", final)
    assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.KILLED)
    assert seen.exit_code == -signal.SIGKILL
    assert seen.reason and "SIGKILL" in seen.reason.message
