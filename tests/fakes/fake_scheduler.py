"""A scheduler of canned answers behind a real socket: what a client of ours sees, without one."""

import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.fakes import canned, canned_events, canned_questions, canned_timeline, canned_why
from westward.v1 import (
    event_pb2,
    job_pb2,
    job_pb2_grpc,
    placement_pb2,
    placement_pb2_grpc,
    preview_pb2,
    timeline_pb2,
    what_if_pb2,
    why_pb2,
)

# A region that no scheduler knows; a spec that names it is refused.
UNKNOWN_REGION = "atlantis"


class FakeScheduler(job_pb2_grpc.JobServiceServicer, placement_pb2_grpc.PlacementServiceServicer):
    """Remembers what it was sent; scripts what it sends."""

    def __init__(self) -> None:
        self.address = ""
        self.jobs = {job.id: job for job in canned.jobs()}
        self.specs: list[job_pb2.JobSpec] = []
        self.keys: dict[str, str] = {}
        self.tokens: list[str] = []
        self.previews: list[preview_pb2.PreviewRequest] = []
        self.preview = canned_questions.preview()
        self.what_ifs: list[what_if_pb2.WhatIfRequest] = []
        self.metadata: dict[str, str] = {}
        self.dirs: dict[str, bytes] = {}
        self.cancelled: list[tuple[str, str]] = []
        self.wishes: list[tuple[str, str, str]] = []
        # What Watch sends, one list per call; the last call's stream ends, others break.
        self.watches: list[list[job_pb2.WatchResponse]] = []
        self.pieces: list[list[job_pb2.LogsResponse]] = []
        self.log_requests: list[job_pb2.LogsRequest] = []
        # What WatchEvents sends, one list per call; the last call's stream ends, others break.
        self.happenings: list[list[event_pb2.WatchEventsResponse]] = [[]]
        self.afters: list[str] = []
        self.event_requests: list[event_pb2.ListEventsRequest] = []
        self.unavailable = 0
        self.page_sizes: list[int] = []
        # Keep the last watch open, as a job that runs would.
        self.held = False

    def Submit(self, request: job_pb2.SubmitRequest, context: Any) -> job_pb2.SubmitResponse:
        self._enter(context)
        _refuse(request.spec, context)
        self.tokens.append(request.plan_token)
        if request.plan_token not in ("", canned_questions.TOKEN):
            told = "the plan was qingyang A800 at once; it would now be nowhere"
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, told)
        known = self.keys.get(request.idempotency_key)
        job_id = self._store(request.spec, request.idempotency_key)
        return job_pb2.SubmitResponse(job=self.jobs[job_id], existed=known is not None)

    def SubmitBatch(
        self, request_iterator: Iterator[job_pb2.SubmitBatchRequest], context: Any
    ) -> job_pb2.SubmitBatchResponse:
        self._enter(context)
        return job_pb2.SubmitBatchResponse(results=[self._item(item) for item in request_iterator])

    def _item(self, item: job_pb2.SubmitBatchRequest) -> job_pb2.SubmitResult:
        if item.spec.region == UNKNOWN_REGION:
            violation = job_pb2.FieldViolation(field="region", description="unknown region")
            error = job_pb2.SubmitError(code=3, message="1 field", violations=[violation])
            return job_pb2.SubmitResult(error=error)
        return job_pb2.SubmitResult(job_id=self._store(item.spec, item.idempotency_key))

    def _store(self, spec: job_pb2.JobSpec, key: str) -> str:
        if key in self.keys:
            return self.keys[key]
        self.specs.append(spec)
        job_id = f"new{len(self.specs)}"
        self.keys[key] = job_id
        self.jobs[job_id] = job_pb2.Job(id=job_id, spec=spec, state=job_pb2.JOB_STATE_PENDING)
        return job_id

    def UploadWorkingDir(
        self, request_iterator: Iterator[job_pb2.UploadWorkingDirRequest], context: Any
    ) -> job_pb2.UploadWorkingDirResponse:
        self._enter(context)
        first = next(request_iterator)
        if len(first.sha256) != 64:
            _refuse_field(context, "sha256", f"{first.sha256!r} is not a SHA-256")
        existed = first.sha256 in self.dirs
        if not existed:
            self.dirs[first.sha256] = b"".join(item.data for item in request_iterator)
        return job_pb2.UploadWorkingDirResponse(sha256=first.sha256, existed=existed)

    def Get(self, request: job_pb2.GetRequest, context: Any) -> job_pb2.GetResponse:
        self._enter(context)
        chunks = [j for j in self.jobs.values() if j.array_id == request.job_id and j.array_id]
        job = chunks[-1] if chunks else self.jobs.get(request.job_id)
        if job is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no job {request.job_id!r}")
            raise AssertionError("abort raises")
        events = canned.events(job.id) if request.include_events else []
        return job_pb2.GetResponse(job=job, events=events)

    def List(self, request: job_pb2.ListRequest, context: Any) -> job_pb2.ListResponse:
        self._enter(context)
        self.page_sizes.append(request.page_size)
        passing = [
            job
            for job in self.jobs.values()
            if (not request.states or job.state in request.states)
            and request.region in ("", job.spec.region)
            and job.spec.name.startswith(request.name_prefix)
            and request.array_id in ("", job.array_id)
        ]
        begin = int(request.page_token or 0)
        end = begin + 2  # small pages, so that paging is seen
        token = str(end) if end < len(passing) else ""
        return job_pb2.ListResponse(jobs=passing[begin:end], next_page_token=token)

    def Watch(self, request: job_pb2.WatchRequest, context: Any) -> Iterator[job_pb2.WatchResponse]:
        self._enter(context)
        yield from self.watches.pop(0)
        if self.watches:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        while self.held and context.is_active():
            time.sleep(0.02)

    def Logs(self, request: job_pb2.LogsRequest, context: Any) -> Iterator[job_pb2.LogsResponse]:
        self._enter(context)
        self.log_requests.append(request)
        yield from self.pieces.pop(0)
        if self.pieces:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    def Cancel(self, request: job_pb2.CancelRequest, context: Any) -> job_pb2.CancelResponse:
        self._enter(context)
        chunks = [j for j in self.jobs.values() if j.array_id == request.job_id]
        known = chunks[-1] if chunks else self.jobs[request.job_id]
        state = job_pb2.JobState.Name(known.state).removeprefix("JOB_STATE_")
        ended = {job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED}
        if ended.issuperset(job.state for job in chunks or [known]):
            told = f"job {request.job_id} is already {state}; there is nothing to cancel"
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, told)
        self.cancelled.append((request.job_id, request.reason))
        job = job_pb2.Job()
        job.CopyFrom(known)
        if job.state not in ended:
            job.state = job_pb2.JOB_STATE_CANCELLING
        return job_pb2.CancelResponse(job=job)

    def Suspend(self, request: job_pb2.SuspendRequest, context: Any) -> job_pb2.SuspendResponse:
        job = self._asked(request, context, job_pb2.JOB_STATE_SUSPENDING)
        return job_pb2.SuspendResponse(job=job)

    def Resume(self, request: job_pb2.ResumeRequest, context: Any) -> job_pb2.ResumeResponse:
        return job_pb2.ResumeResponse(job=self._asked(request, context, job_pb2.JOB_STATE_PENDING))

    def ForceRetry(
        self, request: job_pb2.ForceRetryRequest, context: Any
    ) -> job_pb2.ForceRetryResponse:
        job = self._asked(request, context, job_pb2.JOB_STATE_PENDING)
        return job_pb2.ForceRetryResponse(job=job)

    def _asked(self, request: Any, context: Any, state: job_pb2.JobState.ValueType) -> job_pb2.Job:
        self._enter(context)
        self.wishes.append((type(request).__name__, request.job_id, request.reason))
        self.jobs[request.job_id].state = state
        return self.jobs[request.job_id]

    def ListTasks(
        self, request: job_pb2.ListTasksRequest, context: Any
    ) -> job_pb2.ListTasksResponse:
        self._enter(context)
        listed = [t for t in canned.tasks() if not request.states or t.state in request.states]
        begin = int(request.page_token or 0)
        end = begin + 2
        return job_pb2.ListTasksResponse(
            tasks=listed[begin:end],
            next_page_token=str(end) if end < len(listed) else "",
            counts=job_pb2.TaskCounts(total=1500, running=1, succeeded=997, failed=1),
        )

    def Explain(
        self, request: placement_pb2.ExplainRequest, context: Any
    ) -> placement_pb2.ExplainResponse:
        starts = canned_why.starts() if request.slots else None
        explanation = canned.explanation(request.job_id)
        return placement_pb2.ExplainResponse(explanation=explanation, starts=starts)

    def Why(self, request: why_pb2.WhyRequest, context: Any) -> why_pb2.WhyResponse:
        return why_pb2.WhyResponse(why=canned_why.why(request.job_id))

    def ListPlacements(
        self, request: placement_pb2.ListPlacementsRequest, context: Any
    ) -> placement_pb2.ListPlacementsResponse:
        # Two pages, of one each.
        found, begin = canned.placements().placements, int(request.page_token or 0)
        more = str(begin + 1) if begin + 1 < len(found) else ""
        told = found[begin : begin + 1]
        return placement_pb2.ListPlacementsResponse(placements=told, next_page_token=more)

    def ListClusters(
        self, request: placement_pb2.ListClustersRequest, context: Any
    ) -> placement_pb2.ListClustersResponse:
        return canned.clusters()

    def ListNodes(
        self, request: placement_pb2.ListNodesRequest, context: Any
    ) -> placement_pb2.ListNodesResponse:
        return canned.nodes()

    def Timeline(
        self, request: timeline_pb2.TimelineRequest, context: Any
    ) -> timeline_pb2.TimelineResponse:
        self._enter(context)
        return canned_timeline.timeline()

    def ListRounds(
        self, request: placement_pb2.ListRoundsRequest, context: Any
    ) -> placement_pb2.ListRoundsResponse:
        return canned.rounds()

    def GetRound(
        self, request: placement_pb2.GetRoundRequest, context: Any
    ) -> placement_pb2.GetRoundResponse:
        found = [item for item in canned.rounds().rounds if item.id == request.round_id]
        if not found:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no round {request.round_id} is stored")
        return placement_pb2.GetRoundResponse(round=found[0])

    def ListEvents(
        self, request: event_pb2.ListEventsRequest, context: Any
    ) -> event_pb2.ListEventsResponse:
        self.event_requests.append(request)
        found = [e for e in canned_events.audit()[::-1] if request.node_id in ("", e.name)]
        begin = int(request.page_token or 0)
        end = begin + min(request.page_size, 3)  # small pages, so that paging is seen
        token = str(end) if end < len(found) else ""
        return event_pb2.ListEventsResponse(
            events=found[begin:end], next_page_token=token, position="" if begin else "7.9"
        )

    def WatchEvents(
        self, request: event_pb2.WatchEventsRequest, context: Any
    ) -> Iterator[event_pb2.WatchEventsResponse]:
        self.afters.append(request.after)
        yield from self.happenings.pop(0)
        if self.happenings:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    def ExportRound(
        self, request: placement_pb2.ExportRoundRequest, context: Any
    ) -> placement_pb2.ExportRoundResponse:
        if request.round_id not in (0, 41):
            context.abort(grpc.StatusCode.NOT_FOUND, f"round {request.round_id} is not kept")
        return placement_pb2.ExportRoundResponse(file=b"all of round 41")

    def Preview(
        self, request: preview_pb2.PreviewRequest, context: Any
    ) -> placement_pb2.PreviewResponse:
        self._enter(context)
        for n, spec in enumerate(request.specs):
            _refuse(spec, context, f"specs[{n}].region")
        self.previews.append(request)
        return self.preview

    def WhatIf(
        self, request: what_if_pb2.WhatIfRequest, context: Any
    ) -> what_if_pb2.WhatIfResponse:
        self._enter(context)
        self.what_ifs.append(request)
        return canned_questions.what_if(differs=bool(request.changes))

    def _enter(self, context: Any) -> None:
        self.metadata = dict(context.invocation_metadata())
        if self.unavailable:
            self.unavailable -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")


def _refuse(spec: job_pb2.JobSpec, context: Any, field: str = "region") -> None:
    if spec.region == UNKNOWN_REGION:
        _refuse_field(context, field, "unknown region 'atlantis'; known: shanghai")


def _refuse_field(context: Any, field: str, description: str) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=description)
    bad = error_details_pb2.BadRequest(field_violations=[violation])
    detail = any_pb2.Any()
    detail.Pack(bad)
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="1 field", details=[detail])
    context.abort_with_status(rpc_status.to_status(status))


@contextmanager
def serving() -> Iterator[FakeScheduler]:
    """Serves on a port of the system's choice while entered."""
    fake = FakeScheduler()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    job_pb2_grpc.add_JobServiceServicer_to_server(fake, server)
    placement_pb2_grpc.add_PlacementServiceServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield fake
    finally:
        fake.held = False
        server.stop(grace=None)
