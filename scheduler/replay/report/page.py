"""``report.html``: one page that needs nothing beside itself."""

from collections.abc import Callable
from functools import partial
from html import escape

from scheduler.replay.compare import Comparison
from scheduler.replay.metrics import Metrics
from scheduler.replay.report import charts
from scheduler.replay.report.words import change, number, percent, span, title

# Heading, what a cell says, what is compared, and whether more is better (None: neither).
Column = tuple[str, Callable[[Metrics], str], Callable[[Metrics], float], bool | None]
SERVICE: tuple[Column, ...] = (
    ("Energy, yuan", lambda m: number(m.energy_yuan), lambda m: m.energy_yuan, False),
    ("Transfer, yuan", lambda m: number(m.transfer_yuan), lambda m: m.transfer_yuan, False),
    ("kWh", lambda m: number(m.energy_kwh), lambda m: m.energy_kwh, False),
    ("Green", lambda m: percent(m.green_share), lambda m: m.green_share, True),
    ("kg CO₂", lambda m: number(m.carbon_kg), lambda m: m.carbon_kg, False),
    ("Wait, mean", lambda m: span(m.wait_mean_s), lambda m: m.wait_mean_s, False),
    ("Wait, p95", lambda m: span(m.wait_p95_s), lambda m: m.wait_p95_s, False),
    ("Slowdown", lambda m: number(m.slowdown_mean), lambda m: m.slowdown_mean, False),
    ("Late starts", lambda m: f"{m.late_jobs:,}", lambda m: m.late_jobs, False),
    ("Missed deadlines", lambda m: f"{m.deadline_misses:,}", lambda m: m.deadline_misses, False),
    ("Unplaced", lambda m: f"{m.unplaced_jobs:,}", lambda m: m.unplaced_jobs, False),
    ("Unplaced GPU-h", lambda m: number(m.unplaced_gpu_hours), lambda m: m.unplaced_jobs, None),
    ("In use", lambda m: percent(m.utilisation), lambda m: m.utilisation, None),
)
ROUNDS: tuple[Column, ...] = (
    ("Rounds", lambda m: f"{m.rounds.count:,}", lambda m: m.rounds.count, None),
    ("p50, ms", lambda m: number(m.rounds.p50_ms), lambda m: m.rounds.p50_ms, None),
    ("p99, ms", lambda m: number(m.rounds.p99_ms), lambda m: m.rounds.p99_ms, None),
    ("Gap, mean", lambda m: _share(m.rounds.gap_mean), lambda _: 0.0, None),
    ("Gap, most", lambda m: _share(m.rounds.gap_most), lambda _: 0.0, None),
    ("Runs stopped", lambda m: f"{m.rounds.stops:,}", lambda m: m.rounds.stops, None),
    ("Plans moved", lambda m: percent(m.rounds.moved_share), lambda _: 0.0, None),
    ("Replayed in", lambda m: span(m.wall_s), lambda m: m.wall_s, None),
)
CSS = """
:root { color-scheme: light; --ink: #1e293b; --soft: #64748b; --line: #e2e8f0; --ours: #0f766e }
* { box-sizing: border-box }
body { margin: 0; background: #f8fafc; color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC",
  sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px }
h1 { font-size: 27px; letter-spacing: -.01em; margin: 0 0 2px }
h2 { font-size: 17px; margin: 0 0 4px }
p.lead { color: var(--soft); margin: 0 0 26px }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px;
  padding: 20px 22px 16px; margin: 0 0 18px }
section > p { color: var(--soft); margin: 0 0 12px; max-width: 84ch; font-size: 14px }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(185px, 1fr)); gap: 14px;
  margin: 0 0 18px }
.card { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 14px 18px }
.card b { display: block; font-size: 25px; letter-spacing: -.02em; line-height: 1.25 }
.card span { color: var(--soft); font-size: 13px }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 13px;
  font-variant-numeric: tabular-nums }
th { color: var(--soft); font-weight: 500; text-align: right; padding: 6px 7px;
  border-bottom: 1px solid var(--line); vertical-align: bottom; line-height: 1.25 }
td { text-align: right; padding: 7px 7px; border-bottom: 1px solid #f1f5f9; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
tr.ours td:first-child { color: var(--ours); font-weight: 650 }
td.best { font-weight: 650; color: var(--ours) }
td small { color: var(--soft); font-weight: 400; display: block; line-height: 1.1 }
tr.bound td { color: var(--soft); border-bottom: 0; font-style: italic }
svg { width: 100%; height: auto; display: block }
svg text { font-family: system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC",
  sans-serif !important }
footer { color: var(--soft); font-size: 13px }
"""


