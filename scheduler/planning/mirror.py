"""What the planner knows of the world: kept from round to round, changed by what it is told."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import fields, replace
from datetime import datetime
from operator import attrgetter
from zlib import crc32

from policies.rules import Rules
from scheduler.domain.fleet import Node, Region, Site
from scheduler.domain.job import Command, JobSpec
from scheduler.domain.reason import ReasonCode
from scheduler.planner.snapshot import PendingJob, PlannedStart, RunningAttempt, Snapshot
from scheduler.planning.calendar import Calendar
from scheduler.planning.front import Front, Line, free
from scheduler.planning.messages import Ask, Changes, DriftedError, JobNews, Stamp
from scheduler.planning.values import as_of

# What a job does and with which secrets is nothing to a plan, and must not leave the house with a
# round that is exported.
_LEFT_OUT = frozenset({"name", "work", "env", "working_dir_sha256", "checkpoint_uri"})
_REST = attrgetter(*(field.name for field in fields(JobSpec) if field.name not in _LEFT_OUT))
# Specs that no job has any more are dropped when there are so many more than jobs.
_SHAPES_SPARE = 1000


def mark(job_id: str, version: int) -> int:
    """One job's part in the digest of all: their exclusive or."""
    return crc32(f"{job_id} {version}".encode())


class Mirror:
    """Jobs, nodes, sites and rules as they were told. Jobs that ask for the same share a spec, so
    that the planner tells at a glance that they are alike."""

    def __init__(self) -> None:
        self._forget_all()

    def _forget_all(self) -> None:
        self.pending: dict[str, PendingJob] = {}
        self.planned: dict[str, PlannedStart] = {}
        self._running: dict[str, RunningAttempt] = {}
        self._versions: dict[str, int] = {}
        self._pages = self._digest = 0
        self._nodes: dict[str, Node] = {}
        self._nodes_in_order: tuple[Node, ...] | None = None
        self._sites: dict[str, Site] = {}
        self._regions: dict[str, Region] = {}
        self._rules = Rules()
        self._line = Line()
        self._starts: Calendar[datetime] = Calendar()
        self._shapes: dict[object, JobSpec] = {}

    def take(self, changes: Changes) -> None:
        """Takes in a page."""
        if changes.anew:
            self._forget_all()
        self._pages += 1
        for job_id in changes.jobs_gone:
            self._drop(job_id)
        for news in changes.jobs:
            self._drop(news.job_id)
            self._put(news)
        for name in changes.nodes_gone:
            self._nodes.pop(name, None)
        self._nodes |= {node.id: node for node in changes.nodes}
        if changes.nodes or changes.nodes_gone:
            self._nodes_in_order = None
        for name in changes.sites_gone:
            self._sites.pop(name, None)
        self._sites |= {site.cluster: site for site in changes.sites}
        self._regions = self._regions if changes.regions is None else changes.regions
        self._rules = self._rules if changes.rules is None else changes.rules
        if len(self._shapes) > 2 * len(self._versions) + _SHAPES_SPARE:
            specs = [seen.spec for seen in self.pending.values()]
            specs += [seen.spec for seen in self._running.values()]
            self._shapes = {_REST(spec): spec for spec in specs}

    def check(self, stamp: Stamp) -> None:
        """Compares what was taken in with what was sent.

        Raises:
            DriftedError: something is missing.
        """
        mine = Stamp(self._pages, len(self._versions), self._digest)
        if stamp != mine:
            raise DriftedError(f"the planner was told {mine}, not {stamp}")

    def plan_for(self, job_id: str, start: PlannedStart | None) -> None:
        """Notes where a job stands planned; None: nowhere."""
        if start is None:
            self.planned.pop(job_id, None)
        else:
            self.planned[job_id] = start
        self._starts.put(job_id, start.start_at if start else None)

    def front(self, ask: Ask, code: Callable[[str], ReasonCode | None]) -> Front:
        """The front of the line; ``code`` tells why a job waits."""
        return self._line.front(
            without=ask.without,
            now_at=ask.now_at,
            free=free(self._nodes.values(), self._running.values()),
            code=code,
            planned=self._starts,
        )

    def snapshot(self, ask: Ask) -> Snapshot:
        """The world as the round sees it."""
        chosen = sorted(self._chosen(ask))
        if self._nodes_in_order is None:
            self._nodes_in_order = tuple(node for _, node in sorted(self._nodes.items()))
        return Snapshot(
            now_at=ask.now_at,
            slot_s=ask.slot_s,
            slots=ask.slots,
            jobs=tuple(self.pending[job_id] for job_id in chosen),
            running=tuple(as_of(r, ask.now_at) for r in self._in_order()),
            nodes=self._nodes_in_order,
            sites=dict(sorted(self._sites.items())),
            regions=self._regions,
            previous={i: self.planned[i] for i in chosen if i in self.planned},
            claims=ask.claims,
            rules=self._rules,
        )

    def _in_order(self) -> list[RunningAttempt]:
        return sorted(self._running.values(), key=lambda r: r.attempt_id)

    def _chosen(self, ask: Ask) -> Iterable[str]:
        wanted: Collection[str] = self.pending if ask.only is None else ask.only
        return (i for i in wanted if i in self.pending and i not in ask.without)

    def _drop(self, job_id: str) -> None:
        version = self._versions.pop(job_id, None)
        if version is None:
            return
        self._digest ^= mark(job_id, version)
        self._running.pop(job_id, None)
        if self.pending.pop(job_id, None) is not None:
            self._line.leave(job_id)
            self.plan_for(job_id, None)

    def _put(self, news: JobNews) -> None:
        self._versions[news.job_id] = news.version
        self._digest ^= mark(news.job_id, news.version)
        if isinstance(news.seen, RunningAttempt):
            self._running[news.job_id] = replace(news.seen, spec=self._shape(news.seen.spec))
        elif news.seen is not None:
            job = replace(news.seen, spec=self._shape(news.seen.spec))
            self.pending[news.job_id] = job
            self._line.join(job)
            self.plan_for(news.job_id, news.planned)

    def _shape(self, spec: JobSpec) -> JobSpec:
        rest = _REST(spec)
        known = self._shapes.get(rest)
        if known is None:
            known = self._shapes[rest] = without_content(spec)
        return known


def without_content(spec: JobSpec) -> JobSpec:
    """What a plan may know of a spec."""
    return replace(
        spec, name="", work=Command(()), env={}, working_dir_sha256=None, checkpoint_uri=None
    )
