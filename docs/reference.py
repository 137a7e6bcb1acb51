"""Writes the tables of keys of operations.md and policies.md from the models that read the files,
and the table of metrics.md from the catalogue of what is exported.

``python docs/reference.py`` writes them in place, between the marks that name each table.
"""

from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agents.config import AgentConfig
from scheduler.config import SchedulerConfig
from scheduler.metrics import catalogue
from scheduler.policyfile.sections import PolicyFile

HERE = Path(__file__).resolve().parent
FILES = (HERE / "operations.md", HERE / "policies.md", HERE / "metrics.md")
TABLES: dict[str, type[BaseModel]] = {
    "scheduler": SchedulerConfig,
    "agent": AgentConfig,
    "policies": PolicyFile,
}
END = "<!-- end -->"
METRICS = "<!-- metrics -->\n"


def _section(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The section behind ``Section``, ``Section | None``, a dict or a tuple of them, and what
    stands for the item in its keys."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    if origin in (Union, UnionType):
        [inner] = [a for a in arguments if a is not NoneType]
        return _section(inner)
    if origin is dict:
        return _section(arguments[1])[0], ".NAME"
    if origin is tuple:
        return _section(arguments[0])[0], "[]"
    return None, ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    return "–" if default in (None, "", (), {}, PydanticUndefined) else f"`{default}`"


def rows(model: type[BaseModel], prefix: str = "") -> list[str]:
    """One table row per key, sections unfolded."""
    found = []
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        section, item = _section(field.annotation)
        if section is None:
            found.append(f"| `{prefix}{name}` | {_default(field)} | {field.description or ''} |")
            continue
        if field.description or section.__doc__:
            told = field.description or " ".join((section.__doc__ or "").split())
            needed = "needed" if field.is_required() else "–"
            found.append(f"| `{prefix}{name}` | {needed} | {told} |")
        found += rows(section, f"{prefix}{name}{item}.")
    return found


def filled(document: str) -> str:
    """The document with every table between its marks written anew."""
    for name, model in TABLES.items():
        if f"<!-- keys: {name} -->" not in document:
            continue
        before, after = document.split(f"<!-- keys: {name} -->\n")
        table = "\n".join(["| key | default | meaning |", "|---|---|---|", *rows(model)])
        after = after[after.index(END) :]
        document = f"{before}<!-- keys: {name} -->\n{table}\n{after}"
    if METRICS in document:
        before, after = document.split(METRICS)
        table = "\n".join(catalogue.rows())
        document = f"{before}{METRICS}{table}\n{after[after.index(END) :]}"
    return document


if __name__ == "__main__":
    for file in FILES:
        file.write_text(filled(file.read_text(encoding="utf-8")), encoding="utf-8")
