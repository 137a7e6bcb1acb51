"""The live jobs by cluster: of all that are not final they are few, and every exchange with a head
agent is about those of its own."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from scheduler.domain.job import Job

_NONE: Mapping[str, Job] = MappingProxyType({})


class LiveJobs:
    """The jobs of which an attempt may exist somewhere; kept by the job book."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self._by_cluster: dict[str, dict[str, Job]] = {}
        self._cluster_of: dict[str, str] = {}
        for job in jobs:
            self.follow(job)

    def follow(self, job: Job) -> None:
        """Takes a job as it is now."""
        cluster = job.attempt.cluster if job.attempt is not None and job.state.live else None
        before = self._cluster_of.get(job.id)
        if before is not None and before != cluster:
            self._leave(job.id, before)
        if cluster is not None:
            self._by_cluster.setdefault(cluster, {})[job.id] = job
            self._cluster_of[job.id] = cluster

    def _leave(self, job_id: str, cluster: str) -> None:
        del self._cluster_of[job_id]
        here = self._by_cluster[cluster]
        del here[job_id]
        if not here:
            del self._by_cluster[cluster]

    def on(self, cluster: str) -> Mapping[str, Job]:
        """Those whose newest attempt is there, by id: a live view for as long as there are any."""
        here = self._by_cluster.get(cluster)
        return MappingProxyType(here) if here is not None else _NONE

    def clusters(self) -> list[str]:
        """Where there are any."""
        return list(self._by_cluster)

    def __iter__(self) -> Iterator[Job]:
        for here in self._by_cluster.values():
            yield from here.values()

    def __len__(self) -> int:
        return len(self._cluster_of)
