"""A user's own Ray driver, through Ray's Jobs API: the submission id is the attempt id.

Ray's job table is the record of what was started; a submission that "already exists" is adopted.
The site actor reserves the attempt's bundles first and ends all that is left last. The driver and
the Ray workers of its tasks carry the attempt's marker in their environment, on every node, and
``driver/`` keeps them within the bundles. Used in the bridge's process only.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from agents.executor import driver_leash
from agents.executor.base import Observation
from agents.executor.driver.westward_capture import GROUP_VARIABLE
from agents.executor.driver_leash import exit_code_of
from agents.executor.gang import observation_at
from agents.executor.launch import (
    Ending,
    LaunchError,
    attempt_environment,
    finish,
    last_line,
    prepare,
    signal_name,
)
from agents.executor.reservation import Released, Reserved
from agents.executor.wire import NODE_LABEL, Order
from agents.executor.worker import LeashAddress
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import ReasonCode

log = structlog.get_logger()

# The Jobs API pushes nothing.
POLL_S = 0.5
CALL_TIMEOUT_S = 10.0
# A dashboard that answers nothing for so long fails its jobs.
SILENCE_MAX_S = 30.0
# What the last lines of a finished driver may take to arrive.
LOGS_WAIT_S = 5.0
FOLLOW_AGAIN_S = 1.0
# How often its files are closed again on a full disk.
CLOSE_AGAIN_S = 5.0


class JobsError(Exception):
    """The Jobs API refused or failed."""


class SilenceError(JobsError):
    """The Jobs API did not answer: what was asked may have been done, or may yet be."""


@dataclass(slots=True)
class RunningJob:
    """One submission under way."""

    order: Order
    entrypoint: str
    started_at_s: float | None = None
    logs: asyncio.Task[None] | None = None


class JobRunner:
    """Starts and watches submissions. ``publish`` is called with every change, ``spawn`` with what
    goes on by itself: it raises RayError when ``site``, the site actor, is gone."""

    def __init__(
        self,
        *,
        dashboard_url: str | None,
        node_id: str,
        start_timeout_s: float,
        site: Any,
        publish: Callable[[Observation], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._dashboard_url = dashboard_url
        self._node_id = node_id
        self._start_timeout_s = start_timeout_s
        self._site = site
        self._publish = publish
        self._spawn = spawn
        self._client: JobSubmissionClient | None = None
        self._jobs: dict[str, RunningJob] = {}
        # A hung dashboard keeps a thread; others must still get one.
        self._threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="jobs")

    def start(self, order: Order, entrypoint: str) -> None:
        """Submits, or adopts what was submitted under this id."""
        if order.attempt_id not in self._jobs:
            job = self._jobs[order.attempt_id] = RunningJob(order, entrypoint)
            self._spawn(self._conduct(job))

    async def stop(self, attempt_id: str, grace_s: float) -> bool:
        """Has a job ended; False when there is none of this id."""
        if attempt_id not in self._jobs:
            return False
        await self._site.stop_driver.remote(attempt_id, grace_s)
        return True

    async def forget(self, attempt_id: str) -> None:
        """Drops a finished job."""
        self._jobs.pop(attempt_id, None)
        await self._site.forget_driver.remote(attempt_id)

    async def _conduct(self, job: RunningJob) -> None:
        order = job.order
        folder = order.folder(self._node_id)
        self._tell(job, AttemptState.STARTING)
        info, ending = None, None
        try:
            reserved = await self._site.reserve_driver.remote(order, self._start_timeout_s)
            if reserved.refusal is not None:
                ending = Ending(reserved.refusal.code, reserved.refusal.message)
            else:
                info = await self._drive(job, reserved)
        except LaunchError as error:
            ending = error.ending
        except RayError:
            raise
        except Exception as error:
            # Whatever the Jobs API did, an attempt must not stay in the table as if it ran.
            ending = Ending(ReasonCode.RAY_ERROR, str(error), ended_at_s=time.time())
        released = await self._site.release_driver.remote(order.attempt_id)
        if released.over is not None:
            # At once, as a lease may be about to expire: its last lines tell nothing more.
            self._tell(job, *_verdict(_ending_of(info, released.exit_code, ""), released))
        if job.logs is not None:
            await asyncio.wait([job.logs], timeout=LOGS_WAIT_S)
            job.logs.cancel()
        last = last_line(folder / "rank-0.stdout")
        state, ending = _verdict(ending or _ending_of(info, released.exit_code, last), released)
        if not await _closed(folder, ending):
            self._spawn(_close_later(folder, ending))
        if released.over is None:
            self._tell(job, state, ending)

    async def _drive(self, job: RunningJob, reserved: Reserved) -> Any:
        """What Ray says of the job when it is over; None when the site actor has stopped it."""
        stopped = asyncio.create_task(_over(self._site.driver_stopped.remote(job.order.attempt_id)))
        run = asyncio.create_task(self._run(job, reserved))
        try:
            await asyncio.wait((stopped, run), return_when=asyncio.FIRST_COMPLETED)
            return run.result() if run.done() else stopped.result()
        finally:
            stopped.cancel()
            run.cancel()

    async def _run(self, job: RunningJob, reserved: Reserved) -> Any:
        # Without a group it was started before: Ray knows how that goes, or how it ended.
        if reserved.leash_at is not None:
            cwd = await asyncio.to_thread(_unpacked, job.order, job.order.folder(self._node_id))
            await self._submit(job, reserved.group, reserved.leash_at, cwd)
        job.logs = asyncio.create_task(self._copy_logs(job.order))
        return await self._watch(job)

    async def _submit(
        self, job: RunningJob, group: str, leash_at: LeashAddress, cwd: Path | None
    ) -> None:
        """Submits until Ray has said yes or no. It may have said so to an earlier call, or to an
        earlier bridge, that did not hear it."""
        attempt_id = job.order.attempt_id
        runtime_env = _runtime_env(job.order, group, cwd)
        entrypoint = driver_leash.command(
            leash_at.host, leash_at.port, attempt_id, leash_at.secret, job.entrypoint
        )
        gives_up_at = time.monotonic() + SILENCE_MAX_S
        while True:
            try:
                await self._call(
                    lambda client: client.submit_job(
                        entrypoint=entrypoint,
                        submission_id=attempt_id,
                        runtime_env=runtime_env,
                        entrypoint_label_selector={NODE_LABEL: job.order.nodes[0]},
                    )
                )
            except RuntimeError as error:
                if "already exists" in str(error):
                    return
                raise JobsError(f"Ray's Jobs API refused the entrypoint: {error}") from error
            except SilenceError:
                if time.monotonic() > gives_up_at:
                    raise
                await asyncio.sleep(POLL_S)
            else:
                return

    async def _watch(self, job: RunningJob) -> Any:
        attempt_id = job.order.attempt_id
        heard_at = time.monotonic()
        while True:
            try:
                info = await self._call(lambda client: client.get_job_info(attempt_id))
                heard_at = time.monotonic()
            except (JobsError, RuntimeError) as error:
                if time.monotonic() - heard_at > SILENCE_MAX_S:
                    raise JobsError(
                        f"Ray's dashboard at {self._dashboard_url} has told nothing of the job for"
                        f" {SILENCE_MAX_S:g} s: {error}"
                    ) from error
            else:
                if info.status is not JobStatus.PENDING and job.started_at_s is None:
                    job.started_at_s = (info.start_time or time.time() * 1000) / 1000
                    self._tell(job, AttemptState.RUNNING)
                if info.status.is_terminal():
                    return info
            await asyncio.sleep(POLL_S)

    async def _copy_logs(self, order: Order) -> None:
        """Copies the driver's output to its end, however often the dashboard breaks on the way."""
        while True:
            try:
                await self._follow(order)
            except (JobsError, RuntimeError, OSError, aiohttp.ClientError) as error:
                log.warning("driver_output_broke", attempt=order.attempt_id, why=str(error))
                await asyncio.sleep(FOLLOW_AGAIN_S)
            else:
                return

    async def _follow(self, order: Order) -> None:
        """Follows the driver's output; what the file already has is skipped."""
        path = order.folder(self._node_id) / "rank-0.stdout"
        client = await self._connected()
        with path.open("ab", buffering=0) as file:
            skip = file.tell()
            async for text in client.tail_job_logs(order.attempt_id):
                data = text.encode()
                file.write(data[skip:])
                skip = max(0, skip - len(data))

    async def _connected(self) -> JobSubmissionClient:
        if self._dashboard_url is None:
            raise JobsError(
                "this cluster runs no Ray dashboard, which a Ray entrypoint needs;"
                " set `ray.dashboard_url` in the head agent's configuration"
            )
        if self._client is None:
            self._client = await self._in_thread(lambda: JobSubmissionClient(self._dashboard_url))
        return self._client

    async def _call(self, call: Callable[[JobSubmissionClient], Any]) -> Any:
        client = await self._connected()
        return await self._in_thread(lambda: call(client))

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except TimeoutError as error:
            raise SilenceError(
                f"Ray's dashboard at {self._dashboard_url} did not answer within"
                f" {CALL_TIMEOUT_S:g} s"
            ) from error
        except OSError as error:
            raise SilenceError(f"Ray's dashboard cannot be reached: {error}") from error

    def _tell(self, job: RunningJob, state: AttemptState, ending: Ending | None = None) -> None:
        self._publish(observation_at(job.order, state, job.started_at_s, ending))


