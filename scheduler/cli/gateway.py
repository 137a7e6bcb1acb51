"""`westward gateway`."""

from typing import Annotated

import typer

from agents import gateway as service

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def gateway(
    region: Annotated[str, typer.Option(help="The origin region it answers for.")],
    listen: Annotated[str, typer.Option(help="host:port to listen on.")] = "0.0.0.0:7444",
    delay: Annotated[
        list[str] | None,
        typer.Option(metavar="CLUSTER=MS", help="Answer a cluster late, for demos; may repeat."),
    ] = None,
) -> None:
    """Run the responder of an origin region.

    Examples:

      westward gateway --region shanghai --listen 0.0.0.0:7444
    """
    raise typer.Exit(service.main(region, listen, dict(_delay(item) for item in delay or ())))


def _delay(item: str) -> tuple[str, float]:
    cluster, _, text = item.partition("=")
    try:
        delay_ms = float(text)
    except ValueError:
        delay_ms = -1.0
    if not cluster or not 0 <= delay_ms <= 10_000:
        raise typer.BadParameter(f"--delay {item!r}: write CLUSTER=MS, 0 to 10000 ms")
    return cluster, delay_ms
