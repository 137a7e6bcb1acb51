"""`westward placements`."""

from typing import Annotated

import typer

from scheduler.cli import session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import placements as render

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def placements(
    cluster: Annotated[str, typer.Option(help="Only on this cluster.")] = "",
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    ended: Annotated[bool, typer.Option("--all", "-a", help="Those of ended jobs too.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List what is placed where, at what cost and how green.

    Examples:

      westward placements --all -o wide
    """
    with session.connect() as client:
        answer = client.placements(cluster=cluster, tenant=tenant, include_final=ended)
    if output.for_people:
        show(render.listing(answer.placements, wide=output is Output.WIDE))
        if not answer.placements and not ended:
            show("Those of ended jobs: --all")
    else:
        emit(answer, output)
