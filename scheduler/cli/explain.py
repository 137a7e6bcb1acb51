"""`westward explain`."""

from typing import Annotated

import typer

from scheduler.cli import completion, session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import explain as render

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def explain(
    called: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="Its id, name, or start of the id.", autocompletion=completion.jobs
        ),
    ],
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Plan anew, with the world as it is; for one that waits.")
    ] = False,
    slots: Annotated[
        bool, typer.Option("--slots", help="And what every start would cost; for one that waits.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why a job is where it is, or why it waits.

    One row per cluster with every term of its cost; what the losers lost by; what was full; what
    the choice saves against running at origin at once. It tells what was true when it was decided,
    unless asked again with --now. Of an array it is the first chunk's.

    Examples:

      westward explain llama-sft

      westward explain nightly-embeddings --slots

      westward explain nightly-embeddings --now -o json
    """
    with session.connect() as client:
        job = session.target(client, called).job
        answer = client.explain(job.id, now=now, slots=slots)
    if output.for_people:
        starts = answer.starts if answer.HasField("starts") else None
        show(render.explanation(answer.explanation, starts, job))
    else:
        emit(answer, output)
