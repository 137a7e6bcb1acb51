"""`westward why`."""

from typing import Annotated

import typer

from scheduler.cli import completion, session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import why as render

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def why(
    called: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="Its id, name, or start of the id.", autocompletion=completion.jobs
        ),
    ],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why a job waits or has failed, and what would change that.

    One dominant reason, every other that applies, the smallest change of its wishes that would let
    it start, found by planning, and when it should start and how sure that is. What the codes mean
    is in docs/reasons.md. With -o wide also the dominant reason at single pools.

    Examples:

      westward why tick-quotes

      westward why tick-quotes -o json
    """
    with session.connect() as client:
        answer = client.why(session.target(client, called).job.id)
    if output.for_people:
        show(render.why(answer.why, wide=output is Output.WIDE))
    else:
        emit(answer, output)