def _unpacked(order: Order, folder: Path) -> Path | None:
    """The working directory; None if it has none. Raises LaunchError."""
    if order.archive is None:
        return None
    try:
        archive = Path(order.archive).read_bytes()
    except OSError as error:
        raise LaunchError(ReasonCode.WORKING_DIR, str(error)) from error
    return prepare(folder, 0, archive)


def _runtime_env(order: Order, group: str, cwd: Path | None) -> dict[str, Any]:
    env = {
        **order.env,
        **attempt_environment(order),
        GROUP_VARIABLE: group,
        # Ray lets a task that asks for no accelerator see all of them, and the driver too.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
        "WESTWARD_NODES": ",".join(order.nodes),
        "WORLD_SIZE": str(len(order.nodes)),
    }
    return {"env_vars": env} if cwd is None else {"env_vars": env, "working_dir": str(cwd)}


def _verdict(ending: Ending, released: Released) -> tuple[AttemptState, Ending]:
    if (over := released.over) is not None:
        ended = Ending(over.code, over.message, released.exit_code, ended_at_s=time.time())
        lost = over.code is ReasonCode.WORKER_LOST
        return AttemptState.FAILED if lost else AttemptState.STOPPED, ended
    succeeded = ending.code is ReasonCode.OK
    return AttemptState.SUCCEEDED if succeeded else AttemptState.FAILED, ending


