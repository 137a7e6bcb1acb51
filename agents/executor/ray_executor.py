"""Runs attempts in the cluster's Ray, from the agent daemon on its head node.

Ray itself is only touched by the bridge, a child process. The executor keeps the table of attempts,
on disk too, and compares it with what each site actor says when a bridge has connected:

- the same actor as before: nothing was lost; what it does not know is sent again;
- another actor: the old one is gone, and every unfinished attempt that may have been started in
  it is FAILED with RAY_LOST, once its processes cannot be alive any more.
"""

import asyncio
import signal
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import structlog

from agents.executor import processes, wire
from agents.executor.base import Assignment, Observation
from agents.executor.bridge_process import BridgeLostError, BridgeProcess
from agents.executor.launch import Ending, finish
from agents.executor.probe import reachable
from agents.executor.records import Record, Records
from agents.executor.wire import Order
from agents.lease import GRACE_S, SLACK_S, Lease, lease_clock_s
from agents.waiting import wait
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode

# A worker ends by itself this long after its site actor is gone: at once when the kernel closes the
# leash, or when TCP gives a silent host up (see wire.keep_alive).
FENCE_S = 5.0
PING_EVERY_S = 1.0
# A bridge that answers nothing for this long is replaced.
SILENCE_MAX_S = 8.0
CONNECT_TIMEOUT_S = 60.0
# A GCS that refuses connections twice in a row is gone.
GCS_MISSES_MAX = 2
RETRY_S = 0.5
RETRY_MAX_S = 5.0
LEASE_LOOK_S = 0.5
# After its grace a stopped attempt that is not confirmed is searched for on this host.
STOP_SLACK_S = 10.0


