"""`westward agent`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agents import check as checks
from agents import daemon
from scheduler.cli import exits

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def agent(
    config: Annotated[Path, typer.Option("--config", "-c", help="The host's YAML file.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only say what each source reads now, and what fails.")
    ] = False,
) -> None:
    """Run the agent of a host.

    Examples:

      westward agent --config agent.yaml --check
    """
    if check:
        well, lines = asyncio.run(checks.check(config))
        print("\n".join(lines))
        raise typer.Exit(exits.OK if well else exits.BAD_INPUT)
    raise typer.Exit(daemon.main(config))
