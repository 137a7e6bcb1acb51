"""What the planner has not been told of yet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from policies.rules import Rules
from scheduler.domain.fleet import Node, Region, Site
from scheduler.domain.job import Job, JobState
from scheduler.planner.snapshot import PendingJob, PlannedStart, RunningAttempt
from scheduler.planning.messages import PAGE_MOST, Changes, JobNews, Stamp
from scheduler.planning.mirror import mark
from scheduler.planning.values import pending_job, running_attempt
from scheduler.state.fleet import Fleet


class Unsent:
    """Keeps track of changes since the last page; makes the pages."""

    def __init__(
        self,
        active: Mapping[str, Job],
        fleet: Fleet,
        rules: Callable[[], Rules],
        planned: Callable[[str], PlannedStart | None],
    ) -> None:
        """
        Args:
            active: all jobs that are not final: a live view.
            planned: where a pending job stands planned.
        """
        self._active = active
        self._fleet = fleet
        self._rules = rules
        self._planned = planned
        self.everything()

    def everything(self) -> None:
        """The planner is to be told all anew."""
        self._anew = True
        self._jobs: dict[str, None] = dict.fromkeys(self._active)
        self._versions: dict[str, int] = {}
        self._pages = self._digest = 0
        self._nodes: dict[str, None] = {}
        self._told_nodes: tuple[Node, ...] = ()
        self._nodes_by_id: dict[str, Node] = {}
        self._told_sites: dict[str, Site] = {}
        self._told_regions: dict[str, Region] | None = None
        self._told_rules: Rules | None = None

    def job(self, job_id: str) -> None:
        """A job has changed."""
        self._jobs[job_id] = None

    @property
    def versions(self) -> Mapping[str, int]:
        """Of the jobs, as the planner has been told of them."""
        return self._versions

    @property
    def stamp(self) -> Stamp:
        """What the planner has been told, in sum."""
        return Stamp(self._pages, len(self._versions), self._digest)

    @property
    def drifted(self) -> bool:
        """Whether a change was missed, as far as it can be seen: all is told, and there are other
        jobs than the planner knows of."""
        return not self._jobs and len(self._versions) != len(self._active)

    def pages_before_the_last(self) -> Iterator[Changes]:
        """Pages until one is enough for the rest."""
        self._look_at_nodes()
        while len(self._jobs) + len(self._nodes) > PAGE_MOST:
            yield self.page()

    def page(self) -> Changes:
        """The next page, which counts as told; the last one tells of sites and rules as well."""
        self._look_at_nodes()
        nodes, nodes_gone = self._node_page()
        jobs, jobs_gone = self._job_page(PAGE_MOST - len(nodes) - len(nodes_gone))
        anew, self._anew = self._anew, False
        self._pages += 1
        page = Changes(
            anew=anew,
            jobs=tuple(jobs),
            jobs_gone=tuple(jobs_gone),
            nodes=tuple(nodes),
            nodes_gone=tuple(nodes_gone),
        )
        return page if self._jobs or self._nodes else self._with_sites(page)

    def _with_sites(self, page: Changes) -> Changes:
        sites, regions, rules = self._fleet.sites(), self._fleet.regions, self._rules()
        page = replace(
            page,
            sites=tuple(s for name, s in sites.items() if self._told_sites.get(name) != s),
            sites_gone=tuple(self._told_sites.keys() - sites.keys()),
            regions=None if regions is self._told_regions else regions,
            rules=None if rules == self._told_rules else rules,
        )
        self._told_sites, self._told_regions, self._told_rules = sites, regions, rules
        return page

    def _look_at_nodes(self) -> None:
        nodes = self._fleet.nodes()
        if nodes is self._told_nodes:
            return
        before, self._told_nodes = self._nodes_by_id, nodes
        self._nodes_by_id = {node.id: node for node in nodes}
        changed = (node.id for node in nodes if before.get(node.id) is not node)
        self._nodes |= dict.fromkeys(changed)
        self._nodes |= dict.fromkeys(before.keys() - self._nodes_by_id.keys())

    def _node_page(self) -> tuple[list[Node], list[str]]:
        ids = _taken(self._nodes, PAGE_MOST)
        there = [self._nodes_by_id[node_id] for node_id in ids if node_id in self._nodes_by_id]
        return there, [node_id for node_id in ids if node_id not in self._nodes_by_id]

    def _job_page(self, most: int) -> tuple[list[JobNews], list[str]]:
        news, gone = list[JobNews](), list[str]()
        for job_id in _taken(self._jobs, most):
            before = self._versions.pop(job_id, None)
            if before is not None:
                self._digest ^= mark(job_id, before)
            job = self._active.get(job_id)
            if job is not None:
                self._versions[job_id] = job.version
                self._digest ^= mark(job_id, job.version)
                news.append(JobNews(job_id, job.version, _seen(job), self._planned(job_id)))
            elif before is not None:
                gone.append(job_id)
        return news, gone


def _taken(waiting: dict[str, None], most: int) -> list[str]:
    taken = [job_id for job_id, _ in zip(waiting, range(most), strict=False)]
    for job_id in taken:
        del waiting[job_id]
    return taken


def _seen(job: Job) -> PendingJob | RunningAttempt | None:
    if job.state is JobState.PENDING:
        return pending_job(job)
    if job.attempt is not None and job.state.live:
        return running_attempt(job, job.attempt)
    return None
