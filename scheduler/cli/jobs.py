"""`westward jobs`."""

from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from scheduler.cli import failures, session
from scheduler.cli.completion import ClusterOption
from scheduler.cli.output import Output, OutputOption
from scheduler.cli.render import jobs as render
from scheduler.cli.watch import Watchable, WatchOption, present
from westward.v1 import job_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class State(StrEnum):
    """States of a job."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    RUNNING = "running"
    UNREACHABLE = "unreachable"
    PREEMPTING = "preempting"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@app.command(cls=Watchable)
def jobs(
    *,
    state: Annotated[
        list[State] | None, typer.Option("--state", "-s", help="Only these states; may repeat.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    region: Annotated[str, typer.Option(help="Only from this origin region.")] = "",
    cluster: ClusterOption = "",
    name: Annotated[str, typer.Option(help="Only names that begin so.")] = "",
    array: Annotated[str, typer.Option(help="Only the chunks of this array.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 100,
    watch: WatchOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List jobs, newest first. Each chunk of an array is a job, with its tasks' numbers behind the
    name.

    Examples:

      westward jobs --state pending --state running

      westward jobs --state running --watch 5

      westward jobs --cluster qingyang -o json | jq -r '.jobs[].id'
    """
    states = [job_pb2.JobState.Value(f"JOB_STATE_{item.name}") for item in state or ()]
    more = False
    with session.connect() as client:
        array_id = session.array(client, array) if array else ""

        def ask() -> job_pb2.ListResponse:
            nonlocal more
            found = client.jobs(
                states=states,
                tenant=tenant,
                region=region,
                cluster=cluster,
                name_prefix=name,
                array_id=array_id,
            )
            listed = list(islice(found, limit + 1))
            more = len(listed) > limit
            return job_pb2.ListResponse(jobs=listed[:limit])

        present(
            ask,
            lambda answer: render.listing(answer.jobs, wide=output is Output.WIDE),
            output=output,
            every_s=watch,
        )
    if more:
        failures.note(f"… and more; for these: --limit {limit * 10}, or filter")
