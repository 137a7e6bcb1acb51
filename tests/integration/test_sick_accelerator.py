"""A GPU that falls sick: gone from the next report on, and the attempt on it is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.config import Accelerators
from tests.fakes.agent import agent, config
from tests.fakes.executor import MemoryExecutor
from tests.fakes.node_service import FakeScheduler, served
from tests.fakes.nvml import FakeGpu, FakeNvml

ATTEMPT = "01jsick-1"
SICK = "[westward: accelerator GPU-2 is sick and withdrawn: XID 79]"


def running(folder: Path) -> subprocess.Popen[bytes]:
    """What a worker of the attempt looks like on its node, which Ray gave GPU 2."""
    attempt = folder / "qingyang-1" / "attempts" / ATTEMPT
    attempt.mkdir(parents=True)
    (attempt / "rank-0.stderr").touch()
    sight = {
        "PATH": os.environ["PATH"],
        "WESTWARD_ATTEMPT_ID": ATTEMPT,
        "WESTWARD_NODE_ID": "qingyang-1",
        "CUDA_VISIBLE_DEVICES": "2",
    }
    return subprocess.Popen(["sleep", "60"], env=sight)


async def test_a_sick_gpu_is_withdrawn_within_one_report_and_its_attempt_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = FakeNvml(*(FakeGpu(f"GPU-{index}", energy_j=0.0) for index in range(8)))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    scheduler = FakeScheduler()
    worker = running(tmp_path)
    try:
        async with served(scheduler) as port:
            settings = config(tmp_path, port, head=False).model_copy(
                update={"accelerators": Accelerators(source="nvidia")}
            )
            async with agent(settings, MemoryExecutor()):
                await scheduler.until(lambda: scheduler.streams and scheduler.streams[0].reports)
                stream = scheduler.streams[0]
                assert stream.reports[0].report.node.gpus == 8

                def metered() -> bool:
                    """By the GPU's own counter, which goes on while the attempt runs."""
                    assert nvml.gpus[2].energy_j is not None
                    nvml.gpus[2].energy_j += 3.6e5
                    return any(e.kwh > 0 for r in stream.reports for e in r.report.energy)

                await scheduler.until(metered)
                before = len(stream.reports)
                nvml.events.append((nvml.gpus[2], 79))
                await scheduler.until(lambda: len(stream.reports) >= before + 3)
    finally:
        worker.kill()
        worker.wait()
    reports = [request.report for request in stream.reports]
    told = [place for place, report in enumerate(reports) if report.node.sick]
    # One may have been on its way when the GPU fell sick.
    assert told and told[0] <= before + 1
    for place in told:
        node = reports[place].node
        assert (node.gpus, len(node.sick)) == (7, 1)
        assert (node.sick[0].id, node.sick[0].reason) == ("GPU-2", "XID 79")
        assert list(node.sick[0].attempt_ids) == [ATTEMPT]
    energy = [one for report in reports for one in report.energy][-1]
    assert (energy.attempt_id, energy.gpus, energy.estimated_kwh) == (ATTEMPT, 1, 0.0)
    stderr = tmp_path / "qingyang-1" / "attempts" / ATTEMPT / "rank-0.stderr"
    assert stderr.read_text().count(SICK) == 1
