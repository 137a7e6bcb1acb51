"""`westward tasks`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from rich.live import Live

from scheduler.cli import completion, exits, failures, follow, session
from scheduler.cli.output import Output, OutputOption, console, emit, emit_line, show
from scheduler.cli.render import arrays, common
from scheduler.client import Client, ConflictError
from westward.v1 import job_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)
# How often the progress is asked for; agents tell it about once a second.
LOOK_EVERY_S = 1.0


class State(StrEnum):
    """States of a task."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@app.command()
def tasks(
    called: Annotated[
        str,
        typer.Argument(
            metavar="ARRAY",
            help="Its id, name, or start of the id; or a chunk.",
            autocompletion=completion.jobs,
        ),
    ],
    state: Annotated[
        list[State] | None, typer.Option("--state", "-s", help="Only these states; may repeat.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the progress until all have ended.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 100,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what became of the tasks of an array.

    A chunk will do as well. With --watch the exit code is 0 when all tasks succeeded, 1 when not.

    Examples:

      westward tasks sweep --state failed

      westward tasks sweep --watch
    """
    states = [job_pb2.TaskState.Value(f"TASK_STATE_{item.name}") for item in state or ()]
    with session.connect() as client:
        found = session.target(client, called)
        if not found.job.array_id:
            raise ConflictError(f"job {found.id} is no array", code="FAILED_PRECONDITION")
        if watch:
            raise typer.Exit(_watch(client, found, output))
        listed = list(islice(client.tasks(found.id, states=states), limit + 1))
        counts = client.list_tasks(found.id, page_size=1).counts
    more, listed = len(listed) > limit, listed[:limit]
    if output.for_people:
        show(arrays.progress(counts))
        show(arrays.tasks(listed))
    else:
        emit(job_pb2.ListTasksResponse(tasks=listed, counts=counts), output)
    if more:
        failures.note(f"… and more; for these: --limit {limit * 10}, or --state")


def _watch(client: Client, found: session.Target, output: Output) -> int:
    """Shows the progress until all chunks have ended; the exit code says whether all succeeded.
    Ctrl-C ends the watching only."""
    counts = job_pb2.TaskCounts()
    try:
        with _telling(output) as tell:
            for counts in _progress(client, found):
                tell(counts)
    except KeyboardInterrupt:
        follow.going_on([found.id])
        return exits.INTERRUPTED
    if output.for_people and counts.failed:
        show(f"Which: westward tasks {found.id} --state failed")
    return exits.OK if counts.succeeded == counts.total else exits.FAILED


def _progress(client: Client, found: session.Target) -> Iterator[job_pb2.TaskCounts]:
    """How far an array or a chunk has come, whenever that has changed, until its end."""
    told = None
    while True:
        if found.is_array:
            chunks = list(client.jobs(array_id=found.id))
        else:
            chunks = [client.get(found.id).job]
        counts = arrays.total(chunks)
        if counts != told:
            told = counts
            yield counts
        if all(job.state in common.FINAL_STATES for job in chunks):
            return
        time.sleep(LOOK_EVERY_S)


@contextmanager
def _telling(output: Output) -> Iterator[Callable[[job_pb2.TaskCounts], None]]:
    """Tells of progress: on a terminal one line that changes, else one line each time."""
    if not output.for_people:
        yield lambda counts: emit_line(job_pb2.ListTasksResponse(counts=counts))
    elif not console().is_terminal:
        yield lambda counts: show(arrays.progress(counts))
    else:
        with Live(console=console(), auto_refresh=False) as live:
            yield lambda counts: live.update(arrays.progress(counts), refresh=True)
