"""How the bridge conducts a Ray driver; the site actor and the Jobs API are played by the test."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from agents.executor import jobs, wire
from agents.executor.base import Observation
from agents.executor.jobs import JobRunner
from agents.executor.reservation import Released, Reserved
from agents.executor.wire import Order
from agents.executor.worker import LeashAddress
from scheduler.domain.job import AttemptState, RayEntrypoint
from scheduler.domain.reason import Reason, ReasonCode
from tests.contract.executor_cases import NODE, an_assignment, eventually


class Site:
    """Answers every driver alike, and knows which were released."""

    def __init__(self, reserved: Reserved) -> None:
        self.released: list[str] = []
        self._reserved = reserved
        self.reserve_driver = SimpleNamespace(remote=self._reserve)
        self.driver_stopped = SimpleNamespace(remote=self._stopped)
        self.release_driver = SimpleNamespace(remote=self._release)

    async def _reserve(self, order: Order, start_timeout_s: float) -> Reserved:
        return self._reserved

    async def _stopped(self, attempt_id: str) -> None:
        await asyncio.Event().wait()

    async def _release(self, attempt_id: str) -> Released:
        self.released.append(attempt_id)
        return Released(None, None)


class Dashboard:
    """Says that every job has ended well."""

    def get_job_info(self, attempt_id: str) -> SimpleNamespace:
        now_ms = time.time() * 1000
        return SimpleNamespace(
            status=JobStatus.SUCCEEDED, start_time=now_ms, end_time=now_ms, driver_exit_code=0
        )

    async def tail_job_logs(self, attempt_id: str) -> AsyncIterator[str]:
        yield "done\n"


Conduct = Callable[[Reserved, Order], Coroutine[Any, Any, list[Observation]]]


@pytest.fixture
def conduct() -> Conduct:
    async def conduct(reserved: Reserved, order: Order) -> list[Observation]:
        """All that is told of a driver."""
        told: list[Observation] = []
        async with asyncio.TaskGroup() as tasks:
            site = Site(reserved)
            runner = JobRunner(
                dashboard_url="http://127.0.0.1:1",
                node_id=NODE,
                start_timeout_s=1.0,
                site=site,
                publish=told.append,
                spawn=tasks.create_task,
            )
            runner._client = Dashboard()  # type: ignore[assignment]
            runner.start(order, "true")
            await eventually(lambda: bool(told) and told[-1].state.final)
            assert site.released == [order.attempt_id]
        return told

    return conduct


def an_order(data_dir: Path) -> Order:
    """Its archive is not on the disk any more."""
    assignment = replace(
        an_assignment(working_dir=data_dir / "dropped.tar.gz"), work=RayEntrypoint("true")
    )
    order = wire.order_of(assignment, data_dir=data_dir, cluster="test")
    # The executor's record is in it.
    order.folder(NODE).mkdir(parents=True)
    return order


async def test_a_driver_that_was_started_needs_no_archive_any_more(
    conduct: Conduct, tmp_path: Path
) -> None:
    told = await conduct(Reserved(), an_order(tmp_path))
    assert told[-1].state is AttemptState.SUCCEEDED, told


async def test_one_that_was_not_started_does(conduct: Conduct, tmp_path: Path) -> None:
    reserved = Reserved("ab", LeashAddress("unused", 0, "unused"))
    (*_, last) = await conduct(reserved, an_order(tmp_path))
    assert last.reason is not None and last.reason.code is ReasonCode.WORKING_DIR


async def test_a_full_disk_does_not_end_the_bridge(
    conduct: Conduct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = an_order(tmp_path)
    finish, failed = jobs.finish, []

    def full_at_first(*values: Any) -> None:
        if not failed:
            failed.append(values)
            raise OSError(28, "No space left on device")
        finish(*values)

    monkeypatch.setattr(jobs, "finish", full_at_first)
    monkeypatch.setattr(jobs, "CLOSE_AGAIN_S", 0.01)
    refusal = Reason(ReasonCode.RAY_ERROR, "no room")
    (*_, last) = await conduct(Reserved(refusal=refusal), order)
    assert last.reason == refusal
    await eventually((order.folder(NODE) / "rank-0.done").exists)
