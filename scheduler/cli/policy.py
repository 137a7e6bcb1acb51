"""`westward policy check FILE`."""

from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli import exits
from scheduler.cli.failures import say
from scheduler.cli.output import Output, OutputOption, emit_plain, show
from scheduler.cli.render import policy as render
from scheduler.config import ConfigError
from scheduler.policyfile.load import load

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback(subcommand_metavar="check FILE")
def policy() -> None:
    """Check a policy file, and show what it puts in force.

    Examples:

      westward policy check examples/policies.yaml
    """


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file, YAML.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what is wrong with a file, or what holds with it: `*` marks what is not the default.

    Example:

      westward policy check examples/policies.yaml -o json
    """
    try:
        told = load(file)
    except ConfigError as error:
        say(str(error).splitlines())
        raise typer.Exit(exits.BAD_INPUT) from error
    if output.for_people:
        show(render.in_force(told))
    else:
        emit_plain(told.model_dump(mode="json"), output)