def _ending_of(info: Any, exit_code: int | None, last: str) -> Ending:
    """How a driver ended, by what it told over its leash, or else by what Ray has to say."""
    ended_at_s = info.end_time / 1000 if info is not None and info.end_time else time.time()
    told = f"; last line of output: {last}" if last else ""
    if exit_code is None and info is not None and info.driver_exit_code is not None:
        exit_code = exit_code_of(info.driver_exit_code)
    if exit_code is None:
        code = ReasonCode.RAY_ERROR
        message = f"Ray: {(info and (info.message or info.status)) or 'the driver never ran'}"
    elif exit_code == 0:
        code, message = ReasonCode.OK, "the driver exited with 0"
    elif exit_code > 0:
        code, message = ReasonCode.NONZERO_EXIT, f"the driver: exit code {exit_code}{told}"
    else:
        by = signal_name(-exit_code)
        code, message = ReasonCode.KILLED, f"the driver was ended by {by}{told}"
    return Ending(code, message, exit_code, ended_at_s=ended_at_s)


async def _closed(folder: Path, ending: Ending) -> bool:
    """Says that no more will be written. A full disk does not change how a driver ended."""
    try:
        await asyncio.to_thread(finish, folder, 0, ending)
    except OSError:
        return False
    return True


async def _close_later(folder: Path, ending: Ending) -> None:
    closed = False
    while not closed:
        await asyncio.sleep(CLOSE_AGAIN_S)
        closed = await _closed(folder, ending)


async def _over(ref: Any) -> None:
    await ref
