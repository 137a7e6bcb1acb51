"""A policy file: what it puts in force."""

from collections.abc import Iterator

from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.text import Text

from scheduler.cli.render import common
from scheduler.policyfile.sections import MaintenanceSection, PolicyFile, TenantSection

_QUANTILE: float = PolicyFile.model_fields["forecast_quantile"].default


def in_force(told: PolicyFile) -> RenderableType:
    """Weights, then one table each for clusters, tenants and maintenance that the file names."""
    parts: list[RenderableType] = [_weights(told)]
    if told.clusters:
        keys = ["CLUSTER", "PRICE +", "PREFERENCE", "NOT GREEN", "MOVING"]
        rows = [[name, *_figures(section)] for name, section in told.clusters.items()]
        parts += [Text(), _table(keys, rows)]
    if told.tenants:
        keys = ["TENANT", "QUOTA", "WEIGHT", "NOT GREEN", "WAITING BY PRIORITY"]
        tenants = told.tenants.items()
        rows = [[name, *_figures(section), _waiting(section)] for name, section in tenants]
        parts += [Text(), _table(keys, rows)]
    if told.maintenance:
        keys = ["MAINTENANCE", "FROM", "TO", "WHY"]
        parts += [Text(), _table(keys, [_maintenance(item) for item in told.maintenance])]
    return Group(*parts)


def _weights(told: PolicyFile) -> RenderableType:
    table = common.table()
    for head in ("WEIGHT", "IN FORCE", "DEFAULT"):
        table.add_column(head, no_wrap=True, justify="left" if head == "WEIGHT" else "right")
    for name, field in type(told.weights).model_fields.items():
        value = getattr(told.weights, name)
        mark = "" if value == field.default else " *"
        table.add_row(name + mark, f"{value:g}", f"{field.default:g}")
    mark = "" if told.forecast_quantile == _QUANTILE else " *"
    table.add_row(f"forecast_quantile{mark}", f"{told.forecast_quantile:g}", f"{_QUANTILE:g}")
    return table


def _table(keys: list[str], rows: list[list[str]]) -> RenderableType:
    table = common.table()
    for key in keys:
        table.add_column(key)
    for row in rows:
        table.add_row(*(common.clean(cell) for cell in row))
    return table


def _figures(section: BaseModel) -> Iterator[str]:
    """The figures of a section; a dash where what holds for all does."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if value is None or isinstance(value, int | float):
            yield "–" if value is None else f"{value:g}"


def _waiting(section: TenantSection) -> str:
    classes = sorted(section.waiting, key=lambda item: item.from_priority)
    return "; ".join(
        f"from {c.from_priority}: {c.defer_yuan_per_gpu_hour:g}, late {c.late_yuan_per_gpu_hour:g}"
        for c in classes
    )


def _maintenance(item: MaintenanceSection) -> list[str]:
    where = item.cluster
    if item.node or item.accelerator:
        where += f"/{item.node or item.accelerator}"
    return [where, str(item.from_at), str(item.to_at), item.why]
