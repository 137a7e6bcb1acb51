"""Job files: YAML documents, a job each; every error says where, what and how to mend it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scheduler.client import yamltree
from scheduler.client.jobrequest import JobRequest
from scheduler.client.problems import JobFileError, Problem, did_you_mean, shown

# Where the wire and the file use different words for one thing.
_FILE_NAMES = {
    "expected_duration_s": "duration",
    "earliest_start_at": "earliest_start",
    "deadline_at": "deadline",
    "max_delay_s": "max_delay",
    "stop_grace_s": "stop_grace",
    "checkpoint_interval_s": "checkpoint_interval",
    "restart_s": "restart",
    "working_dir_sha256": "working_dir",
    "work": "command",
}
_PLAINER = {
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "string_type": "should be text",
    "list_type": "should be a list",
    "dict_type": "should be a mapping (`name: value`)",
    "model_type": "should be a mapping (`name: value`)",
}
# Taken as written: `--lr 0.10` and `VERSION: 1.10` are text, whatever YAML makes of them.
_AS_WRITTEN = ("command", "env")


@dataclass(frozen=True, slots=True)
class JobDocument:
    """One job of a file. ``working_dir`` exists and is a directory, or is None."""

    request: JobRequest
    working_dir: Path | None
    document: yamltree.Document

    def problem(self, field: str, message: str) -> Problem:
        """A problem that the scheduler found, by its name of the field, as one of this file."""
        path = _path_of(field)
        line = self.document.line_of(path)
        return Problem(self.document.file, line, yamltree.dotted(path), message)


def load(path: Path, *, tenant: str | None = None) -> list[JobDocument]:
    """The jobs of a file; ``tenant`` is that of jobs which name none.

    Raises:
        JobFileError: with every problem of every document.
    """
    documents = yamltree.read(path)
    if not documents:
        raise JobFileError([Problem(str(path), 1, "", "has no job; see `westward job schema`")])
    problems: list[Problem] = []
    jobs: list[JobDocument] = []
    for document in documents:
        try:
            jobs.append(_job(document, path.parent, tenant))
        except JobFileError as error:
            problems.extend(error.problems)
    if problems:
        raise JobFileError(problems)
    return jobs


def _job(document: yamltree.Document, folder: Path, tenant: str | None) -> JobDocument:
    value = document.value
    if not isinstance(value, dict):
        text = f"is {shown(value)}, not a job; write `name: …`, `region: …` and so on"
        raise JobFileError([Problem(document.file, document.line_of(()), "", text)])
    fields = {key: _as_written(document, key, item) for key, item in value.items()}
    if tenant is not None:
        fields.setdefault("tenant", tenant)
    try:
        request = JobRequest.model_validate(fields)
    except ValidationError as error:
        raise JobFileError(_problems(document, error)) from error
    working_dir = folder / request.working_dir if request.working_dir else None
    problems = list(_contradictions(document, request, working_dir))
    if problems:
        raise JobFileError(problems)
    return JobDocument(request, working_dir, document)


def _as_written(document: yamltree.Document, key: str, value: object) -> object:
    if key not in _AS_WRITTEN:
        return value
    if isinstance(value, list):
        return [_text(document, (key, i), item) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _text(document, (key, name), item) for name, item in value.items()}
    return value


def _text(document: yamltree.Document, path: yamltree.Path_, value: object) -> object:
    return document.texts[path] if isinstance(value, bool | int | float) else value


def _contradictions(
    document: yamltree.Document, request: JobRequest, working_dir: Path | None
) -> Iterator[Problem]:
    line, file = document.line_of(()), document.file
    if request.command is None and request.ray is None:
        text = "nothing to run: add `command: python train.py` or `ray: {entrypoint: …}`"
        yield Problem(file, line, "command", text)
    if request.command is not None and request.ray is not None:
        text = "stands beside `command`; a job runs one of them: remove one"
        yield Problem(file, document.line_of(("ray",)), "ray", text)
    if working_dir is not None and not working_dir.is_dir():
        text = f"{request.working_dir!r} is not a directory (looked at {working_dir})"
        yield Problem(file, document.line_of(("working_dir",)), "working_dir", text)


def _problems(document: yamltree.Document, error: ValidationError) -> list[Problem]:
    found = []
    for item in error.errors(include_url=False):
        path = item["loc"]
        line = document.line_of(path)
        found.append(Problem(document.file, line, yamltree.dotted(path), _message(item)))
    return sorted(found, key=lambda problem: problem.line)


def _message(item: ErrorDetails) -> str:
    path, value = item["loc"], item["input"]
    *around, last = path
    model = _model_at(tuple(around))
    if item["type"] == "extra_forbidden":
        return f"unknown field; {did_you_mean(str(last), model.model_fields if model else ())}"
    if item["type"] == "missing":
        other = ", or set WESTWARD_TENANT" if path == ("tenant",) else ""
        return f"is missing; add `{last}: {_example(model, last)}`{other}"
    told = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return told
    told = _PLAINER.get(item["type"], told.removeprefix("Input "))
    example = _example(model, last)
    fix = f"; e.g. `{last}: {example}`" if example else ""
    return f"{shown(value)} {told}{fix}"


def _model_at(path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model whose fields are at a path, or None inside lists of text and the like."""
    model: type[BaseModel] = JobRequest
    for part in path:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return None
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return None
        model = inner[0]
    return model


def _example(model: type[BaseModel] | None, field: str | int) -> str:
    """The field's example as it stands in a file; empty where it has none."""
    info = model.model_fields.get(str(field)) if model else None
    if info is None or not info.examples:
        return ""
    example = info.examples[0]
    return example if isinstance(example, str) else json.dumps(example).replace('"', "")


def _path_of(field: str) -> yamltree.Path_:
    """``spec.data[0].size_gb``, as the scheduler names a field, as a path of the file."""
    words = re.findall(r"[^.\[\]]+", field.removeprefix("spec."))
    path: list[str | int] = [int(word) if word.isdigit() else word for word in words]
    if path and isinstance(path[0], str):
        path[0] = _FILE_NAMES.get(path[0], path[0])
    return tuple("at" if part == "location" else part for part in path)
