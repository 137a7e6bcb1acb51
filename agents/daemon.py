"""The daemon on a compute node: puts its parts together and runs them until it is told to stop."""

import asyncio
import fcntl
import signal
import uuid
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import IO

import structlog

from agents import orphans
from agents.attempts import Attempts
from agents.collectors.readings import Readings
from agents.config import AgentConfig, ConfigError, Head, load
from agents.executor.base import Executor
from agents.latency import Prober
from agents.link import Handler, Link, Worker
from agents.logs import Tailer
from agents.report import Reporter
from agents.status import LOCK, Status
from agents.workdirs import WorkingDirs
from scheduler import logsetup
from westward.v1 import node_pb2

log = structlog.get_logger()

ExecutorFactory = Callable[[AgentConfig, Head], Awaitable[Executor]]


async def ray_executor(config: AgentConfig, head: Head) -> Executor:
    """The executor of a real cluster. Imported here alone: other nodes do without."""
    from agents.executor.ray_executor import RayExecutor  # noqa: PLC0415

    executor = RayExecutor(
        node_id=config.node_id,
        cluster=config.cluster,
        address=head.ray.address,
        data_dir=config.data_dir,
        dashboard_url=head.ray.dashboard_url,
        auth_token_file=head.ray.auth_token_file,
    )
    await executor.open()
    return executor


async def run(config: AgentConfig, *, executor_factory: ExecutorFactory = ray_executor) -> None:
    """Runs until cancelled. Attempts keep running afterwards; the next daemon finds them.

    Raises:
        ConfigError: the data directory cannot be used, or another daemon uses it.
    """
    with _own_folder(config):
        await _run(config, executor_factory)


def _own_folder(config: AgentConfig) -> IO[bytes]:
    """Locks the node's folder until the file is closed or this process ends. A second daemon on
    it would hold no lease, and stop all that the first one runs."""
    try:
        (config.node_dir / "attempts").mkdir(parents=True, exist_ok=True)
        lock = (config.node_dir / LOCK).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise
        return lock
    except BlockingIOError as error:
        raise ConfigError(
            f"node_id = {config.node_id!r}: another agent runs on {config.node_dir}; stop it first"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"data_dir = {str(config.data_dir)!r}: cannot be used: {error}"
        ) from error


async def _run(config: AgentConfig, executor_factory: ExecutorFactory) -> None:
    attempts_dir = config.node_dir / "attempts"
    tailer = Tailer(attempts_dir)
    prober = Prober(config.cluster)
    readings = Readings.configured(config)
    reporter = Reporter(readings, prober)
    handlers: dict[str, Handler] = {
        "report_ack": reporter.on_ack,
        "log_ack": tailer.on_ack,
        "probe_duty": prober.on_duty,
    }
    workers: list[Worker] = [reporter.run, tailer.run]
    executor: Executor | None = None
    attempts: Attempts | None = None
    if config.head is not None:
        working_dirs = WorkingDirs(config.node_dir / "workdirs")
        executor = await executor_factory(config, config.head)
        attempts = Attempts(executor, working_dirs, config.node_dir / "lease.json")
        handlers |= {"desired": attempts.on_desired, "working_dir_chunk": working_dirs.on_chunk}
        workers += [attempts.tell, working_dirs.run]
    link = Link(config.scheduler, _hello(config), handlers=handlers, workers=workers)
    status = Status(config, link, readings, reporter, prober)
    log.info("agent_starts", node=config.node_id, cluster=config.cluster, head=bool(config.head))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(link.run())
            group.create_task(orphans.watch(attempts_dir))
            group.create_task(readings.meter.run())
            group.create_task(status.run())
            group.create_task(reporter.watch_alone())
            if attempts is not None:
                group.create_task(attempts.run())
    finally:
        await prober.close()
        if executor is not None:
            await executor.close()


def main(config_path: Path) -> int:
    """Runs the agent until SIGTERM or SIGINT; answers the exit code, 2 for a bad configuration."""
    logsetup.configure()
    try:
        asyncio.run(_until_signal(load(config_path)))
    except ConfigError as error:
        log.error("configuration_refused", error=str(error))
        return 2
    return 0


async def _until_signal(config: AgentConfig) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = asyncio.create_task(run(config))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if running.done():
        running.result()
        return
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    log.info("agent_stopped", node=config.node_id)


def _hello(config: AgentConfig) -> node_pb2.Hello:
    return node_pb2.Hello(
        node_id=config.node_id,
        cluster=config.cluster,
        head=config.head is not None,
        agent_version=version("westward"),
        incarnation=uuid.uuid4().hex,
    )
