"""`westward submit`."""

from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli import exits, failures, follow, session
from scheduler.cli.output import Output, OutputOption, console, emit, show
from scheduler.cli.render import arrays
from scheduler.client import Client, InvalidRequestError, JobFileError, jobfile, settings
from scheduler.client.jobfile import JobDocument
from scheduler.client.problems import Problem
from westward.v1 import job_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def submit(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Each may hold several jobs.")
    ],
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show every change until all have ended.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(help="Idempotency key: the same key returns the same jobs, started once."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            "--plan", metavar="TOKEN", help="Of `westward plan`; refuses what fares worse by now."
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Submit the jobs of one or more job files.

    Every file is checked before the first job is sent. With --watch the exit code is 0 when all
    jobs succeeded and 1 when not.

    Examples:

      westward submit train.yaml --watch

      westward submit night/*.yaml --key night-2026-11-20 -o json

      westward submit train.yaml --plan "$(westward plan -f train.yaml -o json | jq -r .token)"
    """
    documents = _read(files)
    if plan is not None and len(documents) > 1:
        told = f"the token is of one job, and there are {len(documents)}; submit it alone"
        raise typer.BadParameter(told, param_hint="--plan")
    if plan is not None and not plan.strip():
        told = "is empty: `westward plan` gave none, for the job has no place or it was not asked"
        raise typer.BadParameter(told, param_hint="--plan")
    if key is not None and not key.strip():
        told = "is empty: name this submission, e.g. night-2026-11-20, or leave it out"
        raise typer.BadParameter(told, param_hint="--key")
    with session.connect() as client:
        answer = _send(client, documents, key, plan)
        refused = _refusals(documents, answer)
        if output.for_people:
            _tell(documents, answer)
        elif not watch:
            emit(answer, output)
        job_ids = [result.job_id for result in answer.results if result.job_id]
        if refused:
            head = f"refused {len(documents) - len(job_ids)} of {len(documents)} jobs:"
            failures.say([head, *(f"  {problem}" for problem in refused)])
        code = follow.until_final(client, job_ids, output) if watch and job_ids else exits.OK
    if refused:
        code = exits.FAILED if job_ids else exits.BAD_INPUT
    raise typer.Exit(code)


def _read(files: list[Path]) -> list[JobDocument]:
    tenant = settings.load().tenant
    documents: list[JobDocument] = []
    problems: list[Problem] = []
    for file in files:
        try:
            documents += jobfile.load(file, tenant=tenant)
        except JobFileError as error:
            problems += error.problems
    if problems:
        raise JobFileError(problems)
    return documents


def _send(
    client: Client, documents: list[JobDocument], key: str | None, plan: str | None
) -> job_pb2.SubmitBatchResponse:
    specs = [client.prepare(document) for document in documents]
    if plan is not None:
        return job_pb2.SubmitBatchResponse(results=[_confirmed(client, specs[0], key, plan)])
    if key is None:
        return client.submit_batch(specs)
    keys = [key] if len(specs) == 1 else [f"{key}-{n}" for n in range(1, len(specs) + 1)]
    return client.submit_batch(specs, keys=keys)


def _confirmed(
    client: Client, spec: job_pb2.JobSpec, key: str | None, plan: str
) -> job_pb2.SubmitResult:
    """Submits a job if it would still fare as its plan token has it."""
    try:
        job = client.submit(spec, key=key, plan_token=plan).job
    except InvalidRequestError as error:
        if not all(item.field.startswith("spec.") for item in error.violations):
            raise
        refused = job_pb2.SubmitError(message=error.message)
        for item in error.violations:
            refused.violations.add(field=item.field, description=item.description)
        return job_pb2.SubmitResult(error=refused)
    return job_pb2.SubmitResult(job_id=job.array_id or job.id)


def _refusals(documents: list[JobDocument], answer: job_pb2.SubmitBatchResponse) -> list[Problem]:
    """What the scheduler refused, at its place in the files."""
    refused: list[Problem] = []
    for document, result in zip(documents, answer.results, strict=True):
        if result.WhichOneof("result") != "error":
            continue
        violations = result.error.violations
        refused += [document.problem(item.field, item.description) for item in violations]
        if not violations:
            refused.append(document.problem("", result.error.message))
    return refused


def _tell(documents: list[JobDocument], answer: job_pb2.SubmitBatchResponse) -> None:
    stored = [
        (document, result.job_id)
        for document, result in zip(documents, answer.results, strict=True)
        if result.job_id
    ]
    for document, job_id in stored:
        request = document.request
        size = f"  {arrays.size(request.array)}" if request.array else ""
        show(f"{job_id}  {request.name}{size}  submitted from {request.region}")
    if stored and console().is_terminal:
        document, job_id = stored[0]
        then = "tasks --watch" if document.request.array else "logs -f"
        show(f"Next: westward explain {job_id}, westward {then} {job_id}")
