"""`westward nodes`."""

from typing import Annotated

import typer

from scheduler.cli import session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import nodes as render

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def nodes(
    cluster: Annotated[str, typer.Option(help="Only of this cluster.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the hosts of the clusters.

    Examples:

      westward nodes --cluster qingyang
    """
    with session.connect() as client:
        answer = client.nodes(cluster=cluster)
    if output.for_people and cluster and not answer.nodes:
        show(f"No nodes in a cluster {cluster!r}; see `westward clusters`")
    elif output.for_people:
        show(render.listing(answer.nodes, wide=output is Output.WIDE))
    else:
        emit(answer, output)
