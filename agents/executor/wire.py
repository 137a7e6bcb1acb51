"""Messages between daemon, bridge, site actor and workers: four bytes of length, then JSON."""

import asyncio
import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.executor.base import Assignment, Observation
from agents.lease import GRACE_S
from scheduler.domain.arrays import Progress
from scheduler.domain.job import AttemptState, Command
from scheduler.domain.reason import Reason, ReasonCode

Message = dict[str, Any]

# Of what a bridge and a site actor, or a site actor and its workers, say to each other. It grows
# when one of before would misunderstand: a site actor outlives the agent, and its update too.
PROTOCOL = 3

# The label that a Ray node must be started with; its value is the node's id.
NODE_LABEL = "westward-node"

LENGTH_BYTES = 4
# Orders carry an environment and an argv, which Linux itself bounds to 2 MB.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class WireError(Exception):
    """What came is no message of ours; the connection is of no further use."""


def encode(message: Message) -> bytes:
    """The bytes of one message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def _length(header: bytes) -> int:
    length = int.from_bytes(header, "big")
    if length > MESSAGE_BYTES_MAX:
        raise WireError(f"a message of {length} bytes; at most {MESSAGE_BYTES_MAX} are believed")
    return length


def _decode(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise WireError(f"{body[:40]!r}… is not JSON") from error
    if not isinstance(message, dict):
        raise WireError(f"{body[:40]!r}… is not a JSON object")
    return message


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None when the other side is gone."""
    try:
        header = await reader.readexactly(LENGTH_BYTES)
        return _decode(await reader.readexactly(_length(header)))
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        return None


def read_blocking(connection: socket.socket) -> Message | None:
    """The next message of a blocking socket; None when the other side is gone."""
    header = _read_exactly(connection, LENGTH_BYTES)
    body = _read_exactly(connection, _length(header)) if header else None
    return _decode(body) if body is not None else None


def _read_exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        try:
            part = connection.recv(count - len(parts))
        except OSError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)


def keep_alive(connection: socket.socket) -> None:
    """Lets the kernel notice within about 5 s that the other host is gone."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An assignment in plain values, as it travels to the bridge, the site actor and the workers.

    Exactly one of ``argv`` and ``entrypoint`` is set. ``archive`` is a path on the head node.
    ``tasks`` is 0 but for a chunk of an array; ``tasks_done`` is a bitmap in hex.
    """

    attempt_id: str
    job_id: str
    epoch: int
    number: int
    nodes: list[str]
    gpus: int
    cpus: float
    memory_gb: float
    env: dict[str, str]
    argv: list[str] | None
    entrypoint: str | None
    archive: str | None
    data_dir: str
    cluster: str
    stop_grace_s: float = GRACE_S
    checkpoint_uri: str = ""
    outlives_lease: bool = False
    tasks: int = 0
    first_task: int = 0
    task_attempts: int = 1
    tasks_done: str = ""

    def folder(self, node_id: str) -> Path:
        """Where a node keeps what belongs to this attempt."""
        return attempt_folder(Path(self.data_dir), node_id, self.attempt_id)

    def as_message(self) -> Message:
        return asdict(self)


def attempt_folder(data_dir: Path, node_id: str, attempt_id: str) -> Path:
    """Where a node keeps what belongs to an attempt."""
    return data_dir / node_id / "attempts" / attempt_id


def order_of(assignment: Assignment, *, data_dir: Path, cluster: str) -> Order:
    """The assignment in plain values."""
    work, array = assignment.work, assignment.array
    return Order(
        attempt_id=assignment.attempt_id,
        job_id=assignment.job_id,
        epoch=assignment.epoch,
        number=assignment.number,
        nodes=list(assignment.nodes),
        gpus=assignment.gpus,
        cpus=assignment.cpus,
        memory_gb=assignment.memory_gb,
        env=dict(assignment.env),
        argv=list(work.argv) if isinstance(work, Command) else None,
        entrypoint=None if isinstance(work, Command) else work.entrypoint,
        archive=str(assignment.working_dir) if assignment.working_dir else None,
        data_dir=str(data_dir),
        cluster=cluster,
        stop_grace_s=assignment.stop_grace_s,
        checkpoint_uri=assignment.checkpoint_uri,
        outlives_lease=assignment.outlives_lease,
        tasks=array.tasks if array else 0,
        first_task=array.first_task if array else 0,
        task_attempts=array.task_attempts if array else 1,
        tasks_done=assignment.tasks_done.hex(),
    )


def observation_message(observation: Observation) -> Message:
    """An observation in plain values."""
    message = asdict(observation)
    if (tasks := observation.tasks) is not None:
        message["tasks"] = [tasks.succeeded.hex(), tasks.failed.hex(), tasks.running]
    return message


def observation_of(message: Message) -> Observation:
    """The inverse of ``observation_message``."""
    reason, tasks = message["reason"], message.get("tasks")
    return Observation(
        attempt_id=message["attempt_id"],
        epoch=message["epoch"],
        state=AttemptState(message["state"]),
        started_at_s=message["started_at_s"],
        ended_at_s=message["ended_at_s"],
        exit_code=message["exit_code"],
        reason=reason and Reason(ReasonCode(reason["code"]), reason["message"]),
        outlives_lease=message.get("outlives_lease", False),
        tasks=tasks and Progress(bytes.fromhex(tasks[0]), bytes.fromhex(tasks[1]), tasks[2]),
    )
