"""`make bench-report`: the charts in ``docs/img/``, from what the benches have measured.

They have no background of their own, and colours that can be read on white as on black.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.philly import chart as philly
from bench.planner.result import Case, Results, read
from bench.planner.targets import Target, target_of

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "img"
# About as far from white as from black.
INK = "#777c83"
BLUE, ORANGE, GREEN, PURPLE, RED, TEAL, OLIVE = (
    *("#3b82d0", "#d9731a", "#2e9e5b", "#9a63d2"),
    *("#d9485f", "#1f97a3", "#8f8a1f"),
)
STAGE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, TEAL, OLIVE)
# Lines of a growth chart: mode and chunk, with colour and dash.
LINES = {
    ("flow", 8): (BLUE, "-"),
    ("flow", 4): (BLUE, "--"),
    ("backlog", 8): (ORANGE, "-"),
    ("backlog", 4): (ORANGE, "--"),
}
POLICY_COLOURS = {"cheapest site now": PURPLE, "Westward": GREEN}
STYLE: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # The same figures always make the same file.
    "svg.hashsalt": "westward",
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
# The load and the chunk at which sizes are compared.
LOAD, CHUNK = 0.65, 8


def growth(results: Results) -> Figure | None:
    """Time, gap and memory from the smallest size to the largest."""
    cases = [case for case in results.cases if case.recipe.load == LOAD]
    if not cases:
        return None
    figure = Figure(figsize=(10.5, 7.0), layout="constrained")
    (cold, warm), (gap, memory) = figure.subplots(2, 2)
    _grown(cold, cases, lambda case: case.cold.cpu_s, lambda aim: aim.cold_s)
    _grown(warm, cases, lambda case: case.warm.cpu_s, lambda aim: aim.warm_s)
    _grown(gap, cases, lambda case: case.cold.gap * 100, lambda aim: aim.gap * 100)
    _grown(memory, cases, lambda case: case.peak_mb, lambda aim: aim.peak_mb)
    cold.set_title("Cold plan, seconds of one core")
    warm.set_title("Again after a change of 5 %, seconds of one core")
    gap.set_title("Certified gap of the cold plan, %")
    memory.set_title("Peak memory, MB")
    for axes in (gap, memory):
        axes.set_xlabel("pending jobs")
    handles, labels = cold.get_legend_handles_labels()
    aim = Line2D([], [], ls="", marker="_", ms=14, mew=2, color=INK)
    figure.legend(
        [*handles, aim], [*labels, f"aimed at, chunk {CHUNK}"], loc="outside lower center", ncols=5
    )
    return figure


def _grown(
    axes: Axes,
    cases: Sequence[Case],
    of: Callable[[Case], float],
    aim_of: Callable[[Target], float | None],
) -> None:
    """A line for each mode and chunk: the median of the seeds, and their range."""
    for (mode, chunk), (colour, dash) in LINES.items():
        values: dict[int, list[float]] = defaultdict(list)
        for case in cases:
            if (case.recipe.mode, case.recipe.chunk) == (mode, chunk):
                values[case.recipe.size.jobs].append(of(case))
        jobs = sorted(values)
        middle = [median(values[n]) for n in jobs]
        axes.plot(
            jobs, middle, dash, color=colour, marker="o", ms=4, label=f"{mode}, chunk {chunk}"
        )
        low, high = ([pick(values[n]) for n in jobs] for pick in (min, max))
        axes.fill_between(jobs, low, high, color=colour, alpha=0.15, lw=0)
    _aimed_at(axes, cases, aim_of)
    sizes = {case.recipe.size.jobs: case.recipe.size.name for case in cases}
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(list(sizes), [f"{name}\n{_short(n)}" for n, name in sizes.items()])
    axes.set_xlim(min(sizes) / 1.5, max(sizes) * 1.5)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")


def _aimed_at(axes: Axes, cases: Sequence[Case], aim_of: Callable[[Target], float | None]) -> None:
    """Bars in the colours of the modes, beside each other."""
    for recipe in dict.fromkeys(c.recipe for c in cases if c.recipe.chunk == CHUNK):
        target = target_of(recipe)
        aim = aim_of(target) if target is not None else None
        if aim is not None:
            colour, _ = LINES[recipe.mode, CHUNK]
            aside = 0.9 if recipe.mode == "flow" else 1 / 0.9
            axes.plot(recipe.size.jobs * aside, aim, "_", color=colour, ms=11, mew=2.5)


def _short(count: int) -> str:
    return f"{count // 1000}k" if count >= 1000 else str(count)


def stages(results: Results) -> Figure | None:
    """Where the processor time of a cold plan goes, by size and mode."""
    cases = [
        case
        for case in results.cases
        if (case.recipe.load, case.recipe.chunk, case.recipe.seed) == (LOAD, CHUNK, 1)
    ]
    if not cases:
        return None
    names = _largest({stage.name for case in cases for stage in case.cold.stages}, cases)
    figure = Figure(figsize=(10.5, 1.4 + 0.42 * len(cases)), layout="constrained")
    axes = figure.subplots()
    for row, case in enumerate(cases):
        _stacked(axes, row, case, names)
    axes.set_yticks(range(len(cases)), [f"{c.recipe.size.name} {c.recipe.mode}" for c in cases])
    axes.invert_yaxis()
    axes.set_xlim(0, 113)
    axes.set_xticks(range(0, 101, 20))
    axes.set_title(f"Stages of a cold plan, % of its processor time (chunk {CHUNK})")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    handles, labels = axes.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=5)
    return figure


def _largest(names: Iterable[str], cases: Sequence[Case]) -> list[str]:
    """The stages that take most in some case, in the order in which they come; the rest go
    together, as there are only so many colours."""
    shares = {name: max(_shares(case).get(name, 0.0) for case in cases) for name in names}
    ranked = sorted(shares, key=lambda name: (-shares[name], name))[: len(STAGE_COLOURS)]
    order = [stage.name for case in cases for stage in case.cold.stages]
    return sorted(ranked, key=order.index)


def _shares(case: Case) -> dict[str, float]:
    """Percent of the processor time by stage."""
    whole_ms = case.cold.cpu_s * 1000
    return {stage.name: 100 * stage.cpu_ms / whole_ms for stage in case.cold.stages}


def _stacked(axes: Axes, row: int, case: Case, names: Sequence[str]) -> None:
    shares, at = _shares(case), 0.0
    parts = [(name, shares.get(name, 0.0)) for name in names]
    parts.append(("rest", 100 - sum(share for _, share in parts)))
    for (name, share), colour in zip(parts, (*STAGE_COLOURS[: len(names)], INK), strict=True):
        axes.barh(row, share, left=at, height=0.68, color=colour, label=name)
        if share >= 6:
            axes.text(at + share / 2, row, f"{share:.0f}", color="white", ha="center", va="center")
        at += share
    axes.text(101.5, row, f"{case.cold.cpu_s:.3g} s", va="center")


def costs(results: Results) -> Figure | None:
    """Energy against FIFO and the work left out, by load, on the largest size with several."""
    loads: dict[str, set[float]] = defaultdict(set)
    for case in results.cases:
        if case.recipe.mode == "flow" and case.recipe.chunk == CHUNK:
            loads[case.recipe.size.name].add(case.recipe.load)
    sizes = [size for size, known in loads.items() if len(known) > 1]
    if not sizes:
        return None
    cases = [
        case
        for case in results.cases
        if (case.recipe.size.name, case.recipe.mode, case.recipe.chunk)
        == (sizes[-1], "flow", CHUNK)
    ]
    figure = Figure(figsize=(10.5, 3.9), layout="constrained")
    energy, left = figure.subplots(1, 2)
    _by_load(energy, cases, lambda case, i: case.outcomes[i].against_fifo * 100, skip_fifo=True)
    _by_load(left, cases, lambda case, i: case.outcomes[i].left_out_share * 100, skip_fifo=False)
    energy.set_title(f"Cost of energy against FIFO first fit, % ({sizes[-1]}, flow)")
    left.set_title("Work left out that could start somewhere, %")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _by_load(
    axes: Axes, cases: Sequence[Case], of: Callable[[Case, int], float], *, skip_fifo: bool
) -> None:
    """Bars by load and policy: the median of the seeds, with their range."""
    policies = [outcome.policy for outcome in cases[0].outcomes]
    loads = sorted({case.recipe.load for case in cases})
    shown = [i for i in range(len(policies)) if not (skip_fifo and i == 0)]
    width = 0.8 / len(shown)
    for turn, i in enumerate(shown):
        at = [n + (turn - (len(shown) - 1) / 2) * width for n in range(len(loads))]
        values = [[of(case, i) for case in cases if case.recipe.load == load] for load in loads]
        middle = [median(v) for v in values]
        spread = (
            [m - min(v) for m, v in zip(middle, values, strict=True)],
            [max(v) - m for m, v in zip(middle, values, strict=True)],
        )
        colour = POLICY_COLOURS.get(policies[i], INK)
        bars = axes.bar(
            at, middle, 0.9 * width, yerr=spread, ecolor=INK, color=colour, label=policies[i]
        )
        axes.bar_label(bars, fmt="%.1f", padding=4, fontsize=9, color=INK)
    axes.set_xticks(range(len(loads)), [f"{load:g}" for load in loads])
    axes.set_xlabel("load")
    axes.axhline(0, color=INK, lw=0.8)
    axes.margins(y=0.15)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def hubs(_: Results) -> Figure | None:
    """The policies on the replayed hubs."""
    named = ("cheapest-now", "cheapest-window", "least-allocated", "most-allocated", "skypilot")
    colours = dict(zip(named, (PURPLE, ORANGE, TEAL, OLIVE, RED), strict=True))
    return philly.costs(philly.read(), {**colours, "westward": GREEN}, BLUE, INK)


CHARTS = {"planner-growth": growth, "planner-stages": stages, "planner-cost": costs, "philly": hubs}


def main() -> int:
    results = read()
    if results is None:
        print("bench/results/planner.json is missing; make it with: make bench-planner ARGS=--all")
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, draw in CHARTS.items():
            figure = draw(results)
            if figure is None:
                print(f"{name}: nothing was measured that it shows")
                continue
            figure.savefig(IMAGES / f"{name}.svg", metadata=NO_METADATA)
            print(f"docs/img/{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
