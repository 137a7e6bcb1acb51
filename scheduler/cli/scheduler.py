"""`westward scheduler`."""

from pathlib import Path
from typing import Annotated

import typer

from scheduler import app as service

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def scheduler(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file; without it: the defaults.")
    ] = None,
) -> None:
    """Run the scheduler.

    Examples:

      westward scheduler --config scheduler.yaml
    """
    raise typer.Exit(service.main(config))
