"""The process between the agent daemon and Ray: ``python -m agents.executor.bridge``.

Whatever Ray's driver does when its cluster goes away (hang, abort, exit), it does here and not in
the daemon, which starts another one. Messages come on stdin and go to stdout; the first one in is
``connect``, the first one out ``hello`` with all that the site actor knows. Any trouble with Ray
ends the process: attempts belong to the site actor and are not touched by that.
"""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from agents.executor import keeper, processes, wire
from agents.executor.base import Observation
from agents.executor.jobs import JobRunner
from agents.executor.wire import Order
from agents.lease import Lease
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode

LONG_POLL_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the daemon tells its bridge first."""

    address: str
    dashboard_url: str | None
    node_id: str
    start_timeout_s: float


class Bridge:
    """Carries orders to the site actor and what it observes back."""

    def __init__(self, settings: Settings, site: Any, out: asyncio.StreamWriter) -> None:
        self._settings = settings
        self._site = site
        self._out = out
        self._tasks: asyncio.TaskGroup = asyncio.TaskGroup()
        self._jobs = JobRunner(
            dashboard_url=settings.dashboard_url,
            node_id=settings.node_id,
            start_timeout_s=settings.start_timeout_s,
            site=site,
            publish=lambda observation: self._tell_observed([observation]),
            spawn=self._tasks.create_task,
        )
        # Started by an earlier bridge.
        self._adopted: Set[str] = frozenset()
        # One command of an attempt after the other: a stop must not overtake its start.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self, commands: asyncio.StreamReader) -> None:
        """Returns when the daemon is gone; raises RayError when Ray or the site actor is."""
        identity = await self._site.open.remote()
        if (spoken := identity.get("protocol")) != wire.PROTOCOL:
            # Its attempts end with it, are reported as lost, and tried again.
            ray.kill(self._site)
            told = f"the site actor spoke protocol {spoken}, not {wire.PROTOCOL}; it was ended"
            raise RuntimeError(told)
        version, known = await self._site.changes.remote(0, 0.0)
        self._adopted = frozenset(message["attempt_id"] for message in known)
        self._tell({"kind": "hello", **identity, "attempts": known})
        async with self._tasks:
            follower = self._tasks.create_task(self._follow(version))
            while (message := await wire.read(commands)) is not None:
                if message["kind"] == "hold":
                    # Before what follows is started: the lease it has may have ended.
                    await self._site.hold.remote(Lease(**message["lease"]))
                else:
                    self._tasks.create_task(self._obey(message))
            # Nobody listens any more; what is under way is of no interest.
            await self._out.drain()
            follower.cancel()
            os._exit(0)

    async def _follow(self, version: int) -> None:
        while True:
            version, changed = await self._site.changes.remote(version, LONG_POLL_S)
            if changed:
                self._tell({"kind": "observed", "attempts": changed})

    async def _obey(self, message: wire.Message) -> None:
        match message["kind"]:
            case "ping":
                await self._site.ping.remote()
                self._tell({"kind": "pong"})
            case "start":
                order = Order(**message["order"])
                async with self._turns[order.attempt_id]:
                    await self._start(order)
            case "stop":
                async with self._turns[message["attempt_id"]]:
                    if not await self._jobs.stop(message["attempt_id"], message["grace_s"]):
                        await self._site.stop.remote(message["attempt_id"], message["grace_s"])
            case "forget":
                async with self._turns.pop(message["attempt_id"], asyncio.Lock()):
                    await self._jobs.forget(message["attempt_id"])
                    await self._site.forget.remote(message["attempt_id"])

    async def _start(self, order: Order) -> None:
        if order.entrypoint is not None:
            self._jobs.start(order, order.entrypoint)
            return
        if order.attempt_id in self._adopted:
            # Its archive may be gone by now, which says nothing of it.
            return
        try:
            archive: bytes | None = None
            if order.archive is not None:
                archive = await asyncio.to_thread(Path(order.archive).read_bytes)
        except OSError as error:
            self._tell_observed([refused(order, ReasonCode.WORKING_DIR, str(error))])
            return
        await self._site.start.remote(order, archive, self._settings.start_timeout_s)

    def _tell_observed(self, observations: list[Observation]) -> None:
        messages = [wire.observation_message(observation) for observation in observations]
        self._tell({"kind": "observed", "attempts": messages})

    def _tell(self, message: wire.Message) -> None:
        self._out.write(wire.encode(message))


def refused(order: Order, code: ReasonCode, message: str) -> Observation:
    """An attempt that failed before any process of it ran."""
    return Observation(
        attempt_id=order.attempt_id,
        epoch=order.epoch,
        state=AttemptState.FAILED,
        reason=Reason(code, message),
    )


async def serve(out_fd: int) -> None:
    """Connects to Ray as the daemon says, and serves it."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=wire.MESSAGE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), os.fdopen(out_fd, "wb")
    )
    out = asyncio.StreamWriter(transport, protocol, None, loop)
    connect = await wire.read(commands)
    if connect is None:
        return
    settings = Settings(**connect["settings"])
    await asyncio.to_thread(keeper.connect, settings.address)
    site = await asyncio.to_thread(keeper.find_site, settings.address)
    await Bridge(settings, site, out).run(commands)


def main() -> int:
    """Runs until the daemon or Ray is gone."""
    processes.die_with_parent(os.getppid())
    # Ray and its libraries print; stdout is ours alone.
    out_fd = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        asyncio.run(serve(out_fd))
    except* (RayError, ConnectionError, RuntimeError) as group:
        for error in group.exceptions:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.stderr.flush()
        # Ray's own shutdown may wait for a cluster that is gone.
        os._exit(1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
