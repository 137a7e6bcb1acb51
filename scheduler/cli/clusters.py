"""`westward clusters`."""

import typer

from scheduler.cli import session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import clusters as render

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def clusters(output: OutputOption = Output.TABLE) -> None:
    """List clusters: capacity, price, green supply, latency.

    Examples:

      westward clusters -o wide
    """
    with session.connect() as client:
        answer = client.clusters()
    if output.for_people:
        show(render.listing(answer, wide=output is Output.WIDE))
    else:
        emit(answer, output)
