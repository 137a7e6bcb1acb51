"""`westward job ID`, `westward job schema`, and what operators ask of one job."""

import json
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from scheduler.cli import session
from scheduler.cli.completion import JobArgument
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import common
from scheduler.cli.render import jobs as render
from scheduler.cli.watch import Watchable, WatchOption, present
from scheduler.client import Client
from scheduler.client.jobrequest import json_schema
from westward.v1 import job_pb2


class ShowByDefault(TyperGroup):
    """What is not a subcommand is a job: `westward job 01j…` is `westward job show 01j…`. A job
    that is named like a subcommand is reached with `show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["show", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Subcommands, and jobs, as `show` may be left out."""
        [job, *_] = self.commands["show"].params
        return [*super().shell_complete(ctx, incomplete), *job.shell_complete(ctx, incomplete)]


app = typer.Typer(
    cls=ShowByDefault, add_completion=False, rich_markup_mode=None, no_args_is_help=True
)


@app.callback(subcommand_metavar="JOB | suspend | resume | force-retry | schema")
def job() -> None:
    """Show one job, hold it or let it go on, or print the schema of job files.

    Examples:

      westward job llama-sft

      westward job llama-sft --watch

      westward job schema > job.schema.json
    """


@app.command("show", cls=Watchable)
def show_job(
    called: JobArgument,
    *,
    watch: WatchOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one job with its attempts and events (`show` may be left out).

    Examples:

      westward job show llama-sft --watch 5
    """
    with session.connect() as client:
        found = session.target(client, called)
        if found.is_array:
            _show_array(client, found.id, output, watch)
        else:
            present(
                lambda: client.get(found.id, events=True),
                render.detail,
                output=output,
                every_s=watch,
            )


def _show_array(client: Client, array_id: str, output: Output, watch: float | None) -> None:
    present(
        lambda: job_pb2.ListResponse(jobs=list(client.jobs(array_id=array_id))[::-1]),
        lambda answer: render.array(answer.jobs),
        output=output,
        every_s=watch,
    )


Why = Annotated[str, typer.Option(help="Kept with the event.")]


@app.command("suspend")
def suspend(called: JobArgument, reason: Why = "", output: OutputOption = Output.TABLE) -> None:
    """Hold a job until it is resumed. What runs is told to save its work, and stopped.

    Example:

      westward job suspend llama-sft --reason "maintenance at 14:00"
    """
    with session.connect() as client:
        answer = client.suspend(session.find(client, called).id, reason=reason)
    _told(answer, output)


@app.command("resume")
def resume(called: JobArgument, reason: Why = "", output: OutputOption = Output.TABLE) -> None:
    """Let a suspended job go on, wherever it is cheapest now.

    Example:

      westward job resume llama-sft
    """
    with session.connect() as client:
        answer = client.resume(session.find(client, called).id, reason=reason)
    _told(answer, output)


@app.command("force-retry")
def force_retry(
    called: JobArgument,
    reason: Why = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start a job elsewhere that waits for its silent cluster (`on_unreachable: wait`).

    Example:

      westward job force-retry llama-sft --reason "the site burned down"
    """
    with session.connect() as client:
        found = session.find(client, called)
        cluster = found.attempts[-1].cluster if found.attempts else "its cluster"
        warning = (
            f"The attempt at {cluster} may still be alive: until {cluster} is back, two attempts "
            f"of {found.id} may run at once and write to the same place."
        )
        if not yes:
            typer.confirm(f"{warning}\nGive it up?", abort=True, err=True)
        answer = client.force_retry(found.id, reason=reason)
    if yes:
        print(f"Warning: {warning}", file=sys.stderr)
    _told(answer, output)


def _told(
    answer: job_pb2.SuspendResponse | job_pb2.ResumeResponse | job_pb2.ForceRetryResponse,
    output: Output,
) -> None:
    if output.for_people:
        state = common.state_word(job_pb2.JobState.Name(answer.job.state))
        show(f"{answer.job.id}  {common.clean(answer.job.spec.name)}  {state}")
    else:
        emit(answer, output)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a job in a job file.

    Example:

      westward job schema > job.schema.json
    """
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
