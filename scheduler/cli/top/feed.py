"""What the screen shows, asked of the scheduler without ever holding up the screen."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from scheduler.client import AsyncClient
from westward.v1 import job_pb2, placement_pb2, timeline_pb2

# Of each list the newest; more than fit any screen.
JOBS_MOST = 500
HOLDING = (
    job_pb2.JOB_STATE_ASSIGNED,
    job_pb2.JOB_STATE_RUNNING,
    job_pb2.JOB_STATE_UNREACHABLE,
    job_pb2.JOB_STATE_PREEMPTING,
    job_pb2.JOB_STATE_SUSPENDING,
    job_pb2.JOB_STATE_CANCELLING,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. Each page says by its token whether there are more than it holds."""

    clusters: placement_pb2.ListClustersResponse
    queue: job_pb2.ListResponse
    running: job_pb2.ListResponse


class Source(Protocol):
    """Where looks come from. Every method raises ``WestwardError``."""

    @property
    def address(self) -> str: ...

    async def look(self) -> Seen: ...

    async def explain(self, job_id: str) -> placement_pb2.Explanation: ...

    async def ahead(self, cluster: str) -> timeline_pb2.TimelineResponse: ...

    async def close(self) -> None: ...


class Feed:
    """The scheduler behind a client, which it takes over."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @property
    def address(self) -> str:
        return self._client.address

    async def look(self) -> Seen:
        """Everything at once."""
        pending = (job_pb2.JOB_STATE_PENDING, job_pb2.JOB_STATE_SUSPENDED)
        clusters, queue, running = await asyncio.gather(
            self._client.clusters(),
            self._client.list_page(states=pending, page_size=JOBS_MOST),
            self._client.list_page(states=HOLDING, page_size=JOBS_MOST),
        )
        return Seen(clusters, queue, running)

    async def explain(self, job_id: str) -> placement_pb2.Explanation:
        """Why a job is where it is."""
        return (await self._client.explain(job_id)).explanation

    async def ahead(self, cluster: str) -> timeline_pb2.TimelineResponse:
        """A cluster's day to come."""
        return await self._client.timeline(cluster=cluster)

    async def close(self) -> None:
        await self._client.close()
