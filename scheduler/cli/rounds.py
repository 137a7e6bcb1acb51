"""`westward rounds`: what they decided, and to take one home and plan it again."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli import exits, session
from scheduler.cli.failures import say
from scheduler.cli.output import Output, OutputOption, emit, emit_plain, show
from scheduler.cli.render import rounds as render
from scheduler.rounds.file import RoundFileError, from_bytes
from scheduler.rounds.record import RecordedRound

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True, subcommand_metavar="[export | replay FILE]")
def rounds(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """List planning rounds; export one, and plan it again.

    Examples:

      westward rounds -n 5 -o wide

      westward rounds export -f round.json.gz

      westward rounds replay round.json.gz
    """
    if ctx.invoked_subcommand is not None:
        return
    with session.connect() as client:
        answer = client.rounds(limit=limit)
    if output.for_people:
        show(render.listing(answer.rounds, wide=output is Output.WIDE))
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
