"""`westward node cordon|drain|uncordon NODE`."""

from typing import Annotated

import typer

from scheduler.cli import session
from scheduler.cli.completion import NodeArgument
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import nodes as render
from scheduler.client.units import duration_s
from westward.v1 import placement_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
Why = Annotated[str, typer.Option(help="For colleagues; shown with the node.")]


@app.callback(subcommand_metavar="cordon | drain | uncordon")
def node() -> None:
    """Take a host out of service, empty it, or give it work again.

    Examples:

      westward node drain qingyang-7 --deadline 2h --reason "fan to be replaced"

      westward node uncordon qingyang-7
    """


@app.command("cordon")
def cordon(called: NodeArgument, reason: Why = "", output: OutputOption = Output.TABLE) -> None:
    """Give a host nothing new. What runs there goes on; a drain ends.

    Example:

      westward node cordon qingyang-7 --reason "odd noises"
    """
    with session.connect() as client:
        answer = client.cordon_node(called, reason=reason)
    _told(answer, output)


@app.command("drain")
def drain(
    called: NodeArgument,
    deadline: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="How long what cannot be resumed elsewhere may still run, e.g. 30m, 2h; after it, "
            "it is stopped and begins anew elsewhere.",
        ),
    ] = "1h",
    reason: Why = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Empty a host: interruptible jobs save their work and go on elsewhere, others may finish.

    Example:

      westward node drain qingyang-7 --deadline 2h --reason "fan to be replaced"
    """
    try:
        seconds = duration_s(deadline)
    except ValueError as error:
        raise typer.BadParameter(f"--deadline {deadline!r}: {error}") from error
    assert isinstance(seconds, float)
    with session.connect() as client:
        answer = client.drain_node(called, deadline_s=seconds, reason=reason)
    _told(answer, output)


@app.command("uncordon")
def uncordon(called: NodeArgument, output: OutputOption = Output.TABLE) -> None:
    """Give a host work again that was cordoned or drained.

    Example:

      westward node uncordon qingyang-7
    """
    with session.connect() as client:
        answer = client.uncordon_node(called)
    _told(answer, output)


def _told(
    answer: placement_pb2.CordonNodeResponse
    | placement_pb2.DrainNodeResponse
    | placement_pb2.UncordonNodeResponse,
    output: Output,
) -> None:
    if output.for_people:
        show(render.listing([answer.node]))
    else:
        emit(answer, output)
