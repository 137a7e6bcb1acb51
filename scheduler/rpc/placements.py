"""Where jobs are, why, and what is known of the world."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta

import grpc

from scheduler.clock import Clock
from scheduler.domain.audit import AuditEvent, Happening, Subject
from scheduler.domain.fleet import Mark, Node, NodeLifecycle, Site
from scheduler.domain.validation import Violation
from scheduler.planning.asked_again import AskedAgain
from scheduler.planning.loop import PlanningLoop
from scheduler.rpc import callers, convert_jobs, convert_nodes, convert_placements, events, why
from scheduler.rpc.errors import answers, invalid, not_found
from scheduler.rpc.placement_pages import PlacementPages
from scheduler.rpc.preview import PreviewCalls
from scheduler.rpc.timeline import Timelines
from scheduler.state.audit import Audit
from scheduler.state.fleet import Fleet
from scheduler.state.jobs import JobBook
from scheduler.state.known import NodeView
from scheduler.state.load import Held, Holdings
from scheduler.store import Store
from westward.v1 import (
    event_pb2,
    placement_pb2,
    placement_pb2_grpc,
    preview_pb2,
    timeline_pb2,
    what_if_pb2,
    why_pb2,
)

ROUNDS_DEFAULT = 20
ROUNDS_MOST = 1000
ROUND_ID_MOST = 2**31 - 1
# Who states no name.
OPERATOR = "operator"
# Characters of what an operator says of it.
REASON_MOST = 256
DEADLINE_MOST_S = 30 * 86400.0

Context = grpc.aio.ServicerContext


class PlacementServicer(placement_pb2_grpc.PlacementServiceServicer):
    """Converts, asks, answers."""

    def __init__(
        self,
        *,
        book: JobBook,
        fleet: Fleet,
        loop: PlanningLoop,
        export: Callable[[int], Awaitable[bytes | None]],
        previews: PreviewCalls,
        store: Store,
        clock: Clock,
        audit: Audit,
    ) -> None:
        """``export`` gives a round as a file, 0 the last whole one; None if it is not kept."""
        self._book = book
        self._fleet = fleet
        self._loop = loop
        self._export = export
        self._timelines = Timelines(book.active(), fleet, loop.planned, clock, loop.slot_s)
        self._pages = PlacementPages(book, store, loop.planned)
        self._previews = previews
        self._store = store
        self._clock = clock
        self._audit = audit

    @answers
    async def Explain(
        self,
        request: placement_pb2.ExplainRequest,
        context: Context[placement_pb2.ExplainRequest, placement_pb2.ExplainResponse],
    ) -> placement_pb2.ExplainResponse:
        job = await self._book.get(request.job_id)
        if request.now or request.slots:
            why.see_it_waits(job)
        if request.now:
            answer = await self._previews.questions.ask(AskedAgain(job.id, slots=request.slots))
            found, starts = answer.explanation, answer.starts
        else:
            found = await self._loop.explain(job.id) or await self._store.rounds.explanation(job.id)
            starts = await self._loop.starts(job.id) if request.slots else None
        if found is None or (request.slots and starts is None):
            raise not_found(f"job {job.id} has not been seen by a planning round yet; ask again")
        return placement_pb2.ExplainResponse(
            explanation=convert_placements.explanation_to_pb(found),
            starts=why.starts_to_pb(starts) if starts else None,
        )

    @answers
    async def Why(
        self,
        request: why_pb2.WhyRequest,
        context: Context[why_pb2.WhyRequest, why_pb2.WhyResponse],
    ) -> why_pb2.WhyResponse:
        job = await self._book.get(request.job_id)
        return why_pb2.WhyResponse(why=why.why_to_pb(job, await self._loop.why(job)))

    @answers
    async def ListPlacements(
        self,
        request: placement_pb2.ListPlacementsRequest,
        context: Context[placement_pb2.ListPlacementsRequest, placement_pb2.ListPlacementsResponse],
    ) -> placement_pb2.ListPlacementsResponse:
        return await self._pages.page(request)

    @answers
    async def ListClusters(
        self,
        request: placement_pb2.ListClustersRequest,
        context: Context[placement_pb2.ListClustersRequest, placement_pb2.ListClustersResponse],
    ) -> placement_pb2.ListClustersResponse:
        nodes = {node.id: node for node in self._fleet.nodes()}
        holdings = Holdings(self._book.active().values(), nodes)
        members = defaultdict[str, list[Node]](list)
        for node in nodes.values():
            members[node.cluster].append(node)
        clusters = [
            self._cluster(site, members[name], holdings.of_nodes(name, members[name]))
            for name, site in self._fleet.sites().items()
        ]
        return placement_pb2.ListClustersResponse(
            clusters=clusters,
            power_clock=convert_nodes.power_clock(self._clock),
            now_at=convert_jobs.stamp(self._clock.now()),
        )

    @answers
    async def ListNodes(
        self,
        request: placement_pb2.ListNodesRequest,
        context: Context[placement_pb2.ListNodesRequest, placement_pb2.ListNodesResponse],
    ) -> placement_pb2.ListNodesResponse:
        views = self._fleet.node_views(request.cluster)
        return placement_pb2.ListNodesResponse(nodes=self._nodes(views))

    @answers
    async def CordonNode(
        self,
        request: placement_pb2.CordonNodeRequest,
        context: Context[placement_pb2.CordonNodeRequest, placement_pb2.CordonNodeResponse],
    ) -> placement_pb2.CordonNodeResponse:
        actor = callers.actor(context, OPERATOR)
        mark = Mark(self._clock.now(), actor, convert_nodes.text(request.reason, REASON_MOST))
        node = await self._mark(request.node_id, mark, mark.actor)
        return placement_pb2.CordonNodeResponse(node=node)

    @answers
    async def DrainNode(
        self,
        request: placement_pb2.DrainNodeRequest,
        context: Context[placement_pb2.DrainNodeRequest, placement_pb2.DrainNodeResponse],
    ) -> placement_pb2.DrainNodeResponse:
        if not 0 <= request.deadline_s <= DEADLINE_MOST_S:
            told = f"{request.deadline_s:g} is not 0 to {DEADLINE_MOST_S:g} seconds"
            raise invalid([Violation("deadline_s", told)])
        at = self._clock.now()
        until_at = at + timedelta(seconds=request.deadline_s)
        reason = convert_nodes.text(request.reason, REASON_MOST)
        mark = Mark(at, callers.actor(context, OPERATOR), reason, until_at)
        node = await self._mark(request.node_id, mark, mark.actor)
        return placement_pb2.DrainNodeResponse(node=node)

    @answers
    async def UncordonNode(
        self,
        request: placement_pb2.UncordonNodeRequest,
        context: Context[placement_pb2.UncordonNodeRequest, placement_pb2.UncordonNodeResponse],
    ) -> placement_pb2.UncordonNodeResponse:
        actor = callers.actor(context, OPERATOR)
        node = await self._mark(request.node_id, None, actor)
        return placement_pb2.UncordonNodeResponse(node=node)

    async def _mark(self, node_id: str, mark: Mark | None, actor: str) -> placement_pb2.Node:
        if not self._fleet.knows(node_id) and node_id not in self._store.marks.all:
            raise not_found(f"no node {node_id!r} has connected; see `westward nodes`")
        await self._store.marks.put(node_id, mark, self._marked(node_id, mark, actor))
        self._audit.bell.ring()
        self._fleet.marked()
        self._loop.trigger("node marked")
        found = [view for view in self._fleet.node_views() if view.node.id == node_id]
        if not found:
            return placement_pb2.Node(id=node_id)
        return self._nodes(found)[0]

    def _marked(self, node_id: str, mark: Mark | None, actor: str) -> AuditEvent:
        """What an operator's wish is in the audit trail."""
        node, before = self._fleet.node(node_id), self._store.marks.all.get(node_id)
        after = mark.lifecycle if mark is not None else NodeLifecycle.READY
        told = mark.reason if mark is not None else ""
        if mark is not None and mark.drain_until_at is not None:
            told += (
                f"{'; ' * bool(told)}what runs is to leave by {mark.drain_until_at:%m-%d %H:%M} UTC"
            )
        return AuditEvent(
            at=self._clock.now(),
            actor=actor,
            subject=Subject.NODE,
            name=node_id,
            cluster=node.cluster if node is not None else "",
            event=Happening.UNCORDONED if mark is None else after.value,
            from_state=(before.lifecycle if before is not None else NodeLifecycle.READY).value,
            to_state=after.value,
            message=told,
        )

    def _nodes(self, views: Sequence[NodeView]) -> list[placement_pb2.Node]:
        nodes = {view.node.id: view.node for view in views}
        holdings = Holdings(self._book.active().values(), nodes)
        held = [(view, holdings.of_node(view.node.id)) for view in views]
        return [convert_nodes.node_view(view, part.gpus, part.attempts) for view, part in held]

    @answers
    async def ListRounds(
        self,
        request: placement_pb2.ListRoundsRequest,
        context: Context[placement_pb2.ListRoundsRequest, placement_pb2.ListRoundsResponse],
    ) -> placement_pb2.ListRoundsResponse:
        limit = min(request.limit or ROUNDS_DEFAULT, ROUNDS_MOST)
        rounds = await self._store.rounds.list_newest(limit)
        return placement_pb2.ListRoundsResponse(
            rounds=[convert_placements.round_to_pb(record) for record in rounds]
        )

    @answers
    async def GetRound(
        self,
        request: placement_pb2.GetRoundRequest,
        context: Context[placement_pb2.GetRoundRequest, placement_pb2.GetRoundResponse],
    ) -> placement_pb2.GetRoundResponse:
        # No database numbers as far as the wire does.
        record = await self._store.rounds.find(min(request.round_id, ROUND_ID_MOST))
        if record is None:
            raise not_found(f"no round {request.round_id} is stored; see `westward rounds`")
        return placement_pb2.GetRoundResponse(round=convert_placements.round_to_pb(record))

    @answers
    async def ListEvents(
        self,
        request: event_pb2.ListEventsRequest,
        context: Context[event_pb2.ListEventsRequest, event_pb2.ListEventsResponse],
    ) -> event_pb2.ListEventsResponse:
        return await events.listed(self._store.events, request)

    @answers
    async def WatchEvents(
        self,
        request: event_pb2.WatchEventsRequest,
        context: Context[event_pb2.WatchEventsRequest, event_pb2.WatchEventsResponse],
    ) -> AsyncIterator[event_pb2.WatchEventsResponse]:
        follow = events.followed(self._store.events, self._audit.bell, request)
        async with aclosing(follow) as followed:
            async for answer in followed:
                yield answer

    @answers
    async def ExportRound(
        self,
        request: placement_pb2.ExportRoundRequest,
        context: Context[placement_pb2.ExportRoundRequest, placement_pb2.ExportRoundResponse],
    ) -> placement_pb2.ExportRoundResponse:
        file = await self._export(request.round_id)
        if file is None:
            raise not_found(_not_kept(request.round_id))
        return placement_pb2.ExportRoundResponse(file=file)

    @answers
    async def Timeline(
        self,
        request: timeline_pb2.TimelineRequest,
        context: Context[timeline_pb2.TimelineRequest, timeline_pb2.TimelineResponse],
    ) -> timeline_pb2.TimelineResponse:
        return await self._timelines.timeline(request)

    @answers
    async def Preview(
        self,
        request: preview_pb2.PreviewRequest,
        context: Context[preview_pb2.PreviewRequest, placement_pb2.PreviewResponse],
    ) -> placement_pb2.PreviewResponse:
        return await self._previews.preview(request)

    @answers
    async def WhatIf(
        self,
        request: what_if_pb2.WhatIfRequest,
        context: Context[what_if_pb2.WhatIfRequest, what_if_pb2.WhatIfResponse],
    ) -> what_if_pb2.WhatIfResponse:
        return await self._previews.what_if(request)

    def _cluster(self, site: Site, nodes: Sequence[Node], held: Held) -> placement_pb2.Cluster:
        now = self._clock.now()
        silent_s = self._fleet.silent_s(site.cluster)
        cluster = placement_pb2.Cluster(
            name=site.cluster,
            province=site.province,
            connected=site.reachable,
            not_serving=site.not_serving,
            silent_s=silent_s,
            nodes=len(nodes),
            gpus=sum(node.gpus for node in nodes),
            gpus_busy=held.gpus,
            price_yuan_per_kwh=site.price_yuan_per_kwh.at(now),
            green_supply_kw=site.green_supply_kw.at(now),
            load_kw=held.it_kw * site.pue.at(now),
            pue=site.pue.at(now),
            grid_carbon_g_per_kwh=site.carbon_g_per_kwh_at(now),
            power_cap_kw=site.power_cap_kw,
            accelerators=sorted({node.accelerator for node in nodes if node.accelerator}),
            attempts=held.attempts,
            price_source=site.price_yuan_per_kwh.source,
            green_source=site.green_supply_kw.source,
            series=convert_nodes.series_states(site, self._clock),
        )
        for region, rtt in sorted(site.rtt.items()):
            cluster.links.append(
                placement_pb2.RegionLink(
                    region=region,
                    rtt=convert_nodes.rtt_facts(rtt),
                    age_s=self._fleet.rtt_age_s(site.cluster, region),
                )
            )
        return cluster


def _not_kept(round_id: int) -> str:
    if not round_id:
        return "no round has been planned since the scheduler started; ask again"
    return f"round {round_id} is not kept: only the newest are; leave the number out for the last"
