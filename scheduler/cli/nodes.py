"""`westward nodes`."""

import typer
from rich.console import RenderableType
from rich.text import Text

from scheduler.cli import session
from scheduler.cli.completion import ClusterOption
from scheduler.cli.output import Output, OutputOption
from scheduler.cli.render import nodes as render
from scheduler.cli.watch import Watchable, WatchOption, present
from westward.v1 import placement_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=Watchable)
def nodes(
    *,
    cluster: ClusterOption = "",
    watch: WatchOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the hosts of the clusters.

    Examples:

      westward nodes --cluster qingyang

      westward nodes --watch
    """

    def draw(answer: placement_pb2.ListNodesResponse) -> RenderableType:
        if cluster and not answer.nodes:
            return Text(f"No nodes in a cluster {cluster!r}; see `westward clusters`")
        return render.listing(answer.nodes, wide=output is Output.WIDE)

    with session.connect() as client:
        present(lambda: client.nodes(cluster=cluster), draw, output=output, every_s=watch)
