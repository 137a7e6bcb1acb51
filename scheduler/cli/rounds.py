"""`westward rounds`."""

from typing import Annotated

import typer

from scheduler.cli import session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import rounds as render

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def rounds(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """List planning rounds, newest first.

    Examples:

      westward rounds -n 5 -o wide
    """
    with session.connect() as client:
        answer = client.rounds(limit=limit)
    if output.for_people:
        show(render.listing(answer.rounds, wide=output is Output.WIDE))
    else:
        emit(answer, output)
