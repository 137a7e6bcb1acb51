"""The charts of a report, as inline SVG. Matplotlib is loaded only when one is drawn."""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from scheduler.replay.compare import Comparison
from scheduler.replay.curves import curves_of
from scheduler.replay.metrics import Metrics
from scheduler.replay.report.series import (
    DAY_S,
    WHOLE_DAYS_MOST,
    Axis,
    axis_of,
    held,
    mean_day,
)
from scheduler.replay.report.words import number, percent, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "#0f766e"
FIRST_OTHER = "#334155"
OTHERS = "#94a3b8"
FAINT = "#e2e8f0"
INK = "#1e293b"
SITES = ("#0f766e", "#d97706", "#7c3aed", "#2563eb", "#db2777", "#65a30d", "#57534e", "#dc2626")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "westward",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#cbd5e1",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#64748b",
    "ytick.color": "#64748b",
    "grid.color": "#f1f5f9",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
WIDTH_IN = 10.6


def draw(paint: Callable[[], "Figure"]) -> str:
    """A figure as an SVG element, the same for the same figures."""
    import matplotlib  # noqa: PLC0415 - takes a second, which no other command should
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415

    with matplotlib.rc_context(STYLE):
        buffer = io.StringIO()
        canvas: Any = FigureCanvasSVG(paint())
        canvas.print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # The page decides on the size.
    return re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)


def colour(policy: str) -> str:
    """Westward in its own, the others in grey."""
    return OURS if policy == "westward" else OTHERS


def bars(comparison: Comparison) -> "Figure":
    """Cost, carbon, green share and wait of every policy."""
    metrics = [measured.metrics for measured in comparison.measured]
    panels: list[tuple[str, Callable[[Metrics], float], Callable[[float], str]]] = [
        ("Energy cost, yuan", lambda m: m.energy_yuan + m.transfer_yuan, number),
        ("Carbon, kg CO₂", lambda m: m.carbon_kg, number),
        ("Green share", lambda m: m.green_share, percent),
        ("Mean wait, h", lambda m: m.wait_mean_s / 3600, number),
    ]
    figure, axes = _figure(1, len(panels), 0.42 * len(metrics) + 0.9)
    for at, (axis, (told, value, word)) in enumerate(zip(axes, panels, strict=True)):
        values = [value(m) for m in metrics]
        axis.barh(
            range(len(values)), values, color=[colour(m.policy) for m in metrics], height=0.62
        )
        for row, (figure_of, policy) in enumerate(zip(values, metrics, strict=True)):
            weight = "bold" if policy.policy == "westward" else "normal"
            text = f" {word(figure_of)}"
            axis.text(figure_of, row, text, va="center", fontsize=9, fontweight=weight)
        axis.set_title(told)
        axis.set_xlim(0, max([*values, 1e-9]) * 1.38)
        axis.set_yticks(range(len(values)), [title(m.policy) for m in metrics] if not at else [])
        axis.tick_params(axis="y", length=0, labelsize=9.5, labelcolor=INK)
        axis.set_xticks([])
        axis.spines["bottom"].set_visible(False)
        axis.invert_yaxis()
    return figure


