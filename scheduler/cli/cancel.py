"""`westward cancel`."""

from typing import Annotated

import typer

from scheduler.cli import completion, exits, failures, session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import common
from scheduler.client import Client, ConflictError
from westward.v1 import job_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def cancel(
    called: Annotated[
        list[str],
        typer.Argument(
            metavar="JOB…",
            help="Ids, names, or starts of ids; arrays too.",
            autocompletion=completion.jobs,
        ),
    ],
    reason: Annotated[str, typer.Option(help="Kept with the event.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Cancel jobs, for good. Of an array, all chunks that have not ended are cancelled.

    Examples:

      westward cancel llama-sft --reason "wrong data"
    """
    refused = []
    with session.connect() as client:
        found = [session.target(client, name) for name in called]
        for one in found:
            try:
                answer = client.cancel(one.id, reason=reason)
            except ConflictError as error:
                refused.append(error)
                continue
            if output.for_people:
                state = common.state_word(job_pb2.JobState.Name(_state(client, one, answer)))
                show(f"{one.id}  {common.clean(one.job.spec.name)}  {state}")
            else:
                emit(answer, output)
    codes = [failures.tell(error) for error in refused]
    if codes:
        raise typer.Exit(exits.FAILED if len(codes) < len(found) else codes[0])


def _state(
    client: Client, one: session.Target, answer: job_pb2.CancelResponse
) -> job_pb2.JobState.ValueType:
    """Of an array, whose first chunk may have ended before, what the cancelling has come to."""
    if not one.is_array:
        return answer.job.state
    over = all(job.state in common.FINAL_STATES for job in client.jobs(array_id=one.id))
    return job_pb2.JOB_STATE_CANCELLED if over else job_pb2.JOB_STATE_CANCELLING
