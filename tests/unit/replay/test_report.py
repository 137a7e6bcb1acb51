"""What a replay leaves in its folder."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scheduler.replay.case import CaseError
from scheduler.replay.compare import Comparison, compare
from scheduler.replay.metrics import JobRow
from scheduler.replay.placers import PLACERS
from scheduler.replay.report import write_report
from scheduler.replay.report.files import summary_of
from scheduler.replay.report.words import change, number, percent, span
from tests.scenario.world import World
from tests.unit.replay.cases import CaseOf


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    case = CaseOf(World(slots=8)).hub("qingyang", gpus=4, green_kw=[1.0, 2.0, 0.0, 3.0])
    case.hub("horinger", gpus=4, price=[0.6, 0.2, 0.4])
    for n in range(6):
        case.job(f"job-{n}", at_minutes=9 * n, minutes=40, gpus=2, delay_minutes=60)
    case.job("too <big>", gpus=64)
    return compare(case.case(), list(PLACERS))


def test_the_three_files(comparison: Comparison, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    write_report(comparison, folder)
    assert sorted(p.name for p in folder.iterdir()) == ["jobs.csv", "report.html", "summary.json"]
    with (folder / "jobs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(JobRow.__dataclass_fields__)
    assert len(rows) == 7 * len(PLACERS)
    spent = sum(float(row["energy_yuan"]) for row in rows if row["policy"] == "fifo")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    fifo = next(p for p in summary["policies"] if p["policy"] == "fifo")
    assert spent == pytest.approx(fifo["energy_yuan"])
    huge = next(row for row in rows if row["job_id"] == "too <big>")
    assert (huge["state"], huge["started_at"], huge["wait_s"]) == ("PENDING", "", "")


def test_the_summarys_fields_are_stable(comparison: Comparison) -> None:
    summary = summary_of(comparison)
    assert sorted(summary) == ["bound", "case", "policies", "version"]
    assert sorted(summary["bound"]) == ["energy_yuan", "independent_yuan", "jobs"]
    assert [p["policy"] for p in summary["policies"]] == list(PLACERS)
    assert set(summary["policies"][0]) == {
        *("policy", "jobs", "energy_yuan", "transfer_yuan", "energy_kwh", "green_kwh"),
        *("green_share", "carbon_kg", "wait_mean_s", "wait_p95_s", "slowdown_mean"),
        *("slowdown_p95", "late_jobs", "deadline_misses", "unplaced_jobs", "unplaced_gpu_hours"),
        *("utilisation", "makespan_s", "rounds", "wall_s"),
    }
    assert set(summary["policies"][0]["rounds"]) == {
        *("count", "p50_ms", "p99_ms", "total_s", "gap_mean", "gap_most", "stops"),
        "moved_share",
    }


class Links(HTMLParser):
    """Everything that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag in ("script", "link", "img", "iframe", "image") or "src" in names:
            self.found.append(tag)


def test_the_page_needs_nothing_beside_itself(comparison: Comparison, tmp_path: Path) -> None:
    write_report(comparison, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert links.found == []
    assert "url(http" not in text
    charts = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(charts) == 5
    for chart in charts:
        assert ElementTree.fromstring(chart).tag.endswith("svg")
    for told in ("Westward", "FIFO first fit", "SkyPilot argmin", "Clairvoyant bound"):
        assert told in text


def test_ids_of_one_chart_are_not_those_of_another(comparison: Comparison, tmp_path: Path) -> None:
    """A clip path that two charts define differently would cut one of them wrongly."""
    write_report(comparison, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    meant: dict[str, str] = {}
    for name, inner in re.findall(r'<clipPath id="([^"]+)">(.*?)</clipPath>', text, re.DOTALL):
        assert meant.setdefault(name, inner) == inner


def test_names_are_escaped(tmp_path: Path) -> None:
    case = CaseOf().hub("<b>hub</b>").job("a").case()
    write_report(compare(case, ["fifo"]), tmp_path)
    assert "<b>hub" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_case_without_jobs_is_told() -> None:
    with pytest.raises(CaseError, match="has no jobs"):
        compare(CaseOf().hub("qingyang").case(), ["fifo"])


def test_figures_read_well() -> None:
    assert [number(v) for v in (0, 0.0012, 0.5, 12.34, 1234.5)] == [
        *("0", "0.0012", "0.50", "12.3", "1,234"),
    ]
    assert (percent(0.4567), change(75.5, 100.0), change(1.0, 0.0)) == ("45.7 %", "−24.5 %", "")
    assert [span(v) for v in (0, 36, 90, 5400, 86400, 200_000)] == [
        *("0 s", "36.0 s", "1.50 min", "1.50 h", "24.0 h", "2.31 d"),
    ]
