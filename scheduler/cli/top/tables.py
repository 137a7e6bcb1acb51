"""The three tables: what their columns show, and what they are sorted by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from scheduler.cli.render import clusters, common, jobs
from scheduler.cli.top.feed import Seen
from westward.v1 import job_pb2, placement_pb2

_BAR = 8
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Column(Generic[Item]):
    """One column; ``by`` gives what it is sorted by."""

    head: str
    cell: Callable[[Item], Text | str]
    by: Callable[[Item], Any]
    right: bool = False


@dataclass(frozen=True, slots=True)
class Sheet(Generic[Item]):
    """A table: of what it shows, which rows, and under which key each."""

    name: str
    title: str
    columns: tuple[Column[Item], ...]
    items: Callable[[Seen], Sequence[Item]]
    key: Callable[[Item], str]
    more: Callable[[Seen], bool]
    # A sentence on one row, told below the table for the one that is selected.
    detail: Callable[[Item], Text]

    def rows(
        self, seen: Seen, *, sort: int, reverse: bool, holding: str
    ) -> list[tuple[str, list[Text]]]:
        """Keys and cells of the items that hold a text, in order."""
        ordered = sorted(self.items(seen), key=self.key)
        ordered.sort(key=self.columns[sort].by, reverse=reverse)
        made = [(item, [_cell(column, item) for column in self.columns]) for item in ordered]
        sought = holding.lower()

        def fits(item: Item, cells: list[Text]) -> bool:
            return any(sought in text.plain.lower() for text in (*cells, self.detail(item)))

        return [(self.key(item), cells) for item, cells in made if not sought or fits(item, cells)]

    def told(self, seen: Seen, key: str) -> Text:
        """The sentence on the row of a key; nothing for one that is gone."""
        found = (item for item in self.items(seen) if self.key(item) == key)
        return next((self.detail(item) for item in found), Text())


def _cell(column: Column[Item], item: Item) -> Text:
    made = column.cell(item)
    cell = made if isinstance(made, Text) else Text(made)
    if column.right:
        cell.justify = "right"
    return cell


def _plain(head: str, cell: Callable[[Item], str]) -> Column[Item]:
    return Column(head, cell, cell)


def _figure(head: str, figure: Callable[[Item], float], form: str = "") -> Column[Item]:
    def cell(item: Item) -> str:
        return f"{figure(item):{form}}" if form else common.figure(figure(item))

    return Column(head, cell, figure, right=True)


def _busy(cluster: placement_pb2.Cluster) -> Text:
    """How full it is, readable without colours."""
    share = _share(cluster)
    full = round(share * _BAR)
    style = "red" if share > 0.9 else "yellow" if share > 0.6 else "green"
    bar = ("█" * full, style), ("·" * (_BAR - full), "dim")
    return Text.assemble(*bar, f" {cluster.gpus_busy}/{cluster.gpus}")


def _share(cluster: placement_pb2.Cluster) -> float:
    return cluster.gpus_busy / cluster.gpus if cluster.gpus else 0.0


def _links(cluster: placement_pb2.Cluster) -> Text:
    links = sorted(cluster.links, key=lambda link: link.region)
    told = ", ".join(f"{common.clean(x.region)} {x.rtt.p95_ms:.1f}" for x in links)
    return Text(f"{cluster.name}: rtt p95 ms: {told or 'not measured'}")


def _seconds(stamp: Timestamp) -> float:
    return stamp.seconds + stamp.nanos / 1e9


def _started(job: job_pb2.Job) -> float:
    return _seconds(job.attempts[-1].started_at) if job.attempts else 0.0


def _planned(job: job_pb2.Job) -> float:
    """Those without a start come last."""
    return _seconds(job.planned_start_at) or float("inf")


def _used_kwh(job: job_pb2.Job) -> float:
    return sum(attempt.used_kwh for attempt in job.attempts)


_JOB: tuple[Column[job_pb2.Job], ...] = (
    _plain("JOB", lambda job: job.id),
    _plain("NAME", jobs.title),
    _plain("TENANT", lambda job: common.clean(job.spec.tenant)),
    _plain("FROM", lambda job: common.clean(job.spec.region)),
    Column(
        "NEEDS", lambda job: jobs.needs(job.spec), lambda j: j.spec.workers * j.spec.per_worker.gpus
    ),
)
_STATE: Column[job_pb2.Job] = Column(
    "STATE", lambda job: common.job_state(job.state), lambda job: job.state
)
_WHY: Column[job_pb2.Job] = _plain("WHY", lambda job: common.clean(job.reason.code))

CLUSTERS: Sheet[placement_pb2.Cluster] = Sheet(
    "clusters",
    "Clusters",
    (
        _plain("CLUSTER", lambda c: common.clean(c.name)),
        Column("STATE", clusters.state, lambda c: clusters.state(c).plain),
        Column("GPUS BUSY", _busy, _share),
        _figure("ATTEMPTS", lambda c: c.attempts, "d"),
        _figure("YUAN/kWh", lambda c: c.price_yuan_per_kwh, ".3f"),
        _figure("GREEN kW", lambda c: c.green_supply_kw),
        _figure("LOAD kW", lambda c: c.load_kw),
        _figure("PUE", lambda c: c.pue, ".2f"),
    ),
    lambda seen: seen.clusters.clusters,
    lambda cluster: cluster.name,
    lambda seen: False,
    _links,
)
QUEUE: Sheet[job_pb2.Job] = Sheet(
    "queue",
    "Queue",
    (
        *_JOB,
        _STATE,
        _plain("TO", lambda job: common.clean(jobs.where(job))),
        Column("START", jobs.start, _planned),
        _WHY,
    ),
    lambda seen: seen.queue.jobs,
    lambda job: job.id,
    lambda seen: bool(seen.queue.next_page_token),
    lambda job: common.reason(job.reason),
)
RUNNING: Sheet[job_pb2.Job] = Sheet(
    "running",
    "Running",
    (
        *_JOB,
        _STATE,
        _plain("CLUSTER", lambda job: common.clean(jobs.where(job))),
        _figure("ATTEMPT", lambda job: len(job.attempts), "d"),
        Column("STARTED", jobs.start, _started),
        _figure("kWh", _used_kwh),
        _WHY,
    ),
    lambda seen: seen.running.jobs,
    lambda job: job.id,
    lambda seen: bool(seen.running.next_page_token),
    lambda job: common.reason(job.reason),
)
SHEETS: tuple[Sheet[Any], ...] = (CLUSTERS, QUEUE, RUNNING)
