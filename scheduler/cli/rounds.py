"""`westward rounds`: what they decided, and to take one home and plan it again."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from typer.core import TyperGroup

from scheduler.cli import exits, session
from scheduler.cli.failures import say
from scheduler.cli.output import Output, OutputOption, emit, emit_plain, show
from scheduler.cli.render import rounds as render
from scheduler.cli.watch import WatchOption, present, with_seconds
from scheduler.rounds.file import RoundFileError, from_bytes
from scheduler.rounds.record import RecordedRound
from westward.v1 import placement_pb2


class ShowById(TyperGroup):
    """A number is a round: `westward rounds 41` is `westward rounds show 41`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].isdecimal():
            args = ["show", *args]
        return super().parse_args(ctx, list(with_seconds(args)))


app = typer.Typer(cls=ShowById, add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True, subcommand_metavar="[ID | export | replay FILE]")
def rounds(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 20,
    watch: WatchOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List planning rounds; show one, export it, and plan it again.

    MOVED says how many of the later starts that the round before had planned were put elsewhere.

    Examples:

      westward rounds -n 5 -o wide

      westward rounds --watch

      westward rounds 41

      westward rounds export -f round.json.gz

      westward rounds replay round.json.gz
    """
    if ctx.invoked_subcommand is not None:
        return

    def draw(answer: placement_pb2.ListRoundsResponse) -> RenderableType:
        return render.listing(answer.rounds, wide=output is Output.WIDE)

    with session.connect() as client:
        present(lambda: client.rounds(limit=limit), draw, output=output, every_s=watch)


@app.command("show")
def show_round(
    round_id: Annotated[int, typer.Argument(metavar="ID", min=1)],
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what one round saw and decided, and how long it took (`show` may be left out).

    Example:

      westward rounds 41
    """
    with session.connect() as client:
        answer = client.get_round(round_id)
    if output.for_people:
        show(render.detail(answer.round))
    else:
        emit(answer, output)


@app.command("export")
def export(
    round_id: Annotated[
        int, typer.Argument(metavar="[ID]", min=0, help="Left out: the last that planned all.")
    ] = 0,
    *,
    file: Annotated[Path, typer.Option("--file", "-f", help="Where to, e.g. round.json.gz.")],
) -> None:
    """Write all that a round was planned from to a file.

    The newest rounds are kept, failed ones as well; the scheduler's log names their numbers. The
    file tells tenants, sites, prices and who waits; what jobs run, their names and their
    environment are left out.

    Examples:

      westward rounds export -f round.json.gz

      westward rounds export 4711 -f round.json.gz
    """
    with session.connect() as client:
        data = client.export_round(round_id).file
    try:
        file.write_bytes(data)
    except OSError as error:
        say([f"{file} cannot be written: {error.strerror}"])
        raise typer.Exit(exits.BAD_INPUT) from error
    show(f"{file}: {len(data) / 1000:,.0f} KB; plan it again: westward rounds replay {file}")


@app.command(
    "replay",
    epilog="Exit codes: 0 the same plan to the last bit, 1 another plan, 2 no such round in FILE.",
)
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `rounds export` writes it.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Plan an exported round again, here and now, and compare. Asks no scheduler.

    Example:

      westward rounds replay round.json.gz
    """
    before = _read(file)
    from scheduler.rounds import again  # noqa: PLC0415 - loads the planner, which takes seconds

    after = again.plan_again(before)
    same = again.identical(before, after)
    if output.for_people:
        show(render.comparison(before, after, identical=same))
    else:
        told = {"recorded": _plain(before), "replayed": _plain(after), "identical": same}
        emit_plain(told, output)
    raise typer.Exit(exits.OK if same else exits.FAILED)


def _read(file: Path) -> RecordedRound:
    try:
        return from_bytes(file.read_bytes())
    except OSError as error:
        say([f"{file} cannot be read: {error.strerror}"])
    except RoundFileError as error:
        say([f"{file} holds no round: {error}"])
    raise typer.Exit(exits.BAD_INPUT)


def _plain(made: RecordedRound) -> dict[str, object]:
    plan = asdict(made.plan) if made.plan else {}
    stages = [{"name": name, "ms": ms} for name, ms in plan.pop("stages", ())]
    told = {"software": made.software, "round_id": made.round_id, "failure": made.failure}
    return {**told, "jobs": len(made.snapshot.jobs), **plan, "stages": stages}
