"""`westward explain`."""

from typing import Annotated

import typer

from scheduler.cli import session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import explain as render

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def explain(
    called: Annotated[str, typer.Argument(metavar="JOB", help="Its id, name, or start of the id.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why a job is where it is, or why it waits.

    One row per cluster with every term of its cost; what the losers lost by; what was full; what
    the choice saves against running at origin at once. It tells what was true when it was decided.
    Of an array it is the first chunk's.

    Examples:

      westward explain llama-sft
    """
    with session.connect() as client:
        answer = client.explain(session.target(client, called).job.id)
    if output.for_people:
        show(render.explanation(answer.explanation))
    else:
        emit(answer, output)
