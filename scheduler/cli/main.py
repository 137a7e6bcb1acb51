"""The `westward` command. Each subcommand is a module, loaded only when it is the one called:
gRPC, pydantic and Ray take seconds to import, and `westward --help` must not.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from scheduler.cli import exits

# Name of a command: its module in this package, and what --help says of it.
COMMANDS: dict[str, tuple[str, str]] = {
    "submit": ("submit", "Submit the jobs of one or more job files."),
    "jobs": ("jobs", "List jobs, newest first."),
    "job": ("job", "Show one job, hold it or let it go on, or print the schema of job files."),
    "tasks": ("tasks", "Show what became of the tasks of an array."),
    "logs": ("logs", "Print what a job's processes wrote."),
    "cancel": ("cancel", "Cancel jobs, for good."),
    "explain": ("explain", "Say why a job is where it is, or why it waits."),
    "why": ("why", "Say why a job waits or has failed, and what would change that."),
    "plan": (
        "plan",
        "Say where and when jobs would run, and who would give way.",
    ),
    "what-if": (
        "what_if",
        "Plan the queue in another world, and show what differs.",
    ),
    "clusters": ("clusters", "List clusters: capacity, price, green supply, latency."),
    "nodes": ("nodes", "List the hosts of the clusters."),
    "node": ("node", "Take a host out of service, empty it, or give it work again."),
    "placements": ("placements", "List what is placed where, at what cost and how green."),
    "timeline": ("timeline", "Show the hours to come: load, price, green supply, who starts."),
    "top": ("top.command", "Watch clusters, queue and running jobs, full-screen."),
    "rounds": ("rounds", "List planning rounds; show one, export it, and plan it again."),
    "events": (
        "events",
        "Show what happened to jobs, hosts, clusters and rounds, the newest last.",
    ),
    "replay": ("replay", "Replay past jobs under several policies and compare them."),
    "policy": ("policy", "Check a policy file, and show what it puts in force."),
    "scheduler": ("scheduler", "Run the scheduler."),
    "agent": ("agent", "Run the agent of a host, or check its configuration."),
    "gateway": ("gateway", "Run the responder of an origin region."),
}
EPILOG = (
    "Address and credentials come from WESTWARD_ADDRESS, WESTWARD_TOKEN and WESTWARD_TLS_CA, or "
    "from ~/.config/westward/config.yaml. "
    "Exit codes: 0 all went well, 1 not everything did, 2 wrong usage or input, 3 not found, 4 the "
    "scheduler cannot be reached, 5 refused, 6 it failed, 130 stopped with Ctrl-C; more in "
    "docs/cli.md."
)


class LazyGroup(TyperGroup):
    """Knows its commands by name and one line each; loads the one that is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {
            name: TyperCommand(name, help=told) for name, (_, told) in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if command is None or name is None:
            return name, command, rest
        return name, load(name), rest


def load(name: str) -> Any:
    """The command of a name, with all its options."""
    module = importlib.import_module(f"scheduler.cli.{COMMANDS[name][0]}")
    command = typer.main.get_command(module.app)
    command.name = name
    return command


app = typer.Typer(
    name="westward",
    cls=LazyGroup,
    help="Westward 西算: runs eastern jobs on western clusters, where and when it is best.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback()
def westward() -> None:
    """Takes no options of its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code (`exits`). Errors are one message, no traceback."""
    try:
        typer.main.get_command(app).main(args=argv, prog_name="westward")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else exits.OK
    except Exception as error:
        code: int = importlib.import_module("scheduler.cli.failures").tell(error)
        return code
    return exits.OK
