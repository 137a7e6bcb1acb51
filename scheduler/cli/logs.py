"""`westward logs`."""

import sys
from typing import Annotated

import typer

from scheduler.cli import exits, failures, follow, session
from scheduler.cli.completion import JobArgument
from scheduler.cli.logwriter import LogWriter
from scheduler.cli.output import console
from scheduler.cli.render import common

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def logs(
    called: JobArgument,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay until the job has ended.")
    ] = False,
    attempt: Annotated[int, typer.Option(min=0, help="Only this attempt; 0: all.")] = 0,
    task: Annotated[
        int | None, typer.Option(min=0, help="Only this task of an array, in its newest try.")
    ] = None,
) -> None:
    """Print what a job's processes wrote.

    The job's standard output goes to standard output, its errors to standard error. Lines carry
    the worker's rank when there is more than one worker. Of an array all chunks are printed, one
    after the other, or one task.

    Examples:

      westward logs -f llama-sft

      westward logs 01j9x4 --attempt 2 2> errors.txt

      westward logs sweep --task 17
    """
    with session.connect() as client:
        found = session.target(client, called)
        job = found.job
        writer = LogWriter(
            out=sys.stdout.buffer,
            err=sys.stderr.buffer,
            ranks=job.spec.workers > 1 and task is None,
            colours=not console().no_color and console().is_terminal,
        )
        if not job.attempts and not found.is_array:
            failures.note(f"Job {job.id} has not started; why: westward explain {job.id}")
        try:
            for piece in client.logs(found.id, follow=following, attempt=attempt, task=task):
                writer.write(piece)
        except KeyboardInterrupt:
            writer.flush()
            if job.state not in common.FINAL_STATES:
                follow.going_on([found.id])
            raise typer.Exit(exits.INTERRUPTED) from None
        finally:
            writer.flush()
