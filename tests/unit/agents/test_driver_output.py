"""A driver's output on its way from Ray's dashboard to the host's disk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.executor import jobs
from agents.executor.wire import Order

OUTPUT = ["epoch 1\n", "loss 0.5 ¥\n", "epoch 2\n"]


class BreakingDashboard:
    """Tells the output from its beginning each time, and breaks after ``lasts`` pieces."""

    def __init__(self, lasts: list[int]) -> None:
        self._lasts = lasts
        self.asked = 0

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        lasts = self._lasts[self.asked]
        self.asked += 1
        for piece in OUTPUT[:lasts]:
            yield piece
        if lasts < len(OUTPUT):
            raise RuntimeError("WebSocket connection closed unexpectedly")


async def test_output_is_whole_and_once_though_the_dashboard_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "FOLLOW_AGAIN_S", 0.0)
    order = Order(
        attempt_id="j1-1",
        job_id="j1",
        epoch=1,
        number=1,
        nodes=["qingyang-1"],
        gpus=0,
        cpus=1,
        memory_gb=1,
        env={},
        argv=None,
        entrypoint="python train.py",
        archive=None,
        data_dir=str(tmp_path),
        cluster="qingyang",
    )
    folder = order.folder("qingyang-1")
    folder.mkdir(parents=True)
    runner = jobs.JobRunner(
        dashboard_url="http://127.0.0.1:1",
        node_id="qingyang-1",
        start_timeout_s=1.0,
        site=None,
        publish=lambda observation: None,
        spawn=lambda work: None,
    )
    dashboard = BreakingDashboard([2, 0, 3])
    monkeypatch.setattr(runner, "_client", dashboard)

    await runner._copy_logs(order)

    assert (folder / "rank-0.stdout").read_text() == "".join(OUTPUT)
    assert dashboard.asked == 3
