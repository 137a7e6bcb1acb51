"""The chart of the replayed hubs shows the mean of the seeds, and the bound."""

import pytest

pytest.importorskip("matplotlib")

from bench.philly import chart


def cell(load: float, westward_yuan: float, bound_yuan: float) -> dict[str, object]:
    metrics = {"westward": {"energy_yuan": westward_yuan}, "fifo": {"energy_yuan": 100.0}}
    return {"load": load, "metrics": metrics, "bound": {"energy_yuan": bound_yuan}}


def test_bars_and_bounds_are_percent_against_fifo() -> None:
    cells = [cell(0.25, 70.0, 60.0), cell(0.25, 80.0, 70.0), cell(0.65, 90.0, 85.0)]
    figure = chart.costs(cells, {}, "blue", "black")
    assert figure is not None
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([-25.0, -10.0])
    bounds = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert bounds == pytest.approx([-35.0, -15.0])


def test_without_cells_there_is_no_chart() -> None:
    assert chart.costs([], {}, "blue", "black") is None
