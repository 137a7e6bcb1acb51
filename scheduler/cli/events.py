"""`westward events`: who did what, when and why."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from scheduler.cli import completion, exits, session
from scheduler.cli.output import Output, OutputOption, emit, emit_line, show
from scheduler.cli.render import events as render
from scheduler.client import Client, units
from scheduler.client.errors import InvalidRequestError
from westward.v1 import event_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)

# Without --since, and with it.
NEWEST = 50
NEWEST_SINCE = 100_000
PAGE = 1000


@app.command()
def events(
    *,
    job: Annotated[
        str, typer.Option(help="Only of this job or array.", autocompletion=completion.jobs)
    ] = "",
    node: Annotated[
        str,
        typer.Option(help="Only of this host and what ran there.", autocompletion=completion.nodes),
    ] = "",
    cluster: Annotated[
        str,
        typer.Option(help="Only of this cluster, all in it.", autocompletion=completion.clusters),
    ] = "",
    since: Annotated[
        str, typer.Option(help="Only from then on: 2h, 30m, or 2026-11-20T18:00+08:00.")
    ] = "",
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay, and print what comes, a line each.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="The newest so many; 0: 50, or all --since.")
    ] = 0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what happened to jobs, hosts, clusters and rounds, the newest last.

    With -f it goes on until Ctrl-C, which is exit code 130.

    Examples:

      westward events --node qy-1 --since 2d

      westward events --job llama-sft -f

      westward events --cluster qingyang -o json | jq -r '.events[].event'
    """
    with session.connect() as client:
        wanted = {
            "job_id": session.target(client, job).id if job else "",
            "node_id": node,
            "cluster": cluster,
        }
        most = limit or (NEWEST_SINCE if since else NEWEST)
        found, position = _newest(client, wanted, _moment(since, client), most)
        if following:
            _follow(client, wanted, found, position, output)
    if output.for_people:
        show(render.listing(found, wide=output is Output.WIDE))
    else:
        emit(event_pb2.ListEventsResponse(events=found), output)


def _newest(
    client: Client, wanted: dict[str, str], since_at: datetime | None, most: int
) -> tuple[list[event_pb2.Event], str]:
    """The newest events, oldest first, and where to follow from."""
    found: list[event_pb2.Event] = []
    token = position = ""
    while True:
        size = min(most - len(found), PAGE)
        page = client.list_events(**wanted, since_at=since_at, page_size=size, page_token=token)
        found += page.events
        position = position or page.position
        token = page.next_page_token
        if not token or len(found) >= most:
            return found[::-1], position


def _follow(
    client: Client,
    wanted: dict[str, str],
    found: Sequence[event_pb2.Event],
    position: str,
    output: Output,
) -> None:
    """Prints events as they come, for ever."""

    def tell(event: event_pb2.Event) -> None:
        if output.for_people:
            show(render.line(event))
        else:
            emit_line(event)

    try:
        for event in found:
            tell(event)
        for answer in client.watch_events(**wanted, after=position):
            tell(answer.event)
    except KeyboardInterrupt:
        pass
    raise typer.Exit(exits.INTERRUPTED)


def _moment(text: str, client: Client) -> datetime | None:
    """``2h`` before the scheduler's now, or a time; None of none.

    Raises:
        InvalidRequestError: it is neither.
    """
    if not text:
        return None
    try:
        if text[:4].isdigit() and text[4:5] == "-":
            at = units.moment(text)
            assert isinstance(at, datetime)
            return at.astimezone(UTC)
        ago_s = units.duration_s(text)
        assert isinstance(ago_s, float)
        return client.now_at() - timedelta(seconds=ago_s)
    except (ValueError, OverflowError) as error:
        told = f"--since {text!r}: write 2h, 30m, 7d, or a time such as 2026-11-20T18:00+08:00"
        raise InvalidRequestError(told, code="INVALID_ARGUMENT") from error
