"""Every call that a client can make, once: the synchronous and the asynchronous client are both
made from these functions.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from scheduler.client.cursors import Cursor, EventCursor, LogCursor, WatchCursor
from scheduler.client.workdir import PackedDir
from westward.v1 import (
    event_pb2,
    job_pb2,
    placement_pb2,
    preview_pb2,
    timeline_pb2,
    what_if_pb2,
    why_pb2,
)
from westward.v1.job_pb2_grpc import JobServiceStub
from westward.v1.placement_pb2_grpc import PlacementServiceStub

TIMEOUT_S = 30.0
LONG_TIMEOUT_S = 600.0

Answer = TypeVar("Answer")
Item = TypeVar("Item")


class Stubs(NamedTuple):
    """What a channel offers."""

    jobs: JobServiceStub
    placements: PlacementServiceStub


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """A call with one answer."""

    method: Callable[[Stubs], Callable[..., Answer]]
    request: Message | Iterator[Message]
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Stream(Generic[Item]):
    """A call with a stream of answers; the cursor takes it up again after a break."""

    method: Callable[[Stubs], Callable[..., Iterator[Item]]]
    request: Message
    cursor: Cursor[Item]


def upload(packed: PackedDir) -> Call[job_pb2.UploadWorkingDirResponse]:
    """Stores a packed working directory, unless the scheduler has the same content."""
    return Call(lambda s: s.jobs.UploadWorkingDir, packed.requests(), LONG_TIMEOUT_S)


def submit(
    spec: job_pb2.JobSpec, *, key: str | None = None, plan_token: str = ""
) -> Call[job_pb2.SubmitResponse]:
    """Submits one job; when this returns it is durable. A repeat with the same ``key`` returns the
    same job, whatever its deadline and earliest start; without one every call of this method is a
    new job. With the token of a ``preview``, ConflictError where the job would now fare materially
    worse.

    Raises:
        ValueError: the key is empty.
    """
    if key == "":
        raise ValueError("the key is empty; leave it out, or give one")
    request = job_pb2.SubmitRequest(
        spec=spec, idempotency_key=key or uuid.uuid4().hex, plan_token=plan_token
    )
    return Call(lambda s: s.jobs.Submit, request)


def submit_batch(
    specs: Sequence[job_pb2.JobSpec], *, keys: Sequence[str] | None = None
) -> Call[job_pb2.SubmitBatchResponse]:
    """Submits many jobs; each succeeds or fails on its own, results in the order given.

    Raises:
        ValueError: there are keys, but not one per job, or one is empty.
    """
    if keys is not None and len(keys) != len(specs):
        raise ValueError(f"{len(keys)} keys for {len(specs)} jobs; give one per job, or none")
    if keys is not None and "" in keys:
        raise ValueError(f"key {keys.index('') + 1} is empty; give one per job, or none")
    chosen = keys if keys is not None else [uuid.uuid4().hex for _ in specs]
    requests = [
        job_pb2.SubmitBatchRequest(spec=spec, idempotency_key=key)
        for spec, key in zip(specs, chosen, strict=True)
    ]
    return Call(lambda s: s.jobs.SubmitBatch, iter(requests))


def get(job_id: str, *, events: bool = False) -> Call[job_pb2.GetResponse]:
    """One job with its attempts, and with its events if asked for."""
    return Call(lambda s: s.jobs.Get, job_pb2.GetRequest(job_id=job_id, include_events=events))


def list_page(
    *,
    states: "Sequence[job_pb2.JobState.ValueType]" = (),
    tenant: str = "",
    region: str = "",
    cluster: str = "",
    name_prefix: str = "",
    array_id: str = "",
    page_size: int = 500,
    page_token: str = "",
) -> Call[job_pb2.ListResponse]:
    """A page of the jobs that pass every filter, newest first."""
    request = job_pb2.ListRequest(
        states=states,
        tenant=tenant,
        region=region,
        cluster=cluster,
        name_prefix=name_prefix,
        array_id=array_id,
        page_size=page_size,
        page_token=page_token,
    )
    return Call(lambda s: s.jobs.List, request)


def watch(
    job_ids: Sequence[str] = (), *, tenant: str = "", until_final: bool = False
) -> Stream[job_pb2.WatchResponse]:
    """The state of each job, then every change; all jobs where none is named."""
    request = job_pb2.WatchRequest(job_ids=job_ids, tenant=tenant, until_final=until_final)
    return Stream(lambda s: s.jobs.Watch, request, WatchCursor())


def cancel(job_id: str, *, reason: str = "") -> Call[job_pb2.CancelResponse]:
    """Cancels a job, or all chunks of an array, for good; asking again is not an error."""
    return Call(lambda s: s.jobs.Cancel, job_pb2.CancelRequest(job_id=job_id, reason=reason))


def suspend(job_id: str, *, reason: str = "") -> Call[job_pb2.SuspendResponse]:
    """Holds a job until it is resumed; what runs keeps its checkpoint."""
    return Call(lambda s: s.jobs.Suspend, job_pb2.SuspendRequest(job_id=job_id, reason=reason))


def resume(job_id: str, *, reason: str = "") -> Call[job_pb2.ResumeResponse]:
    """Lets a suspended job be planned again."""
    return Call(lambda s: s.jobs.Resume, job_pb2.ResumeRequest(job_id=job_id, reason=reason))


def force_retry(job_id: str, *, reason: str = "") -> Call[job_pb2.ForceRetryResponse]:
    """Gives up on an attempt of a job that waits for its silent cluster. The attempt may still be
    alive there: two may run at once until the cluster is back."""
    request = job_pb2.ForceRetryRequest(job_id=job_id, reason=reason)
    return Call(lambda s: s.jobs.ForceRetry, request)


def logs(
    job_id: str, *, follow: bool = False, attempt: int = 0, task: int | None = None
) -> Stream[job_pb2.LogsResponse]:
    """What the processes of a job, or of all chunks of an array, wrote; attempt 0 means all in
    turn. With ``task``, only that task of an array, in its newest try."""
    request = job_pb2.LogsRequest(job_id=job_id, follow=follow, attempt=attempt, task=task)
    return Stream(lambda s: s.jobs.Logs, request, LogCursor())


def list_tasks(
    job_id: str,
    *,
    states: "Sequence[job_pb2.TaskState.ValueType]" = (),
    page_size: int = 1000,
    page_token: str = "",
) -> Call[job_pb2.ListTasksResponse]:
    """A page of the tasks of an array, or of one chunk, in the order of their indices."""
    request = job_pb2.ListTasksRequest(
        job_id=job_id, states=states, page_size=page_size, page_token=page_token
    )
    return Call(lambda s: s.jobs.ListTasks, request)


def explain(
    job_id: str, *, now: bool = False, slots: bool = False
) -> Call[placement_pb2.ExplainResponse]:
    """Why the job is where it is, or why it waits; asked again ``now``, and with what a start in
    each of the ``slots`` would cost."""
    request = placement_pb2.ExplainRequest(job_id=job_id, now=now, slots=slots)
    return Call(lambda s: s.placements.Explain, request)


def why(job_id: str) -> Call[why_pb2.WhyResponse]:
    """Why the job waits or has failed, what would change it, and when it should start."""
    return Call(lambda s: s.placements.Why, why_pb2.WhyRequest(job_id=job_id))


def preview(
    specs: Sequence[job_pb2.JobSpec], *, effects_most: int = 0
) -> Call[placement_pb2.PreviewResponse]:
    """What would become of jobs if they were submitted now, together, and of others beside them:
    ``effects_most`` effects are told, 100 for 0. Nothing is stored. SchedulerError where too many
    such questions wait, or planning takes too long."""
    request = preview_pb2.PreviewRequest(specs=specs, effects_most=effects_most)
    # It waits for a round in progress.
    return Call(lambda s: s.placements.Preview, request, LONG_TIMEOUT_S)


def what_if(
    changes: Sequence[what_if_pb2.WorldChange] = (), *, effects_most: int = 0
) -> Call[what_if_pb2.WhatIfResponse]:
    """The queue planned with and without changes of the world, and what differs: ``effects_most``
    effects, all for 0. Errors are those of ``preview``, and InvalidRequestError for a change that
    cannot be made."""
    request = what_if_pb2.WhatIfRequest(changes=changes, effects_most=effects_most)
    return Call(lambda s: s.placements.WhatIf, request, LONG_TIMEOUT_S)


def placements_page(
    *,
    cluster: str = "",
    tenant: str = "",
    include_final: bool = False,
    page_size: int = 0,
    page_token: str = "",
) -> Call[placement_pb2.ListPlacementsResponse]:
    """A page of the committed and planned placements, of the newest jobs first; 0 means as many as
    may be."""
    request = placement_pb2.ListPlacementsRequest(
        cluster=cluster,
        tenant=tenant,
        include_final=include_final,
        page_size=page_size,
        page_token=page_token,
    )
    return Call(lambda s: s.placements.ListPlacements, request)


def by_start(found: list[placement_pb2.Placement]) -> placement_pb2.ListPlacementsResponse:
    """Placements of several pages as one answer, the latest start first."""
    found.sort(key=lambda one: one.start_at.ToNanoseconds(), reverse=True)
    return placement_pb2.ListPlacementsResponse(placements=found)


def clusters() -> Call[placement_pb2.ListClustersResponse]:
    """The clusters, and the power clock."""
    return Call(lambda s: s.placements.ListClusters, placement_pb2.ListClustersRequest())


def nodes(*, cluster: str = "") -> Call[placement_pb2.ListNodesResponse]:
    """The hosts of one cluster, or of all."""
    request = placement_pb2.ListNodesRequest(cluster=cluster)
    return Call(lambda s: s.placements.ListNodes, request)


def cordon_node(node_id: str, *, reason: str = "") -> Call[placement_pb2.CordonNodeResponse]:
    """Gives a node nothing new; what runs there goes on."""
    request = placement_pb2.CordonNodeRequest(node_id=node_id, reason=reason)
    return Call(lambda s: s.placements.CordonNode, request)


def drain_node(
    node_id: str, *, deadline_s: float, reason: str = ""
) -> Call[placement_pb2.DrainNodeResponse]:
    """Empties a node: what is interruptible leaves at once, the rest may finish until the deadline,
    in seconds of the power clock from now."""
    request = placement_pb2.DrainNodeRequest(node_id=node_id, deadline_s=deadline_s, reason=reason)
    return Call(lambda s: s.placements.DrainNode, request)


def uncordon_node(node_id: str) -> Call[placement_pb2.UncordonNodeResponse]:
    """Gives a node work again; a drain ends."""
    request = placement_pb2.UncordonNodeRequest(node_id=node_id)
    return Call(lambda s: s.placements.UncordonNode, request)


def rounds(*, limit: int = 0) -> Call[placement_pb2.ListRoundsResponse]:
    """Planning rounds, newest first; limit 0 means 20."""
    request = placement_pb2.ListRoundsRequest(limit=limit)
    return Call(lambda s: s.placements.ListRounds, request)


def timeline(
    *, hours: int = 0, cluster: str = "", starts: int = 0
) -> Call[timeline_pb2.TimelineResponse]:
    """Load, price and green supply of the hours to come, and the first jobs that start in them."""
    request = timeline_pb2.TimelineRequest(hours=hours, cluster=cluster, starts=starts)
    return Call(lambda s: s.placements.Timeline, request)


def get_round(round_id: int) -> Call[placement_pb2.GetRoundResponse]:
    """One planning round."""
    request = placement_pb2.GetRoundRequest(round_id=round_id)
    return Call(lambda s: s.placements.GetRound, request)


def list_events(
    *,
    job_id: str = "",
    node_id: str = "",
    cluster: str = "",
    since_at: datetime | None = None,
    page_size: int = 0,
    page_token: str = "",
) -> Call[event_pb2.ListEventsResponse]:
    """A page of the audit trail, newest first; there may be few although there are more."""
    request = event_pb2.ListEventsRequest(
        job_id=job_id, node_id=node_id, cluster=cluster, page_size=page_size, page_token=page_token
    )
    if since_at is not None:
        request.since_at.FromDatetime(since_at)
    return Call(lambda s: s.placements.ListEvents, request)


def watch_events(
    *, job_id: str = "", node_id: str = "", cluster: str = "", after: str = ""
) -> Stream[event_pb2.WatchEventsResponse]:
    """The audit trail as it grows, after a position that ``list_events`` gave, or from now on."""
    request = event_pb2.WatchEventsRequest(
        job_id=job_id, node_id=node_id, cluster=cluster, after=after
    )
    return Stream(lambda s: s.placements.WatchEvents, request, EventCursor(request))


def export_round(round_id: int = 0) -> Call[placement_pb2.ExportRoundResponse]:
    """A planning round as a file that can be planned again; 0 means the last whole one."""
    request = placement_pb2.ExportRoundRequest(round_id=round_id)
    # A round of a nation takes its time, and has to end first.
    return Call(lambda s: s.placements.ExportRound, request, LONG_TIMEOUT_S)
