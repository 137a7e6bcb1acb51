"""`westward agent`, and what it says of a configuration before it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agents import check as checks
from agents import daemon
from agents import status as statuses


class RunByDefault(TyperGroup):
    """`westward agent --config FILE` is `westward agent run --config FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunByDefault, add_completion=False, rich_markup_mode=None, no_args_is_help=True
)


@app.callback(subcommand_metavar="[run] --config FILE | check FILE | status FILE")
def agent() -> None:
    """Run the agent of a host, or check its configuration.

    Examples:

      westward agent --config agent.yaml

      westward agent check agent.yaml

      westward agent status agent.yaml
    """


@app.command("run")
def run_agent(
    config: Annotated[Path, typer.Option("--config", "-c", help="The host's YAML file.")],
) -> None:
    """Run the agent until it is told to stop (`run` may be left out)."""
    raise typer.Exit(daemon.main(config))


@app.command("check")
def check_config(
    config: Annotated[Path, typer.Argument(metavar="FILE", help="The host's YAML file.")],
) -> None:
    """Say what is wrong with a configuration, and what each source reads right now."""
    raise typer.Exit(checks.main(config))


@app.command("status")
def status_of(
    config: Annotated[Path, typer.Argument(metavar="FILE", help="The host's YAML file.")],
) -> None:
    """Print what the daemon of this host last saw and sent, and what was not believed.

    Example:

      westward agent status agent.yaml
    """
    raise typer.Exit(statuses.main(config))
