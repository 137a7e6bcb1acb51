"""Clusters: what is up, what is free, what power costs and how much of it is green."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import common
from scheduler.cli.render.noted import Noted
from westward.v1 import node_pb2, placement_pb2


def listing(answer: placement_pb2.ListClustersResponse, *, wide: bool = False) -> RenderableType:
    """One row per cluster, and the power clock below."""
    if not answer.clusters:
        return Group(
            Text("No cluster has reported yet. Start agents with: westward agent --config FILE"),
            _clock(answer),
        )
    clusters = sorted(answer.clusters, key=lambda c: c.name)
    notes = [_links(cluster, wide=wide) for cluster in clusters]

    def build(noted: bool) -> Table:
        table = common.table()
        for head in ("CLUSTER", "STATE"):
            table.add_column(head, no_wrap=True)
        for head in ("NODES", "GPUS BUSY", "YUAN/kWh", "GREEN kW", "LOAD kW", "PUE"):
            table.add_column(head, no_wrap=True, justify="right")
        if wide:
            for head in ("CAP kW", "GRID g/kWh"):
                table.add_column(head, no_wrap=True, justify="right")
            for head in ("PROVINCE", "ACCELERATORS", "PRICE FROM", "GREEN FROM"):
                table.add_column(head, no_wrap=True)
        if noted:
            table.add_column("RTT p95 ms", no_wrap=True)
        for cluster, links in zip(clusters, notes, strict=True):
            table.add_row(*_row(cluster, wide=wide), *([links] * noted))
        return table

    below = [Text.assemble(("rtt p95 ms: ", "dim"), links) for links in notes]
    sources = [line for cluster in clusters for line in _sources(cluster, wide=wide)]
    return Group(Noted(build, below), Text(), *sources, _clock(answer))


def _sources(cluster: placement_pb2.Cluster, *, wide: bool) -> list[Text]:
    """What no longer tells of the present; in a wide listing where all of it comes from."""
    lines = []
    for series in cluster.series:
        told = [series.source or "no source named"]
        if series.HasField("age_s"):
            told.append(f"{common.span(series.age_s)} old")
        told += ["measured"] * series.measured + ["from a share of the load"] * series.from_share
        line = Text(common.clean(f"{cluster.name}: {series.name}: {', '.join(told)}"))
        if series.stale:
            stale = common.clean(f"; {series.stale}")
            lines.append(Text.assemble(("stale  ", "yellow"), line, stale))
        elif wide:
            lines.append(line)
    return lines


def _row(cluster: placement_pb2.Cluster, *, wide: bool) -> list[RenderableType]:
    row: list[RenderableType] = [
        common.clean(cluster.name),
        state(cluster),
        str(cluster.nodes),
        f"{cluster.gpus_busy}/{cluster.gpus}",
        f"{cluster.price_yuan_per_kwh:.3f}",
        common.figure(cluster.green_supply_kw),
        common.figure(cluster.load_kw),
        f"{cluster.pue:.2f}",
    ]
    if wide:
        row += [
            common.figure(cluster.power_cap_kw) if cluster.HasField("power_cap_kw") else "none",
            f"{cluster.grid_carbon_g_per_kwh:.0f}",
            common.clean(cluster.province),
            common.clean(", ".join(cluster.accelerators)) or "none",
            common.clean(cluster.price_source),
            common.clean(cluster.green_source),
        ]
    return row


def _links(cluster: placement_pb2.Cluster, *, wide: bool) -> Text:
    links = sorted(cluster.links, key=lambda link: link.region)
    return Text(", ".join(_link(link, wide=wide) for link in links) or "not measured")


def state(cluster: placement_pb2.Cluster) -> Text:
    """``up``, or what is wrong."""
    if cluster.connected and cluster.not_serving:
        return Text(common.clean(cluster.not_serving), "bold red")
    if cluster.connected:
        return Text("up", "green")
    return Text(f"silent {common.span(cluster.silent_s)}", "bold red")


def _link(link: placement_pb2.RegionLink, *, wide: bool) -> str:
    text = f"{common.clean(link.region)} {link.rtt.p95_ms:.1f}"
    if not wide:
        return text
    loss = f", loss {link.rtt.loss * 100:.1f} %" if link.rtt.loss else ""
    jitter = f", jitter {link.rtt.jitter_ms:.2f}" if link.rtt.jitter_ms else ""
    return f"{text} (n={link.rtt.samples}{jitter}{loss}, {common.span(link.age_s)} ago)"


def _clock(answer: placement_pb2.ListClustersResponse) -> Text:
    now = answer.now_at
    text = f"power clock {common.when(now, seconds=True)} {common.zone(now)}"
    return Text(f"{text}{pace(answer.power_clock)}", "dim")


def pace(clock: node_pb2.PowerClock) -> str:
    """``, 60 × real time``; empty when it runs with real time."""
    return f", {clock.speedup:g} × real time" if clock.speedup not in (0, 1) else ""