class RayExecutor:
    """The Executor over one Ray cluster. ``open`` first; Ray need not be up."""

    def __init__(
        self,
        *,
        node_id: str,
        cluster: str,
        address: str,
        data_dir: Path,
        dashboard_url: str | None = None,
        auth_token_file: Path | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        self._node_id = node_id
        self._cluster = cluster
        self._address = address
        self._data_dir = data_dir
        self._settings = {
            "address": address,
            "dashboard_url": dashboard_url,
            "node_id": node_id,
            "start_timeout_s": start_timeout_s,
        }
        self._bridge_log = data_dir / node_id / "bridge.log"
        self._bridge_env = {"RAY_USAGE_STATS_ENABLED": "0"}
        if auth_token_file is not None:
            self._bridge_env |= {
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN_PATH": str(auth_token_file),
            }
        self._records_store = Records(data_dir, node_id)
        self._records: dict[str, Record] = {}
        self._bridge: BridgeProcess | None = None
        self._site: str | None = None
        # The site actor's process on this host: pid and start, to be ended when Ray is given up.
        self._site_process: tuple[int, int] | None = None
        self._lease: Lease | None = None
        self._answered_at = time.monotonic()
        self._failing_since = time.monotonic()
        self._changed = asyncio.Event()
        self._changed.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger().bind(cluster=cluster, ray=address)

    async def open(self) -> None:
        """Reads what was known before and starts connecting. Call once."""
        self._records = {
            record.observation.attempt_id: record
            for record in await asyncio.to_thread(self._records_store.load)
        }
        # The scheduler may long have given up what an earlier daemon could not hand to any Ray.
        for attempt_id, record in list(self._records.items()):
            if record.site is None and not record.observation.state.final:
                told = "an earlier daemon of this node had taken it, but Ray was away"
                self._finish(attempt_id, AttemptState.FAILED, Reason(ReasonCode.RAY_LOST, told))
        self._spawn(self._serve())
        self._spawn(self._keep_to_lease())

    async def close(self) -> None:
        """Lets go of the cluster; attempts keep running."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The Executor.

    async def start(self, assignment: Assignment) -> None:
        if assignment.attempt_id in self._records:
            return
        order = wire.order_of(assignment, data_dir=self._data_dir, cluster=self._cluster)
        starting = Observation(
            attempt_id=order.attempt_id,
            epoch=order.epoch,
            state=AttemptState.STARTING,
            outlives_lease=order.outlives_lease,
        )
        record = Record(order, starting, site=self._site if self._bridge else None)
        self._put(record, durable=True)
        self._send(record)

    async def stop(self, attempt_id: str, *, grace_s: float | None = None) -> None:
        record = self._records.get(attempt_id)
        if record is None or record.observation.state.final:
            return
        if grace_s is None:
            grace_s = record.order.stop_grace_s if record.order is not None else GRACE_S
        if record.stop_grace_s is not None and record.stop_grace_s <= grace_s:
            return
        if record.site is None:
            self._finish(attempt_id, AttemptState.STOPPED, _STOPPED)
            return
        self._put(replace(record, stop_grace_s=grace_s))
        self._send(self._records[attempt_id])
        self._spawn(self._make_sure(attempt_id, grace_s))

    def hold(self, lease: Lease) -> None:
        if self._lease is None or lease.deadline_s > self._lease.deadline_s:
            self._lease = lease
            self._tell_lease()

    def _tell_lease(self) -> None:
        if self._bridge is not None and self._lease is not None:
            self._bridge.tell({"kind": "hold", "lease": asdict(self._lease)})

    def not_serving(self) -> str:
        return "" if self._bridge is not None else "Ray does not answer"

    async def observe(self, timeout_s: float) -> Sequence[Observation]:
        await wait(self._changed, timeout_s)
        self._changed.clear()
        return [record.observation for record in self._records.values()]

    async def forget(self, attempt_id: str) -> None:
        record = self._records.get(attempt_id)
        if record is None or not record.observation.state.final:
            return
        del self._records[attempt_id]
        await asyncio.to_thread(self._records_store.drop, attempt_id)
        if self._bridge is not None:
            self._bridge.tell({"kind": "forget", "attempt_id": attempt_id})

    # Staying connected.

    async def _serve(self) -> None:
        retry_s = RETRY_S
        while True:
            try:
                if await self._gcs_gone():
                    await self._ray_lost(f"nothing listens at {self._address}")
                elif await self._one_bridge():
                    retry_s = RETRY_S
                elif time.monotonic() - self._failing_since > CONNECT_TIMEOUT_S:
                    await self._ray_lost("Ray does not answer")
            except Exception:
                # Ray raises what it likes. Attempts are observed and stopped only as long as this
                # goes on: it is logged, and tried again, ever more slowly.
                self._log.exception("bridge to ray broke")
            await asyncio.sleep(retry_s)
            retry_s = min(RETRY_MAX_S, retry_s * 2)

    async def _one_bridge(self) -> bool:
        """Holds one bridge to its end; answers whether it ever connected."""
        bridge = await BridgeProcess.spawn(
            self._settings, log_path=self._bridge_log, env=self._bridge_env
        )
        try:
            await self._connect(bridge)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(bridge))
                group.create_task(self._watch(bridge))
        except* (BridgeLostError, TimeoutError, OSError) as group:
            errors = [str(error) or repr(error) for error in group.exceptions]
            self._log.warning("bridge to ray lost", errors=errors)
        finally:
            connected, self._bridge = self._bridge is not None, None
            self._changed.set()
            if connected:
                self._failing_since = time.monotonic()
            await bridge.end()
        return connected

    async def _gcs_gone(self) -> bool:
        host, port = self._address.rsplit(":", 1)
        for _ in range(GCS_MISSES_MAX):
            if await reachable(host, int(port)):
                return False
            await asyncio.sleep(RETRY_S)
        return True

    async def _connect(self, bridge: BridgeProcess) -> None:
        """Hears what the site actor knows and brings both tables together."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            hello = await bridge.hear()
        self._log.info("connected to ray", site=hello["site"], attempts=len(hello["attempts"]))
        await self._site_is(hello["site"])
        # Not before: it would be ended for what another one has left.
        self._site_process = (hello["pid"], hello["ticks"])
        try:
            self._records_store.save_site(*self._site_process)
        except OSError as error:
            self._log.error("site actor's record not kept", error=str(error))
        for message in hello["attempts"]:
            self._observed(message)
        self._bridge = bridge
        self._changed.set()
        self._answered_at = time.monotonic()
        self._tell_lease()
        for attempt_id in list(self._records):
            self._hand_over(attempt_id)

    def _hand_over(self, attempt_id: str) -> None:
        """Sends what this site actor may not have, but nothing that was started in another one:
        what is left of that may still be alive."""
        record = self._records[attempt_id]
        if record.site is None and not record.observation.state.final:
            try:
                self._put(replace(record, site=self._site), durable=True)
            except OSError as error:
                told = f"the head node cannot keep a record of it: {error}"
                self._finish(attempt_id, AttemptState.FAILED, Reason(ReasonCode.RAY_ERROR, told))
        self._send(self._records[attempt_id])

    async def _site_is(self, site: str) -> None:
        lost = self._unfinished_elsewhere(site)
        if lost:
            await asyncio.sleep(FENCE_S)
            await self._give_up(lost, "the cluster's site actor was lost")
        self._site = site

    async def _listen(self, bridge: BridgeProcess) -> None:
        while True:
            message = await bridge.hear()
            self._answered_at = time.monotonic()
            for observed in message.get("attempts", ()):
                self._observed(observed)

    async def _watch(self, bridge: BridgeProcess) -> None:
        while True:
            bridge.tell({"kind": "ping"})
            await asyncio.sleep(PING_EVERY_S)
            if time.monotonic() - self._answered_at > SILENCE_MAX_S:
                raise BridgeLostError(f"the bridge did not answer for {SILENCE_MAX_S:g} s")
            if await self._gcs_gone():
                raise BridgeLostError(f"nothing listens at {self._address}")

    # The table.

    def _observed(self, message: wire.Message) -> None:
        observation = wire.observation_of(message)
        record = self._records.get(observation.attempt_id) or Record(None, observation, self._site)
        if observation.attempt_id in self._records and record.observation.state.final:
            return
        self._put(replace(record, observation=observation, site=self._site))

    def _put(self, record: Record, *, durable: bool = False) -> None:
        """Raises OSError only for what must be ``durable``."""
        try:
            self._records_store.save(record, durable=durable)
        except OSError as error:
            if durable:
                raise
            # Observing and stopping go on when the disk is full; what the next daemon will not
            # find on it, the site actor tells it.
            self._log.error("record not kept", path=str(error.filename), error=str(error))
        self._records[record.observation.attempt_id] = record
        self._changed.set()

    def _finish(self, attempt_id: str, state: AttemptState, reason: Reason) -> None:
        record = self._records[attempt_id]
        observation = replace(
            record.observation, state=state, ended_at_s=time.time(), reason=reason
        )
        self._put(replace(record, observation=observation))

    # Ends without Ray.

    async def _keep_to_lease(self) -> None:
        """The site actor stops what runs when the lease ends. One that hangs is ended itself, just
        before: its workers lose their leashes and end all they have at once."""
        while True:
            await asyncio.sleep(LEASE_LOOK_S)
            if self._lease is None or self._site_process is None:
                continue
            late = lease_clock_s() > self._lease.deadline_s - SLACK_S / 2
            if late and self._unfinished_leased():
                self._log.error("attempts outlast their lease; ending the site actor")
                await asyncio.to_thread(_end_site, *self._site_process)
                self._site_process = None

    def _unfinished_elsewhere(self, site: str | None) -> list[str]:
        return [
            attempt_id
            for attempt_id, record in self._records.items()
            if not record.observation.state.final and record.site not in (None, site)
        ]

    def _unfinished_leased(self) -> bool:
        """Whether an attempt is with a site actor that must not go on without a lease."""
        return any(
            not self._records[attempt_id].observation.outlives_lease
            for attempt_id in self._unfinished_elsewhere(None)
        )

    async def _ray_lost(self, why: str) -> None:
        self._give_up_waiting(why)
        lost = self._unfinished_elsewhere(None)
        self._site = None
        if not lost:
            return
        self._log.error("ray lost", why=why, attempts=lost)
        # Without it the workers on other nodes would go on, also where only an earlier daemon of
        # this node has ever reached it.
        if process := self._site_process or self._records_store.site_process():
            await asyncio.to_thread(_end_site, *process)
        await asyncio.sleep(FENCE_S)
        await self._give_up(lost, why)

    def _give_up_waiting(self, why: str) -> None:
        """Declares lost what no Ray has ever been given, once Ray has been away for too long."""
        if time.monotonic() - self._failing_since <= CONNECT_TIMEOUT_S:
            return
        for attempt_id, record in list(self._records.items()):
            if record.site is None and not record.observation.state.final:
                reason = Reason(ReasonCode.RAY_LOST, f"Ray: {why}; it was never started")
                self._finish(attempt_id, AttemptState.FAILED, reason)

    async def _give_up(self, attempt_ids: Sequence[str], why: str) -> None:
        """Declares attempts lost, after ending what they left on this host. Their workers on other
        nodes have ended by themselves: the caller has waited FENCE_S."""
        for attempt_id in attempt_ids:
            left = await asyncio.to_thread(processes.end, attempt_id)
            if left:
                self._log.error("processes cannot be ended", attempt=attempt_id, left=left)
            elif attempt_id in self._records:
                stopping = self._records[attempt_id].stop_grace_s is not None
                state = AttemptState.STOPPED if stopping else AttemptState.FAILED
                reason = _STOPPED if stopping else Reason(ReasonCode.RAY_LOST, f"Ray: {why}")
                await asyncio.to_thread(self._close_files, self._records[attempt_id].order, reason)
                self._finish(attempt_id, state, reason)

    def _close_files(self, order: Order | None, reason: Reason) -> None:
        """Writes the last words of workers of this host that could not do so themselves."""
        if order is None:
            return
        ending = Ending(reason.code, reason.message, ended_at_s=time.time())
        folder = self._records_store.folder(order.attempt_id)
        for rank, node_id in enumerate(order.nodes):
            if node_id == self._node_id and not (folder / f"rank-{rank}.done").exists():
                with suppress(OSError):  # a full disk; agents.orphans tries again
                    finish(folder, rank, ending)

    def _send(self, record: Record) -> None:
        """Tells the site actor what it may not know yet; it ignores what it knows."""
        observation = record.observation
        if self._bridge is None or observation.state.final or record.site != self._site:
            return
        if record.order is not None:
            self._bridge.tell({"kind": "start", "order": record.order.as_message()})
        if record.stop_grace_s is not None:
            self._bridge.tell(
                {
                    "kind": "stop",
                    "attempt_id": observation.attempt_id,
                    "grace_s": record.stop_grace_s,
                }
            )

    async def _make_sure(self, attempt_id: str, grace_s: float) -> None:
        """Whatever Ray does: past its grace, nothing of a stopped attempt lives on this host."""
        await asyncio.sleep(grace_s + STOP_SLACK_S)
        record = self._records.get(attempt_id)
        if record is not None and not record.observation.state.final:
            self._log.error("ray did not confirm a stop; ending processes", attempt=attempt_id)
            await asyncio.to_thread(processes.end, attempt_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_STOPPED = Reason(ReasonCode.STOPPED, "stopped on request")


def _end_site(pid: int, ticks: int) -> None:
    process = processes.read(pid)
    if process is not None and process.started_ticks == ticks:
        processes.send(process, signal.SIGKILL)
