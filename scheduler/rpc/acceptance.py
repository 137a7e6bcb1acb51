"""What a submission must be before anything of it is stored."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from scheduler.clock import Clock
from scheduler.domain.arrays import chunk_count
from scheduler.domain.fleet import Node
from scheduler.domain.job import Job, JobSpec
from scheduler.domain.validation import NAME_MOST, Violation, violations
from scheduler.rpc.convert_jobs import MalformedError, spec_from_pb
from scheduler.rpc.errors import invalid
from scheduler.state.jobs import JobBook, is_repeat
from scheduler.store import Store
from westward.v1 import job_pb2

SPEC_MOST_BYTES = 512 * 1024
# Of all chunks of an array together.
COPIES_MOST_BYTES = 32 * 1024 * 1024


class Known(Protocol):
    """What a spec may name, and what stands in for what it does not name."""

    # Whether there is a place for the checkpoints of jobs that name none.
    keeps_checkpoints: bool

    def region_names(self) -> Collection[str]:
        """Origin regions."""
        ...

    def place_names(self) -> Collection[str]:
        """Clusters, and the provinces they lie in."""
        ...

    def nodes(self) -> Sequence[Node]:
        """All known nodes."""
        ...


class Acceptance:
    """Judges submissions."""

    def __init__(self, book: JobBook, store: Store, known: Known, clock: Clock) -> None:
        self._book = book
        self._store = store
        self._known = known
        self._clock = clock

    async def accept(
        self, request: job_pb2.SubmitRequest | job_pb2.SubmitBatchRequest
    ) -> JobSpec | Job:
        """The spec, if it is a good one; or the job that an earlier try has made of it, even if
        it would be refused by now, e.g. for its deadline.

        Raises:
            StatusError: INVALID_ARGUMENT with everything that is wrong.
        """
        key = request.idempotency_key
        faults = list(_judged_key(key))
        size = request.spec.ByteSize()
        if size > SPEC_MOST_BYTES:
            text = f"{size} bytes are over {SPEC_MOST_BYTES}; move data into the working directory"
            raise invalid([*faults, Violation("spec", text)])
        try:
            spec = spec_from_pb(request.spec)
        except MalformedError as error:
            raise invalid([*faults, *_within_spec(error.violations)]) from error
        faults += _within_spec(await self._violations(spec))
        if not faults:
            faults += _judged_copies(spec, size)
        if not faults:
            return spec
        known = await self.known(spec, request)
        if known is not None and await self._is_repeat(known, spec):
            return known
        raise invalid(faults)

    async def known(
        self, spec: JobSpec, request: job_pb2.SubmitRequest | job_pb2.SubmitBatchRequest
    ) -> Job | None:
        """The job that was stored with the request's key, whatever it asked for."""
        key = request.idempotency_key
        return await self._store.jobs.find_key(spec.tenant, key) if key else None

    async def _is_repeat(self, known: Job, spec: JobSpec) -> bool:
        siblings = await self._book.chunks(known.array_id) if known.array_id else [known]
        return is_repeat(siblings, spec)

    async def _violations(self, spec: JobSpec) -> list[Violation]:
        found = violations(
            spec,
            now_at=self._clock.now(),
            regions=self._known.region_names(),
            places=self._known.place_names(),
            nodes=self._known.nodes(),
        )
        if spec.interruptible and not (spec.checkpoint_uri or self._known.keeps_checkpoints):
            text = "an interruptible job needs one; the scheduler has no checkpoint_uri of its own"
            found.append(Violation("checkpoint_uri", text))
        sha256 = spec.working_dir_sha256
        if sha256 and not await self._store.blobs.claim(sha256):
            text = f"no working directory {sha256[:80]} is stored; upload it first"
            found.append(Violation("working_dir_sha256", text))
        return found


def _judged_key(key: str) -> list[Violation]:
    if len(key) <= NAME_MOST and key.isprintable():
        return []
    text = f"{key[:NAME_MOST]!r} is no use; at most {NAME_MOST} printable characters"
    return [Violation("idempotency_key", text)]


def _judged_copies(spec: JobSpec, size: int) -> list[Violation]:
    """Each chunk of an array keeps a copy of the spec."""
    count = 1 if spec.array is None else chunk_count(spec)
    if count == 1 or size * count <= COPIES_MOST_BYTES:
        return []
    text = (
        f"{count} chunks of {size} bytes are over {COPIES_MOST_BYTES}; take more tasks into a "
        "chunk, or move data into the working directory"
    )
    return [Violation("spec.array.chunk_tasks", text)]


def _within_spec(found: Sequence[Violation]) -> list[Violation]:
    return [replace(violation, field=f"spec.{violation.field}") for violation in found]
