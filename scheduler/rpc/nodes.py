"""The agents' stream: each message is converted, handed on, and answered."""

import math
import time
from collections.abc import AsyncIterator, Callable, Iterable

import grpc
import structlog

from scheduler.clock import Clock
from scheduler.config import SchedulerConfig
from scheduler.dispatch.dispatcher import Dispatcher, may_start
from scheduler.dispatch.streams import Streams
from scheduler.domain import arrays
from scheduler.domain.fleet import NodeHealth
from scheduler.domain.job import Job
from scheduler.rpc import convert_jobs, convert_nodes
from scheduler.rpc.agent_stream import AgentStream
from scheduler.rpc.convert_jobs import MalformedError
from scheduler.rpc.convert_nodes import GarbledError
from scheduler.state.audit import Audit
from scheduler.state.fleet import Fleet
from scheduler.state.known import Identity, IdentityTakenError
from scheduler.state.probers import Probers
from scheduler.store import Store
from scheduler.store.errors import BlobError, LeadershipLostError, StoreError, UnknownAttemptError
from westward.v1 import node_pb2, node_pb2_grpc

log = structlog.get_logger()

# Characters of what an agent says of its trouble.
TROUBLE_MOST = 256
BLOB_CHUNK_BYTES = 256 * 1024
# Pieces of working directories among them: others should not wait long behind them.
BLOB_CHUNKS_MOST = 16

Context = grpc.aio.ServicerContext[node_pb2.ConnectRequest, node_pb2.ConnectResponse]


def _desired_attempt(job: Job, checkpoints_at: str | None) -> node_pb2.DesiredAttempt:
    attempt = job.attempt
    assert attempt is not None, f"job {job.id} is wished for without an attempt"
    return node_pb2.DesiredAttempt(
        attempt_id=attempt.id,
        job_id=job.id,
        epoch=attempt.epoch,
        number=attempt.number,
        # Repeated every few seconds: what nobody will start any more goes without its spec.
        spec=convert_jobs.spec_to_pb(job.spec) if may_start(job) else None,
        workers=convert_jobs.workers_to_pb(attempt.nodes),
        may_start=may_start(job),
        checkpoint_uri=_checkpoint_uri(job, checkpoints_at),
        tasks_done=arrays.tasks_done(job) if may_start(job) else b"",
    )


def _checkpoint_uri(job: Job, checkpoints_at: str | None) -> str:
    if not job.spec.interruptible:
        return ""
    return job.spec.checkpoint_uri or (f"{checkpoints_at}/{job.id}" if checkpoints_at else "")


