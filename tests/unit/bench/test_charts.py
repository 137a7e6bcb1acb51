"""The charts show what was measured, and nothing where nothing was."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.instances import SIZES, Mode
from bench.planner.result import Case, Results

pytest.importorskip("matplotlib")

from bench import charts


def told(case: Case, size: str, **recipe: object) -> Case:
    """The same figures for another recipe."""
    made = replace(case.recipe, size=SIZES[size], load=0.65, mode=Mode.FLOW, seed=1)
    return replace(case, recipe=replace(made, **recipe))  # type: ignore[arg-type]


def results(cases: Sequence[Case]) -> Results:
    return Results(machine={}, cases=cases)


def test_growth_shows_the_median_of_the_seeds_at_each_size(case: Case) -> None:
    seeds = [
        replace(told(case, "S", seed=n), cold=replace(case.cold, cpu_s=cpu_s))
        for n, cpu_s in enumerate((0.4, 0.1, 0.3))
    ]
    large = replace(told(case, "M"), cold=replace(case.cold, cpu_s=2.5))
    figure = charts.growth(results([*seeds, large]))
    assert figure is not None
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines["flow, chunk 8"] == [[1000.0, 0.3], [10000.0, 2.5]]
    assert lines["backlog, chunk 4"] == []


def test_the_parts_of_a_bar_are_the_stages_and_make_a_hundred(case: Case) -> None:
    figure = charts.stages(results([told(case, "S"), told(case, "M", mode=Mode.BACKLOG)]))
    assert figure is not None
    bars = [bar for bar in figure.axes[0].patches if round(bar.get_y() + 0.34) == 0]
    assert sum(bar.get_width() for bar in bars) == pytest.approx(100)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[-1] == "rest"
    assert set(names[:-1]) <= {stage.name for stage in case.cold.stages}
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "S flow",
        "M backlog",
    ]


def test_costs_are_told_against_fifo_by_load(case: Case) -> None:
    few = [told(case, "M", load=load) for load in (0.25, 0.65)]
    figure = charts.costs(results(few))
    assert figure is not None
    heights = {round(bar.get_height(), 6) for bar in figure.axes[0].patches}
    assert heights == {round(o.against_fifo * 100, 6) for o in case.outcomes[1:]}
    assert charts.costs(results(few[:1])) is None


def test_the_same_results_make_the_same_files(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "IMAGES", tmp_path)
    measured = results([told(case, "S"), told(case, "S", load=0.25)])
    made = []
    for _ in range(2):
        monkeypatch.setattr(charts, "read", lambda: measured)
        assert charts.main() == 0
        made.append({path.name: path.read_bytes() for path in sorted(tmp_path.glob("*.svg"))})
    assert list(made[0]) == sorted(f"{name}.svg" for name in charts.CHARTS)
    assert made[0] == made[1]


def test_without_results_nothing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(charts, "IMAGES", tmp_path)
    monkeypatch.setattr(charts, "read", lambda: None)
    monkeypatch.setattr(charts.philly, "read", list)
    assert charts.main() == 1
    assert "make bench-planner" in capsys.readouterr().out
    monkeypatch.setattr(charts, "read", lambda: results([]))
    assert charts.main() == 0
    assert not list(tmp_path.iterdir())
