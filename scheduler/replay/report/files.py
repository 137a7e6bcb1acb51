"""``jobs.csv`` and ``summary.json``: what programs read of a replay. Field names are stable."""

import csv
import json
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from scheduler.replay.compare import Comparison
from scheduler.replay.metrics import JobRow

# Rises when a field changes its meaning or goes away.
VERSION = 1


def write_jobs(comparison: Comparison, path: Path) -> None:
    """One line per policy and job: the fields of ``JobRow``; times are ISO 8601, empty for none."""
    names = [field.name for field in fields(JobRow)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for measured in comparison.measured:
            for row in measured.rows:
                writer.writerow([_cell(getattr(row, name)) for name in names])


def summary_of(comparison: Comparison) -> dict[str, Any]:
    """The case, the policies in the order asked for, and the clairvoyant bound."""
    case, bound = comparison.case, comparison.bound
    nodes = case.world.nodes
    return {
        "version": VERSION,
        "case": {
            "name": case.name,
            "jobs": len(case.jobs),
            "nodes": len(nodes),
            "gpus": sum(node.gpus for node in nodes),
            "clusters": list(case.world.sites),
            "start_at": case.start_at.isoformat(),
            "last_submission_at": case.jobs[-1].submitted_at.isoformat(),
            "slot_s": case.slot_s,
            "horizon_slots": case.horizon_slots,
        },
        "policies": [asdict(measured.metrics) for measured in comparison.measured],
        "bound": asdict(bound),
    }


def write_summary(comparison: Comparison, path: Path) -> None:
    """``summary_of`` as JSON."""
    text = json.dumps(summary_of(comparison), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.10g}"
    return "" if value is None else value
