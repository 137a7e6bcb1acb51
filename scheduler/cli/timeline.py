"""`westward timeline`."""

from typing import Annotated

import typer

from scheduler.cli import session
from scheduler.cli.completion import ClusterOption
from scheduler.cli.output import Output, OutputOption
from scheduler.cli.render import timeline as render
from scheduler.cli.watch import Watchable, WatchOption, present

app = typer.Typer(add_completion=False, rich_markup_mode=None)
# Enough of them for whoever reads; programs ask for more.
HOURS_MOST = 48
STARTS_MOST = 1000


@app.command(cls=Watchable)
def timeline(
    *,
    hours: Annotated[int, typer.Option(min=1, max=HOURS_MOST, help="So far ahead.")] = 24,
    cluster: ClusterOption = "",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=STARTS_MOST, help="Starts to list.")
    ] = 20,
    watch: WatchOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the hours to come: load, price, green supply, who starts.

    Of each cluster: the accelerators that running and planned jobs hold, out of all; the price,
    between the lowest and the highest of all that is shown; the green supply, and what load takes
    of it on the same scale. A dot is nothing. Behind each line: now and the most, the range, and
    how green the load is.

    Examples:

      westward timeline --hours 48 --cluster qingyang

      westward timeline --watch 10

      westward timeline -o json | jq '.clusters[] | {name, price_yuan_per_kwh}'
    """
    with session.connect() as client:
        present(
            lambda: client.timeline(hours=hours, cluster=cluster, starts=limit),
            render.picture,
            output=output,
            every_s=watch,
        )
