"""The chart of the replayed hubs: what energy costs against FIFO, by load and policy."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import RESULTS

FILE = RESULTS / "philly.json"
BASELINE, OURS = "fifo", "westward"


def read(path: Path = FILE) -> list[dict[str, Any]]:
    """The cells that were measured; none if there is no file."""
    return list(json.loads(path.read_text(encoding="utf-8"))["cells"]) if path.is_file() else []


def costs(
    cells: Sequence[dict[str, Any]], colours: dict[str, str], other: str, ink: str
) -> Figure | None:
    """Bars by load and policy, the mean of the seeds with their range, and the bound as a line.

    Args:
        colours: of policies; of others ``other``, and ``ink`` of what is no bar.
    """
    if not cells:
        return None
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    axes = figure.subplots()
    loads = sorted({cell["load"] for cell in cells})
    policies = [name for name in cells[0]["metrics"] if name not in (BASELINE, OURS)]
    shown = [*policies, OURS]
    for turn, policy in enumerate(shown):
        width = 0.84 / len(shown)
        at = [n + (turn - (len(shown) - 1) / 2) * width for n in range(len(loads))]
        values = [
            [_against(cell, cell["metrics"][policy]["energy_yuan"]) for cell in cells_of]
            for cells_of in ([c for c in cells if c["load"] == load] for load in loads)
        ]
        middle = [fmean(some) for some in values]
        spread = (
            [m - min(some) for m, some in zip(middle, values, strict=True)],
            [max(some) - m for m, some in zip(middle, values, strict=True)],
        )
        colour = colours.get(policy, other)
        bars = axes.bar(
            at, middle, 0.9 * width, yerr=spread, ecolor=ink, color=colour, label=policy
        )
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8, color=ink)
    _bounds(axes, cells, loads, ink)
    axes.set_xticks(range(len(loads)), [f"{load:g}" for load in loads])
    axes.set_xlabel("load")
    axes.set_title("Cost of energy against FIFO first fit, %")
    axes.axhline(0, color=ink, lw=0.8)
    axes.margins(y=0.12)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _against(cell: dict[str, Any], yuan: float) -> float:
    """Percent against the baseline."""
    return float(100 * (yuan / cell["metrics"][BASELINE]["energy_yuan"] - 1))


def _bounds(axes: Axes, cells: Sequence[dict[str, Any]], loads: Sequence[float], ink: str) -> None:
    """A line across the bars of each load."""
    for n, load in enumerate(loads):
        least = fmean(
            _against(cell, cell["bound"]["energy_yuan"]) for cell in cells if cell["load"] == load
        )
        label = "clairvoyant bound" if n == 0 else ""
        axes.plot([n - 0.45, n + 0.45], [least, least], "--", color=ink, label=label)
