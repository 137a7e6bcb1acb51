"""`westward plan`: what would become of jobs, before they are submitted."""

import re
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from scheduler.cli import exits, failures, session
from scheduler.cli.output import Output, OutputOption, emit, show
from scheduler.cli.render import plan as render
from scheduler.client import (
    Client,
    ConflictError,
    InvalidRequestError,
    JobFileError,
    WestwardError,
    jobfile,
    settings,
)
from scheduler.client.jobfile import JobDocument
from scheduler.client.problems import Problem
from westward.v1 import job_pb2, placement_pb2

_CODES = {
    placement_pb2.OUTCOME_PLACED: exits.PLACES_NOW,
    placement_pb2.OUTCOME_PLANNED: exits.PLACES_LATER,
    placement_pb2.OUTCOME_UNPLACED: exits.CANNOT_BE_PLACED,
}
_FIELD = re.compile(r"specs\[(\d+)\]\.?(.*)")


class _Command(TyperCommand):
    """Wrong usage is an error like any other, and 2 an answer."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().make_context(*args, **extra)
        except TyperException as error:
            error.exit_code = exits.BAD_QUESTION
            raise


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    cls=_Command,
    epilog="Exit codes: 0 places now, 1 places later (some of several do), 2 cannot be placed (one "
    "of several cannot), above 2 errors: 4 unreachable, 5 refused, 6 scheduler failed, 7 wrong "
    "usage or a bad job file.",
)
def plan(
    files: Annotated[
        list[Path],
        typer.Option(
            "--file", "-f", metavar="FILE", help="May hold several jobs; may be repeated."
        ),
    ],
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="Effects on others shown.")
    ] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say where and when jobs would run, and who would give way.

    Nothing is stored: no job, no working directory. Several jobs are planned together. For one job
    there is a token: `westward submit FILE --plan TOKEN` refuses where the answer has become
    materially worse since.

    Examples:

      westward plan -f train.yaml

      westward plan -f train.yaml -o json | jq -r .token
    """
    try:
        documents = _read(files)
        with session.connect() as client:
            answer = _ask(client, documents, limit if output.for_people else 10_000)
    except (JobFileError, InvalidRequestError, ConflictError, settings.SettingsError) as error:
        failures.tell(error)
        raise typer.Exit(exits.BAD_QUESTION) from error
    except WestwardError:
        raise
    except Exception as error:
        # A bug, to be seen whole; but 1, with which Python would end, is an answer here.
        traceback.print_exc()
        raise typer.Exit(exits.SCHEDULER_ERROR) from error
    if output.for_people:
        names = [document.request.name for document in documents]
        show(render.answer(answer, names, files))
    else:
        emit(answer, output)
    raise typer.Exit(max(_CODES[job.outcome] for job in answer.jobs))


def _read(files: list[Path]) -> list[JobDocument]:
    tenant = settings.load().tenant
    return [document for file in files for document in jobfile.load(file, tenant=tenant)]


def _ask(
    client: Client, documents: list[JobDocument], effects_most: int
) -> placement_pb2.PreviewResponse:
    now_at = client.now_at() if any(d.request.needs_clock for d in documents) else None
    # What a job runs is nothing to a plan: the working directory stays where it is.
    specs: list[job_pb2.JobSpec] = [d.request.to_spec(now_at=now_at) for d in documents]
    try:
        return client.preview(specs, effects_most=effects_most)
    except InvalidRequestError as error:
        problems = [_problem(documents, item.field, item.description) for item in error.violations]
        if not problems:
            raise
        raise JobFileError(problems) from error


def _problem(documents: list[JobDocument], field: str, description: str) -> Problem:
    """What the scheduler refused, at its place in the files."""
    found = _FIELD.fullmatch(field)
    if found is None:
        return documents[0].problem(field, description)
    return documents[int(found[1])].problem(found[2], description)
