"""What the head agent needs of whatever runs attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agents.lease import GRACE_S, Lease
from scheduler.domain.arrays import Progress
from scheduler.domain.job import ArraySpec, AttemptState, Command, RayEntrypoint
from scheduler.domain.reason import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One attempt that should run: ``nodes[rank]`` runs worker ``rank``; resources are per worker.

    ``working_dir`` is the gzip-compressed tar on the head node's disk, or None. ``outlives_lease``:
    nothing is started elsewhere while this cluster is silent, so it may go on without a lease.
    Of a chunk of an array, ``array`` is its part and ``tasks_done`` the bitmap of its tasks that
    need not run.
    """

    attempt_id: str
    job_id: str
    epoch: int
    number: int
    work: Command | RayEntrypoint
    nodes: tuple[str, ...]
    gpus: int
    cpus: float
    memory_gb: float
    env: Mapping[str, str] = field(default_factory=dict)
    stop_grace_s: float = GRACE_S
    checkpoint_uri: str = ""
    outlives_lease: bool = False
    working_dir: Path | None = None
    array: ArraySpec | None = None
    tasks_done: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of one attempt. Times are seconds of real time since the Unix epoch.

    ``exit_code`` is that of the first worker that failed, 0 when all succeeded, negative for a
    signal, None while it runs or when no process ever ran. ``tasks`` is None but for a chunk of an
    array; while it runs, news of it alone come once a second at most.
    """

    attempt_id: str
    epoch: int
    state: AttemptState
    started_at_s: float | None = None
    ended_at_s: float | None = None
    exit_code: int | None = None
    reason: Reason | None = None
    outlives_lease: bool = False
    tasks: Progress | None = None


class Executor(Protocol):
    """Runs attempts. All methods may be repeated; none raises for an attempt it does not know."""

    async def start(self, assignment: Assignment) -> None:
        """Starts an attempt unless its id was started before. Returns before it runs; whatever
        goes wrong is seen in ``observe``."""
        ...

    async def stop(self, attempt_id: str, *, grace_s: float | None = None) -> None:
        """Ends every process of an attempt: SIGTERM, then SIGKILL after ``grace_s``, or after what
        its assignment grants; asked again, the sooner end counts. Returns at once; the end is seen
        in ``observe`` as STOPPED, only when no process is left. Its ``exit_code`` is then that of
        SIGKILL where a worker needed it, and None where one was lost."""
        ...

    def hold(self, lease: Lease) -> None:
        """Lets attempts go on until the lease ends. Then those that do not outlive it are stopped,
        also when the caller is no longer alive to do so. One that ends earlier changes nothing;
        before the first call attempts go on without."""
        ...

    def not_serving(self) -> str:
        """Why nothing can be started at present, in a few words; empty when it can. A change of it
        ends a wait in ``observe``."""
        ...

    async def observe(self, timeout_s: float) -> Sequence[Observation]:
        """All attempts started and not forgotten, as soon as anything changed since the last
        call, or after ``timeout_s``."""
        ...

    async def forget(self, attempt_id: str) -> None:
        """Drops a finished attempt and what it left on disk."""
        ...

    async def close(self) -> None:
        """Lets go of the cluster; attempts keep running."""
        ...
