"""`westward clusters`."""

import typer

from scheduler.cli import session
from scheduler.cli.output import Output, OutputOption
from scheduler.cli.render import clusters as render
from scheduler.cli.watch import Watchable, WatchOption, present

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=Watchable)
def clusters(*, watch: WatchOption = None, output: OutputOption = Output.TABLE) -> None:
    """List clusters: capacity, price, green supply, latency.

    Examples:

      westward clusters -o wide

      westward clusters --watch 10
    """
    with session.connect() as client:
        present(
            client.clusters,
            lambda answer: render.listing(answer, wide=output is Output.WIDE),
            output=output,
            every_s=watch,
        )