class NodeServicer(node_pb2_grpc.NodeServiceServicer):
    """Converts, calls the fleet, the dispatcher and the store, answers."""

    def __init__(
        self,
        *,
        config: SchedulerConfig,
        clock: Clock,
        fleet: Fleet,
        dispatcher: Dispatcher,
        streams: Streams,
        store: Store,
        changed: Callable[[str], None],
        audit: Audit,
    ) -> None:
        """``changed`` is told when a report may place a job that waits."""
        self._config = config
        self._checkpoints_at = config.checkpoints_at()
        self._clock = clock
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._streams = streams
        self._store = store
        self._changed = changed
        self._audit = audit
        self._generation = fleet.generation
        self._probers = Probers(fleet.regions)
        self._open: dict[str, AgentStream] = {}

    async def Connect(
        self, request_iterator: AsyncIterator[node_pb2.ConnectRequest], context: Context
    ) -> AsyncIterator[node_pb2.ConnectResponse]:
        stream = await self._accept(request_iterator, context)
        try:
            stream.work(self._read(stream, request_iterator))
            while (message := await stream.next(lambda seq: self._wish(stream, seq))) is not None:
                yield message
        except GarbledError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except LeadershipLostError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            self._leave(stream)
            await stream.close()

    def _leave(self, stream: AgentStream) -> None:
        identity = stream.identity
        self._streams.remove(stream)
        self._fleet.disconnect(identity)
        if self._open.get(identity.node_id) is stream:
            del self._open[identity.node_id]
            self._hand_out(self._probers.leave(identity.cluster, identity.node_id))
        self._tell_changes()
        log.info("agent.left", node=identity.node_id, cluster=identity.cluster)

    def _hand_out(self, node_ids: Iterable[str]) -> None:
        """Tells agents what they measure from now on."""
        for node_id in node_ids:
            if node_id in self._open:
                duty = node_pb2.ProbeDuty(gateways=self._gateways(self._open[node_id].identity))
                self._open[node_id].tell(node_pb2.ConnectResponse(probe_duty=duty))

    def _gateways(self, identity: Identity) -> list[node_pb2.Gateway]:
        return [
            node_pb2.Gateway(region=region, address=self._fleet.regions[region].gateway)
            for region in self._probers.regions_of(identity.cluster, identity.node_id)
        ]

    def _wish(self, stream: AgentStream, seq: int) -> node_pb2.DesiredState:
        if not self._streams.current(stream):
            raise GarbledError(f"a newer stream of {stream.cluster}'s head agent has taken over")
        jobs = self._dispatcher.wish(stream, seq)
        return node_pb2.DesiredState(
            attempts=[_desired_attempt(job, self._checkpoints_at) for job in jobs],
            # Without the right to lead, what runs is left its lease, but no more of it.
            lease_answers_seq=stream.received_seq if self._store.database.leads() else 0,
            lease_ttl_s=self._config.lease_ttl_s,
            stored_seq=stream.stored_seq,
        )

    async def _accept(
        self, requests: AsyncIterator[node_pb2.ConnectRequest], context: Context
    ) -> AgentStream:
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("body") != "hello":
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the first message of a stream must be hello"
            )
        assert first is not None
        try:
            stream = AgentStream(convert_nodes.identity(first.hello), received_seq=first.seq)
            self._refuse_new_head(stream.identity)
            self._fleet.connect(stream.identity)
            await self._keep_head(stream.identity)
        except StoreError as error:
            self._fleet.disconnect(stream.identity)
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except GarbledError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except IdentityTakenError as error:
            log.warning("agent.refused", node=first.hello.node_id, why=str(error))
            self._audit.refused_agent(first.hello.node_id, first.hello.cluster, str(error))
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, str(error))
        who = stream.identity
        older = self._open.get(who.node_id)
        if older is not None and older.cluster != who.cluster:
            self._hand_out(self._probers.leave(older.cluster, who.node_id))
        self._open[who.node_id] = stream
        relieved = self._probers.join(who.cluster, who.node_id)
        stream.tell(node_pb2.ConnectResponse(welcome=self._welcome(who)))
        self._hand_out(relieved)
        if stream.identity.head:
            self._streams.add(stream)
            stream.wish_changed()
        log.info("agent.joined", node=stream.identity.node_id, cluster=stream.cluster)
        return stream

    def _refuse_new_head(self, identity: Identity) -> None:
        """Another node knows nothing of what the former head still runs: were it the head already,
        that would be taken for gone and started again.

        Raises:
            IdentityTakenError: attempts of the former head may still be alive.
        """
        former = self._fleet.head_of(identity.cluster) or self._store.heads.of(identity.cluster)
        if not identity.head or former in (None, identity.node_id):
            return
        if (alive_s := self._dispatcher.alive_for_s(identity.cluster)) > 0:
            until = (
                f"for {alive_s:.0f} s more; node {identity.node_id!r} may be its head after that"
            )
            if math.isinf(alive_s):
                until = "for ever, as a job waits for it; bring it back, or force-retry those jobs"
            raise IdentityTakenError(
                f"attempts of cluster {identity.cluster!r}'s former head {former!r} may be alive "
                + until
            )

    async def _keep_head(self, identity: Identity) -> None:
        """For the next scheduler, which is to know whom it may believe.

        Raises:
            StoreError: nothing was stored; this head must not be asked for anything.
        """
        if identity.head:
            await self._store.heads.keep(identity.cluster, identity.node_id)

    def _welcome(self, identity: Identity) -> node_pb2.Welcome:
        return node_pb2.Welcome(
            power_clock=convert_nodes.power_clock(self._clock),
            gateways=self._gateways(identity),
            report_interval_s=self._config.report_interval_s,
            slot_s=self._config.slot_s,
            horizon_s=self._config.slot_s * self._config.horizon_slots,
        )

    async def _read(
        self, stream: AgentStream, requests: AsyncIterator[node_pb2.ConnectRequest]
    ) -> None:
        async for message in requests:
            if not self._fleet.speaks(stream.identity):
                raise GarbledError(f"a newer stream of {stream.identity.node_id} has taken over")
            stream.received_seq = message.seq
            self._fleet.heard(stream.identity.node_id)
            match message.WhichOneof("body"):
                case "report":
                    await self._report(stream, message)
                case "observed":
                    await self._observed(stream, message.observed, message.seq)
                case "log":
                    await self._log(stream, message.log)
                case "working_dir_request":
                    if stream.ask_dir(message.working_dir_request.sha256):
                        stream.work(self._send_dirs(stream))
                case "hello":
                    raise GarbledError("hello came twice on one stream")
                case None:
                    # A body of a newer agent; the rest of what it says still counts.
                    log.info("agent.unknown_message", node=stream.identity.node_id)

    async def _report(self, stream: AgentStream, message: node_pb2.ConnectRequest) -> None:
        report, node_id = message.report, stream.identity.node_id
        before = self._fleet.rejected(node_id)
        sent_at_s = message.sent_at.seconds + message.sent_at.nanos / 1e9
        rejections = self._fleet.report_clock(node_id, sent_at_s - time.time())
        if report.HasField("node"):
            facts = convert_nodes.node_facts(report.node)
            rejections += self._fleet.report_node(node_id, facts)
            self._health(node_id, convert_nodes.node_health(report.node))
        if report.HasField("site"):
            facts = convert_nodes.site_facts(report.site)
            rejections += self._fleet.report_site(node_id, facts)
        if report.rtt:
            measured = [convert_nodes.rtt(one) for one in report.rtt]
            rejections += self._fleet.report_rtt(node_id, measured)
        if report.energy:
            used = [convert_nodes.energy(one) for one in report.energy]
            rejections += self._fleet.meters.report(node_id, used, self._clock.now())
        told = {(refused.field, refused.value, refused.reason) for refused in rejections}
        for field, value, reason in sorted(told - before):
            log.warning("report.refused", node=node_id, field=field, value=value, reason=reason)
            self._audit.refused_field(node_id, stream.cluster, field, value, reason)
        ack = node_pb2.ReportAck(
            seq=message.seq, rejections=[convert_nodes.rejection(one) for one in rejections]
        )
        await stream.send(node_pb2.ConnectResponse(report_ack=ack))
        self._tell_changes()

    def _health(self, node_id: str, health: NodeHealth) -> None:
        """Keeps it, and logs an accelerator that fell sick, once."""
        known = {one.id for one in self._fleet.health(node_id).sick}
        for one in health.sick:
            if one.id not in known:
                log.warning(
                    "accelerator.sick",
                    node=node_id,
                    accelerator=one.id,
                    reason=one.reason,
                    attempts=one.attempt_ids,
                )
        self._fleet.report_health(node_id, health)

    def _tell_changes(self) -> None:
        if self._fleet.generation != self._generation:
            self._generation = self._fleet.generation
            self._changed("fleet changed")

    async def _observed(
        self, stream: AgentStream, observed: node_pb2.ObservedState, seq: int
    ) -> None:
        if not stream.identity.head:
            raise GarbledError("observed: only a cluster's head agent reports attempts")
        seen = [convert_nodes.seen(attempt) for attempt in observed.attempts]
        self._fleet.report_serving(stream.identity.node_id, observed.not_serving[:TROUBLE_MOST])
        await self._dispatcher.observed(stream, seq, seen, observed.answers_desired_seq)
        self._tell_changes()

    async def _log(self, stream: AgentStream, chunk: node_pb2.LogChunk) -> None:
        try:
            kind = convert_jobs.log_stream_from_pb(chunk.stream)
            offset = await self._store.logs.append(
                chunk.attempt_id, chunk.rank, kind, chunk.offset, chunk.data, end=chunk.end
            )
        except (UnknownAttemptError, MalformedError):
            # Nothing that we keep: acknowledged, so that the agent lets go of it.
            offset = chunk.offset + len(chunk.data)
        except LeadershipLostError:
            raise
        except StoreError as error:
            # Not acknowledged, so the agent sends it again after a while.
            log.error("log.not_stored", attempt=chunk.attempt_id, why=str(error))
            return
        ack = node_pb2.LogAck(
            attempt_id=chunk.attempt_id, rank=chunk.rank, stream=chunk.stream, offset=offset
        )
        await stream.send(node_pb2.ConnectResponse(log_ack=ack))

    async def _send_dirs(self, stream: AgentStream) -> None:
        """Sends working directories one after another, while the rest of the stream goes on."""
        while True:
            await self._send_dir(stream, await stream.next_dir())

    async def _send_dir(self, stream: AgentStream, sha256: str) -> None:
        offset = 0
        try:
            async for data in self._store.blobs.chunks(sha256):
                for start in range(0, len(data), BLOB_CHUNK_BYTES):
                    piece = data[start : start + BLOB_CHUNK_BYTES]
                    chunk = node_pb2.WorkingDirChunk(sha256=sha256, offset=offset, data=piece)
                    message = node_pb2.ConnectResponse(working_dir_chunk=chunk)
                    await stream.send(message, BLOB_CHUNKS_MOST)
                    offset += len(piece)
            last = node_pb2.WorkingDirChunk(sha256=sha256, offset=offset, end=True)
        except (StoreError, BlobError) as error:
            last = node_pb2.WorkingDirChunk(
                sha256=sha256, offset=offset, end=True, error=str(error)
            )
        await stream.send(node_pb2.ConnectResponse(working_dir_chunk=last), BLOB_CHUNKS_MOST)
