"""`westward top`."""

import sys
from typing import Annotated

import typer

from scheduler.cli import exits, failures, session
from scheduler.cli.top.app import Top
from scheduler.cli.top.feed import Feed

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def top(
    every_s: Annotated[
        float, typer.Option("--every", "-e", metavar="SECONDS", min=0.5, help="How often to look.")
    ] = 2.0,
) -> None:
    """Watch clusters, queue and running jobs, full-screen.

    Keys: 1, 2, 3 or Tab turn to a table, arrows move, Enter says why a job is where it is or what a
    cluster has before it, s sorts, / filters, ? tells all keys, q quits. A scheduler that goes away
    is waited for.

    Examples:

      westward top --every 5
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        failures.say(["westward top needs a terminal; elsewhere: westward jobs --watch -o json"])
        raise typer.Exit(exits.BAD_INPUT)
    with session.connect() as client:
        client.clusters()  # a scheduler that was never there is told without a screen
    Top(lambda: Feed(session.connect_async()), every_s).run()