def trade(comparison: Comparison) -> "Figure":
    """What waiting buys: energy cost against mean wait, with the clairvoyant bound."""
    figure, (axis,) = _figure(1, 1, 3.2)
    metrics = [measured.metrics for measured in comparison.measured]
    waits = [m.wait_mean_s / 3600 for m in metrics]
    bound = comparison.bound.energy_yuan
    points = [
        (title(m.policy), wait_h, m.energy_yuan, colour(m.policy))
        for m, wait_h in zip(metrics, waits, strict=True)
    ]
    for _, wait_h, yuan, shade in points:
        axis.scatter(wait_h, yuan, s=70, color=shade, zorder=3)
    axis.axhline(bound, color=OURS, linewidth=1.2, linestyle=(0, (4, 3)))
    # A policy that queues for days would press all others into one corner.
    if max(waits) > 20 * (sorted(waits)[len(waits) // 2] + 0.05):
        axis.set_xscale("symlog", linthresh=1)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlim(0, max([*waits, 0.1]) * 1.08)
    axis.margins(y=0.12)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.grid(visible=True)
    axis.set_xlabel("mean wait, h")
    axis.set_ylabel("energy, yuan")
    _name(axis, [*points, ("Clairvoyant bound", axis.get_xlim()[1], bound, OURS)])
    return figure


def _name(axis: "Axes", points: list[tuple[str, float, float, str]]) -> None:
    """Names of points in a column beside the axes, so that they never lie on one another."""
    low, high = axis.get_ylim()
    points.sort(key=lambda point: point[2])
    below = -1.0
    for told, x, y, shade in points:
        below = max((y - low) / (high - low), below + 0.095)
        axis.annotate(
            told,
            (x, y),
            xytext=(1.03, below),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=shade if shade == OURS else INK,
            fontweight="bold" if told == title("westward") else "normal",
            arrowprops={"arrowstyle": "-", "color": "#cbd5e1", "linewidth": 0.8},
            annotation_clip=False,
        )


def utilisation(comparison: Comparison) -> "Figure":
    """The share of all accelerators that runs hold, over time."""
    case = comparison.case
    axis_of_time = axis_of(case, comparison.outcomes)
    gpus = sum(node.gpus for node in case.world.nodes)
    cores = sum(node.cpus for node in case.world.nodes)
    amounts = {
        job.id: float(job.spec.gpus if gpus else job.spec.workers * job.spec.per_worker.cpus)
        for job in case.jobs
    }
    figure, (axis,) = _figure(1, 1, 2.6)
    drawn = sorted(comparison.outcomes, key=lambda o: o.policy == "westward")
    dark = next((o.policy for o in comparison.outcomes if o.policy != "westward"), "")
    for outcome in drawn:
        curve = held(outcome.runs, amounts, float(axis_of_time.edges_s[0]))
        ours = outcome.policy == "westward"
        emphasised = ours or outcome.policy == dark
        share = 100 * axis_of_time.mean(curve) / (gpus or cores)
        axis.plot(
            axis_of_time.middle(),
            share,
            color=OURS if ours else FIRST_OTHER if emphasised else "#cbd5e1",
            linewidth=1.8 if ours else 1.1 if emphasised else 0.8,
            zorder=4 if ours else 3 if emphasised else 2,
            label=title(outcome.policy) if emphasised else None,
        )
    if len(drawn) > 2:
        axis.plot([], [], color="#cbd5e1", linewidth=0.8, label="the others")
    _time(axis, axis_of_time, "in use, %")
    _legend(axis)
    return figure


def sites(comparison: Comparison) -> "Figure":
    """Price and green supply of every site; their mean day when the time is long."""
    case = comparison.case
    axis_of_time = axis_of(case, comparison.outcomes)
    long = axis_of_time.long_s > WHOLE_DAYS_MOST * DAY_S
    zone = case.start_at.utcoffset()
    zone_s = zone.total_seconds() if zone is not None else 0.0
    figure, axes = _figure(1, 2, 2.9)
    for at, (cluster, curves) in enumerate(curves_of(tuple(case.world.sites.values())).items()):
        shade = SITES[at % len(SITES)]
        for axis, curve in zip(axes, (curves.price, curves.green_kw), strict=True):
            if long:
                values = mean_day(curve, axis_of_time, zone_s)
                axis.step(np.arange(25), [*values, values[-1]], where="post", color=shade)
            else:
                values = axis_of_time.mean(curve)
                axis.step(axis_of_time.middle(), values, where="mid", color=shade)
            axis.lines[-1].set_label(cluster)
            axis.lines[-1].set_linewidth(1.4)
    for axis, told in zip(axes, ("Price, yuan/kWh", "Green supply, kW"), strict=True):
        axis.set_title(f"{told}, mean day" if long else told)
        axis.grid(visible=True)
        axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.set_xlabel("hour of the day" if long else axis_of_time.unit)
        if long:
            axis.set_xlim(0, 24)
            axis.set_xticks(range(0, 25, 4))
    _legend(axes[-1], outside=True)
    return figure


def rounds(comparison: Comparison) -> "Figure":
    """How long rounds took and how near to the optimum they are proven to be."""
    axis_of_time = axis_of(comparison.case, comparison.outcomes)
    figure, (left, right) = _figure(1, 2, 2.7)
    for outcome in sorted(comparison.outcomes, key=lambda o: o.policy == "westward"):
        shade = colour(outcome.policy)
        times_s = [note.at.timestamp() for note in outcome.rounds]
        _middle_and_worst(left, axis_of_time, times_s, [n.wall_ms for n in outcome.rounds], shade)
        proven = [n for n in outcome.rounds if n.gap is not None and n.jobs]
        times_s = [note.at.timestamp() for note in proven]
        gaps = [100 * (note.gap or 0.0) for note in proven]
        _middle_and_worst(right, axis_of_time, times_s, gaps, shade)
    left.set_yscale("log")
    left.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    left.set_title("Time of a round, ms")
    right.set_title("Certified gap of a round, %")
    if not right.lines:
        right.text(0.5, 0.5, "no policy here proves a gap", transform=right.transAxes, ha="center")
    right.set_ylim(bottom=0)
    for axis in (left, right):
        axis.set_xlim(0, axis_of_time.most)
        axis.set_xlabel(axis_of_time.unit)
        axis.grid(visible=True)
    return figure


def _middle_and_worst(
    axis: "Axes", axis_of_time: Axis, times_s: list[float], values: list[float], shade: str
) -> None:
    """The median, thick, and the largest, thin, of the values in each span of time."""
    edges_s = axis_of_time.edges_s[::4]
    span = np.searchsorted(edges_s, times_s, "right") - 1
    found = [(s, np.array(values)[span == s]) for s in np.unique(span)]
    if found:
        since = axis_of_time.since(edges_s[[s for s, _ in found]])
        axis.plot(since, [np.median(v) for _, v in found], color=shade, linewidth=1.6)
        axis.plot(since, [v.max() for _, v in found], color=shade, linewidth=0.6)


def _figure(rows: int, columns: int, height_in: float) -> tuple["Figure", list["Axes"]]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - see ``draw``

    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    made = figure.subplots(rows, columns, squeeze=False)
    return figure, list(made.ravel())


def _time(axis: "Axes", axis_of_time: Axis, told: str) -> None:
    axis.set_xlim(0, axis_of_time.most)
    axis.set_ylim(bottom=0)
    axis.grid(visible=True)
    axis.set_xlabel(f"{axis_of_time.unit} since the first submission")
    axis.set_ylabel(told)


def _legend(axis: "Axes", *, outside: bool = False) -> None:
    if outside:
        axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.02))
    else:
        axis.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
