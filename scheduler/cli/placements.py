"""`westward placements`."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from scheduler.cli import session
from scheduler.cli.completion import ClusterOption
from scheduler.cli.output import Output, OutputOption
from scheduler.cli.render import placements as render
from scheduler.cli.watch import Watchable, WatchOption, present
from westward.v1 import placement_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=Watchable)
def placements(
    *,
    cluster: ClusterOption = "",
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    ended: Annotated[bool, typer.Option("--all", "-a", help="Those of ended jobs too.")] = False,
    watch: WatchOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List what is placed where, at what cost and how green.

    `~` marks what is only planned. Of a job that is to run in parts, with pauses between them,
    `-o wide` tells all of them.

    Examples:

      westward placements --all -o wide

      westward placements --cluster qingyang --watch
    """

    def draw(answer: placement_pb2.ListPlacementsResponse) -> RenderableType:
        listed = render.listing(answer.placements, wide=output is Output.WIDE)
        if answer.placements or ended:
            return listed
        return Group(listed, Text("Those of ended jobs: --all"))

    with session.connect() as client:
        present(
            lambda: client.placements(cluster=cluster, tenant=tenant, include_final=ended),
            draw,
            output=output,
            every_s=watch,
        )