def page(comparison: Comparison) -> str:
    """The whole page."""
    case = comparison.case
    first_at = case.jobs[0].submitted_at.astimezone(case.start_at.tzinfo)
    days = span((case.jobs[-1].submitted_at - case.jobs[0].submitted_at).total_seconds())
    gpus = sum(node.gpus for node in case.world.nodes)
    lead = (
        f"{len(case.jobs):,} jobs submitted over {days}, from "
        f"{first_at:%Y-%m-%d %H:%M}, on {gpus:,} accelerators in "
        f"{len(case.world.sites)} clusters: {', '.join(case.world.sites)}"
    )
    paint = {name: partial(getattr(charts, name), comparison) for name in FIGURES}
    sections = "".join(
        _section(*FIGURES[name], charts.draw(figure)) for name, figure in paint.items()
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Replay of {escape(case.name)}</title>
<style>{CSS}</style>
<main>
<h1>Replay of {escape(case.name)}</h1>
<p class="lead">{escape(lead)}</p>
{_cards(comparison)}
{_section("Policies", POLICIES_TOLD, _table(comparison, SERVICE, bound=True))}
{sections}
{_section("Rounds, in figures", ROUNDS_TOLD, _table(comparison, ROUNDS))}
<footer>Made by <code>westward replay</code>. Every job's figures are in jobs.csv, these tables in
summary.json.</footer>
</main>
</html>
"""


POLICIES_TOLD = (
    "All policies obey the same hard rules: latency, residency, accelerators, room on real nodes, "
    "power caps, green shares, deadlines, data links. Energy is at the door, at each hour's "
    "tariff; small figures compare with FIFO first fit, or with the first row without it. A "
    "late start came after the delay that the job allows. A policy that leaves jobs unplaced has "
    "not paid for them."
)
ROUNDS_TOLD = (
    "The time of a round is the placer's own. The gap is between a plan's objective and its "
    "certified bound; plans moved are later starts that a round put at another time or place, "
    "or gave up, although their time had not passed; to start at once is no move."
)
FIGURES: dict[str, tuple[str, str]] = {
    "bars": ("Cost, carbon, green energy and waiting", ""),
    "trade": (
        "What waiting buys",
        "Energy cost against mean wait. No schedule that runs all these jobs, and starts none "
        "later than allowed or than the first policy did, can lie below the dashed line.",
    ),
    "utilisation": ("In use", "The share of all accelerators held by runs."),
    "sites": ("What power costs, and how much of it is green", ""),
    "rounds": (
        "Rounds",
        "The median round (thick) and the worst (thin) in each of 90 spans of time.",
    ),
}


def _section(head: str, told: str, inner: str) -> str:
    text = f"<p>{escape(told)}</p>" if told else ""
    return f'<section><h2>{escape(head)}</h2>{text}<div class="scroll">{inner}</div></section>\n'


def _cards(comparison: Comparison) -> str:
    """The four figures of the first policy that people ask for first."""
    metrics = [measured.metrics for measured in comparison.measured]
    ours, base = metrics[0], _base(metrics)
    bound = comparison.bound.energy_yuan
    against = f"against {title(base.policy)}" if base is not ours else "in energy"
    cost = change(ours.energy_yuan, base.energy_yuan) if base is not ours else ""
    cards = [
        (cost or f"{number(ours.energy_yuan)} yuan", f"{title(ours.policy)}: cost {against}"),
        (change(ours.carbon_kg, base.carbon_kg) or "0 %", f"carbon {against}"),
        (percent(ours.green_share), "of its energy is green"),
        (span(ours.wait_mean_s), "mean wait"),
        (change(ours.energy_yuan, bound), "above the clairvoyant bound"),
    ]
    if base is ours:
        del cards[1]
    inner = "".join(
        f'<div class="card"><b>{escape(figure)}</b><span>{escape(told)}</span></div>'
        for figure, told in cards
        if figure
    )
    return f'<div class="cards">{inner}</div>'


def _base(metrics: list[Metrics]) -> Metrics:
    """What the others are compared with: FIFO, or the first."""
    return next((m for m in metrics if m.policy == "fifo"), metrics[0])


def _table(comparison: Comparison, columns: tuple[Column, ...], *, bound: bool = False) -> str:
    metrics = [measured.metrics for measured in comparison.measured]
    shown = [c for c in columns if c[0] != "Transfer, yuan" or any(c[2](m) for m in metrics)]
    heads = "".join(f"<th>{escape(head)}</th>" for head, *_ in shown)
    rows = "".join(_row(m, metrics, shown) for m in metrics)
    if bound:
        told = f"<td>Clairvoyant bound</td><td>{number(comparison.bound.energy_yuan)}</td>"
        rows += f'<tr class="bound">{told}<td colspan="{len(shown) - 1}"></td></tr>'
    return f"<table><tr><th>Policy</th>{heads}</tr>{rows}</table>"


def _row(of: Metrics, metrics: list[Metrics], columns: list[Column]) -> str:
    # Who leaves work undone wins no prize for what the rest cost.
    least = min(m.unplaced_jobs for m in metrics)
    rivals = [m for m in metrics if m.unplaced_jobs == least]
    base, cells = _base(metrics), ""
    for head, text, value, more in columns:
        best = max if more else min
        wins = (
            more is not None
            and of in rivals
            and value(of) == best(value(m) for m in rivals)
            and len({value(m) for m in metrics}) > 1
        )
        small = ""
        if head in ("Energy, yuan", "kg CO₂") and of is not base:
            small = f"<small>{change(value(of), value(base))}</small>"
        cells += f"<td{' class=best' if wins else ''}>{text(of)}{small}</td>"
    ours = ' class="ours"' if of.policy == "westward" else ""
    return f"<tr{ours}><td>{escape(title(of.policy))}</td>{cells}</tr>"


def _share(gap: float | None) -> str:
    return "–" if gap is None else f"{gap * 100:.2f} %"
