"""`westward what-if`: what would become of the queue in another world."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer

from scheduler.cli import session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import what_if as render
from scheduler.client import Client, changes
from westward.v1 import what_if_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)

Texts = list[str] | None


def _many(option: str, told: str, metavar: str) -> typer.models.OptionInfo:
    made: typer.models.OptionInfo = typer.Option(option, help=told, metavar=metavar)
    return made


@app.command()
def what_if(
    *,
    drain: Annotated[Texts, _many("--drain", "It is emptied.", "CLUSTER|NODE")] = None,
    price: Annotated[
        Texts, _many("--price", "'horinger*1.3', =0.5, +0.1, -20%; yuan/kWh.", "CHANGE[@HOURS]")
    ] = None,
    green: Annotated[
        Texts, _many("--green", "'qingyang-40%', *0.5, =800, +250kW; kW.", "CHANGE[@HOURS]")
    ] = None,
    rtt: Annotated[
        Texts, _many("--rtt", "shanghai:qingyang=25; every round trip.", "REGION:CLUSTER=MS")
    ] = None,
    add_nodes: Annotated[
        Texts, _many("--add-nodes", "zhongwei:16xA800; like those there.", "CLUSTER:COUNTxMODEL")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="Jobs shown; json has all.")
    ] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """Plan the queue in another world, and show what differs.

    It is planned with and without the changes; nothing is changed. Each option may be repeated.
    HOURS, as 12:00-16:00 in your zone, are the next such hours; without them it holds for ever.
    What cannot be stopped on a drained node is taken to run to its end.

    Examples:

      westward what-if --drain qingyang

      westward what-if --price 'horinger*1.3' --green 'qingyang-40%@12:00-16:00'

      westward what-if --rtt shanghai:qingyang=25 --add-nodes zhongwei:16xA800 -o json
    """
    plain = [
        *_read("--drain", drain, changes.drain),
        *_read("--rtt", rtt, changes.rtt),
        *_read("--add-nodes", add_nodes, changes.add_nodes),
    ]
    with session.connect() as client:
        asked = [*_forecasts(client, price, green), *plain]
        answer = client.what_if(asked, effects_most=limit if output.for_people else 0)
    if output.for_people:
        show(render.answer(answer))
    else:
        emit(answer, output)


def _forecasts(client: Client, price: Texts, green: Texts) -> list[what_if_pb2.WorldChange]:
    if not price and not green:
        return []
    now_at = client.now_at().astimezone()

    def at(read: Callable[[str, datetime], what_if_pb2.WorldChange]) -> "_Reader":
        return lambda text: read(text, now_at)

    return [
        *_read("--price", price, at(changes.price)),
        *_read("--green", green, at(changes.green)),
    ]


_Reader = Callable[[str], what_if_pb2.WorldChange]


def _read(option: str, texts: Texts, read: _Reader) -> list[what_if_pb2.WorldChange]:
    try:
        return [read(text) for text in texts or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
