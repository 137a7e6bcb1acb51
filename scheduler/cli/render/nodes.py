"""Nodes: the GPU hosts, and what they said that was not believed."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from scheduler.cli.render import common
from westward.v1 import placement_pb2

_STYLES = {
    placement_pb2.NODE_LIFECYCLE_READY: "green",
    placement_pb2.NODE_LIFECYCLE_SUSPECT: "yellow",
    placement_pb2.NODE_LIFECYCLE_LOST: "bold red",
    placement_pb2.NODE_LIFECYCLE_CORDONED: "cyan",
    placement_pb2.NODE_LIFECYCLE_DRAINING: "cyan",
}


def listing(nodes: Sequence[placement_pb2.Node], *, wide: bool = False) -> RenderableType:
    """One row per node; below, what operators wish of them and what was not believed."""
    if not nodes:
        return Text("No nodes. Start agents with: westward agent --config FILE")
    table = common.table()
    table.add_column("NODE", no_wrap=True)
    table.add_column("CLUSTER", no_wrap=True)
    table.add_column("STATE", no_wrap=True)
    table.add_column("MODEL", no_wrap=True)
    table.add_column("GPUS BUSY", justify="right")
    table.add_column("CPUS", justify="right")
    table.add_column("MEM GB", justify="right")
    if wide:
        for head in (
            "CPU LOAD",
            "GPU LOAD",
            "°C",
            "kW/GPU",
            "kW NOW",
            "PFLOPS",
            "DISK GB",
            "HEARD",
        ):
            table.add_column(head, justify="right")
        table.add_column("HEAD")
        table.add_column("VERSION")
    for node in sorted(nodes, key=lambda n: (n.cluster, n.id)):
        table.add_row(*_row(node, wide=wide))
    lines = [line for n in nodes for line in (*_mark(n), *_sick(n), *_rejections(n))]
    return Group(table, Text(), *lines) if lines else table


def _row(node: placement_pb2.Node, *, wide: bool) -> list[RenderableType]:
    facts = node.facts
    name = common.state_word(placement_pb2.NodeLifecycle.Name(node.lifecycle))
    row: list[RenderableType] = [
        common.clean(node.id),
        common.clean(node.cluster),
        Text(name, _STYLES.get(node.lifecycle, "")),
        common.clean(facts.accelerator) or "cpu only",
        f"{node.gpus_busy}/{facts.gpus}" if facts.gpus else "",
        f"{facts.cpus:g}",
        f"{facts.memory_gb:,.0f}",
    ]
    if wide:
        row += [
            common.percent(facts.cpu_load),
            common.percent(facts.gpu_load) if facts.HasField("gpu_load") else "",
            f"{facts.gpu_temperature_c:.0f}" if facts.HasField("gpu_temperature_c") else "",
            f"{facts.gpu_power_kw:g}" if facts.gpus else "",
            f"{facts.gpu_draw_kw:.2f}" if facts.HasField("gpu_draw_kw") else "",
            f"{facts.pflops:.2f}" if facts.pflops else "",
            f"{facts.disk_free_gb:,.0f}" if facts.disk_free_gb else "",
            f"{common.span(node.silent_s)} ago",
            "head" if node.head else "",
            common.clean(node.agent_version),
        ]
    return row


def _mark(node: placement_pb2.Node) -> list[Text]:
    if not node.HasField("mark"):
        return []
    mark, left = node.mark, f"{node.attempts} attempt" + "s" * (node.attempts != 1)
    told = f"{node.id}: {left} left there"
    if mark.HasField("drain_until_at"):
        told += f", until {common.when(mark.drain_until_at)}"
    told += f"; {mark.actor} at {common.when(mark.at)}" + f": {mark.reason}" * bool(mark.reason)
    word = "drained       " if mark.HasField("drain_until_at") else "cordoned      "
    return [Text.assemble((word, "cyan"), common.clean(told))]


def _sick(node: placement_pb2.Node) -> list[Text]:
    return [
        Text.assemble(
            ("sick          ", "bold red"),
            common.clean(f"{node.id}: {one.id}: {one.reason}"),
            common.clean(f"; it runs {', '.join(one.attempt_ids)}" if one.attempt_ids else ""),
        )
        for one in node.facts.sick
    ]


def _rejections(node: placement_pb2.Node) -> list[Text]:
    return [
        Text.assemble(
            ("not believed  ", "yellow"),
            common.clean(f"{node.id}: {item.field} = {item.value}: {item.reason}"),
        )
        for item in node.rejections
    ]
