"""The dashboard, the alerts and the documents ask for figures and labels that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.metrics.catalogue import BY_NAME, METRICS, Kind
from tests.unit.repo.tree import ROOT, text

BOARD: dict[str, Any] = json.loads(text(ROOT / "helm/westward/dashboards/westward.json"))
DOCUMENT = text(ROOT / "docs" / "metrics.md")
OF_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
# Of everything that Prometheus scrapes.
OWN_LABELS = {"job", "instance", "namespace"}
NAME = re.compile(r"\b((?:westward|process)_\w+)(?:\{([^}]*)\})?(\[[^\]]*\])?")
GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
COUNTERS = re.compile(r"\b(rate|increase|irate)\s*\(\s*$")
FUNCTIONS = {
    *("sum", "max", "min", "count", "avg", "rate", "increase", "histogram_quantile", "vector"),
    *("label_values", "by", "on", "group_left", "or", "and"),
}


def exported() -> dict[str, set[str]]:
    """The names of the series, each with its labels."""
    found: dict[str, set[str]] = {name: set() for name in OF_PROCESS}
    for metric in METRICS:
        labels = set(metric.labels)
        if metric.kind is Kind.HISTOGRAM:
            found |= {f"{metric.name}_{end}": labels for end in ("sum", "count")}
            found[f"{metric.name}_bucket"] = labels | {"le"}
        else:
            found[metric.name] = labels
    return found


def objections(expression: str) -> Iterator[str]:
    """What is wrong with PromQL, as far as can be told without Prometheus."""
    bare = STRING.sub('""', expression)
    for opening, closing in ("()", "[]", "{}"):
        if bare.count(opening) != bare.count(closing):
            yield f"{opening} and {closing} do not match"
    for called in re.findall(r"\b([a-z_]+)\s*\(", bare):
        if called not in FUNCTIONS:
            yield f"{called} is no function known here"
    names = {found[0] for found in NAME.findall(expression)}
    labels = set().union(OWN_LABELS, *(exported().get(name, set()) for name in names))
    for group in GROUPED.findall(bare):
        for label in filter(None, re.split(r"[\s,]+", group)):
            if label not in labels:
                yield f"grouped by {label}, which nothing here has"
    yield from _misused(expression)


def _misused(expression: str) -> Iterator[str]:
    """What is wrong with the series of an expression."""
    series = exported()
    for found in NAME.finditer(expression):
        name, matchers, window = found.groups()
        if name not in series:
            yield f"nothing is exported as {name}"
            continue
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", STRING.sub('""', matchers or "")):
            if label not in series[name] | OWN_LABELS:
                yield f"{name} has no label {label}"
        counted = COUNTERS.search(expression[: found.start()]) is not None
        if counted != (window is not None):
            yield f"{name}: a window and a rate belong together"
        if name.endswith(("_total", "_bucket")) != counted:
            yield f"{name} is {'not ' * counted}a counter"


def expressions() -> list[tuple[str, str]]:
    """Of all panels and variables: title and PromQL."""
    panels = [p for p in BOARD["panels"] if p["type"] != "row"]
    return [(p["title"], target["expr"]) for p in panels for target in p["targets"]]


@pytest.mark.parametrize(("title", "expression"), expressions())
def test_a_panel_asks_for_what_is_exported(title: str, expression: str) -> None:
    assert not list(objections(expression)), title


def test_every_legend_names_labels_that_are_there() -> None:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"\b{label}\b", target["expr"]) or any(
                    label in BY_NAME[name].labels for name in BY_NAME if name in target["expr"]
                ), (panel["title"], label)


def test_variables_ask_for_what_is_exported() -> None:
    queries = [v["query"]["query"] for v in BOARD["templating"]["list"] if v["type"] == "query"]
    assert queries
    for query in queries:
        [(name, label)] = re.findall(r"label_values\((\w+), (\w+)\)", query)
        assert label in exported()[name]


def test_every_figure_is_on_the_dashboard() -> None:
    shown = {found[0] for _, expr in expressions() for found in NAME.findall(expr)}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert shown - OF_PROCESS == set(BY_NAME)


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))


def alerts() -> list[str]:
    section = DOCUMENT.split("\n## Worth an alert\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| `((?:[^`])+)`", section, re.MULTILINE)
    block = re.findall(r"```promql\n(.*?)\n\s*```", DOCUMENT, re.DOTALL)
    return [row.replace("\\|", "|") for row in rows if row != "expression"] + block


def test_the_alerts_and_queries_of_the_document_can_be_asked() -> None:
    assert len(alerts()) > 6
    assert not [(query, why) for query in alerts() for why in objections(query)]


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("sum(westward_job)", "nothing is exported as westward_job"),
        ('westward_jobs{stat="x"}', "westward_jobs has no label stat"),
        ("sum by (colour) (westward_jobs)", "grouped by colour"),
        ("rate(westward_jobs[5m])", "westward_jobs is not a counter"),
        ("sum(westward_rounds_total)", "is a counter"),
        ("rate(westward_rounds_total)", "belong together"),
        ("sum(westward_jobs", "do not match"),
        ("summ(westward_jobs)", "no function"),
    ],
)
def test_a_wrong_expression_is_caught(expression: str, why: str) -> None:
    assert any(why in told for told in objections(expression))
