"""What would become of jobs: the candidates, what it costs, and who has to give way."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from scheduler.cli.render import common, effects, explain
from westward.v1 import placement_pb2

_OUTCOMES = {
    placement_pb2.OUTCOME_PLACED: ("would start now", "green"),
    placement_pb2.OUTCOME_PLANNED: ("would start later", "cyan"),
    placement_pb2.OUTCOME_UNPLACED: ("cannot be placed", "yellow"),
}


def answer(
    told: placement_pb2.PreviewResponse, names: Sequence[str], files: Sequence[Path]
) -> RenderableType:
    """Every job by the name in its file, the effects on others, and the token."""
    parts: list[RenderableType] = []
    for name, job in zip(names, told.jobs, strict=True):
        parts += [*_job(name, job), Text()]
    if told.effects:
        several = "these jobs" if len(told.jobs) > 1 else "it"
        head = f"Others, with {several} and without: {told.effects_total:,} fare otherwise"
        parts += [Text(head, "bold"), *effects.listing(told.effects, told.effects_total)]
    else:
        parts.append(Text("Nobody else is affected."))
    parts += _token(told, files)
    return Group(*parts)


def _job(name: str, job: placement_pb2.PreviewedJob) -> list[RenderableType]:
    word, style = _OUTCOMES.get(job.outcome, ("is undecided", ""))
    reason = job.explanation.reason
    said = common.clean(reason.message) or common.clean(reason.code)
    if job.chunks > 1:
        nowhere = job.chunks - job.chunks_now - job.chunks_later
        of = f"of {job.chunks} chunks {job.chunks_now} now, {job.chunks_later} later, {nowhere}"
        word, said = f"{word} as a whole", f"{of} nowhere. The first: {said}"
    head = Text.assemble((common.clean(name), "bold"), " ", (word, f"bold {style}"), ": ", said)
    parts: list[RenderableType] = [head, Text()]
    parts += [*explain.candidates(job.explanation), *explain.binding(job.explanation)]
    if job.HasField("start_at"):
        parts.append(_figures(job))
    if job.HasField("saving"):
        parts.append(explain.saving(job.saving))
    return parts


def _figures(job: placement_pb2.PreviewedJob) -> Text:
    return Text.assemble(
        ("Runs: ", "bold"),
        f"{common.when(job.start_at)} to {common.when(job.end_at)} {common.zone(job.start_at)}, ",
        f"{common.figure(job.cost_yuan)} yuan, {common.figure(job.energy_kwh)} kWh, ",
        f"{common.percent(job.green_share)} green, {common.figure(job.carbon_kg)} kgCO2",
    )


def _token(told: placement_pb2.PreviewResponse, files: Sequence[Path]) -> list[RenderableType]:
    if not told.token:
        return []
    until = f"{common.local(told.token_expires_at):%H:%M}"
    command = f"  westward submit {files[0]} --plan \\\n    {common.clean(told.token)}"
    return [
        Text(),
        Text(f"To submit it only if this still holds, until {until}:"),
        Text(command, "cyan", overflow="fold"),
    ]
