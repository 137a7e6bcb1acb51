"""What a replay leaves in its folder: a page for people, tables for programs."""

from pathlib import Path

from scheduler.replay.compare import Comparison
from scheduler.replay.report.files import write_jobs, write_summary
from scheduler.replay.report.page import page

JOBS, SUMMARY, PAGE = "jobs.csv", "summary.json", "report.html"


def write_report(comparison: Comparison, folder: Path) -> None:
    """Writes ``jobs.csv``, ``summary.json`` and ``report.html`` into a folder, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_jobs(comparison, folder / JOBS)
    write_summary(comparison, folder / SUMMARY)
    (folder / PAGE).write_text(page(comparison), encoding="utf-8")
