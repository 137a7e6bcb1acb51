"""Reads a policy file; every complaint names the key, its value and what it takes."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from scheduler.config import ConfigError
from scheduler.policyfile.sections import (
    ClusterSection,
    MaintenanceSection,
    PolicyFile,
    TenantSection,
    WaitingSection,
)
from scheduler.policyfile.weights import WeightsSection

_SECTIONS: Mapping[str, type[BaseModel]] = {
    "weights": WeightsSection,
    "clusters": ClusterSection,
    "tenants": TenantSection,
    "waiting": WaitingSection,
    "maintenance": MaintenanceSection,
}


class _Loader(yaml.SafeLoader):
    """Leaves dates as they are written: an impossible one is then refused by its key."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the class above has it
        first: [(tag, form) for tag, form in known if not tag.endswith(":timestamp")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load(path: Path) -> PolicyFile:
    """Reads a policy file; an empty one leaves everything as it is by default.

    Raises:
        ConfigError: no such file, not YAML, or a key that is unknown or out of range.
    """
    try:
        told = _Loader(path.read_text(encoding="utf-8")).get_single_data() or {}
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot be read ({why}); is the path right?") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError of a tagged value
        raise ConfigError(f"{path}: is not YAML: {error}") from error
    if not isinstance(told, dict):
        raise ConfigError(f"{path}: holds {told!r}; it takes keys: {', '.join(_keys(PolicyFile))}")
    try:
        return PolicyFile.model_validate(told)
    except ValidationError as error:
        lines = [f"{path}: {error.error_count()} thing(s) to mend"]
        raise ConfigError("\n".join([*lines, *map(_line, error.errors())])) from error


def _line(item: Any) -> str:
    where, told = ".".join(str(part) for part in item["loc"]), item["msg"]
    if item["type"] == "value_error":  # ours, which name the value
        told = told.removeprefix("Value error, ")
        return f"  {where}: {told}" if where else f"  {told}"
    if item["type"] == "extra_forbidden":
        known = _keys(_section(item["loc"][:-1]))
        near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
        told = f"no such key; did you mean {near[0]}?" if near else f"no such key of {known}"
    elif item["type"] == "missing":
        return f"  {where} is missing: {told[0].lower()}{told[1:]}"
    return f"  {where} = {item['input']!r}: {told[0].lower()}{told[1:]}"


def _section(location: tuple[int | str, ...]) -> type[BaseModel]:
    """What stands at a place of the file."""
    if len(location) >= 3 and location[0] == "tenants" and location[2] == "waiting":
        return WaitingSection
    return _SECTIONS[str(location[0])] if location else PolicyFile


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
