"""What was measured of the planner, as tables for people."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.planner.result import Case, Failure, Round
from bench.planner.targets import missed, target_of

# Stages that take less of a round's time are told together.
STAGE_SHARE_LEAST = 0.02


def tell(done: Sequence[Case | Failure], console: Console) -> None:
    """All tables."""
    cases = [case for case in done if isinstance(case, Case)]
    if cases:
        console.print(rounds(cases), stages(cases), policies(cases), sep="\n")
    for case in cases:
        if target_of(case.recipe):
            told = "; ".join(missed(case))
            console.print(f"{case.recipe}: {told or 'as aimed at'}", highlight=False)
    for failure in done:
        if isinstance(failure, Failure):
            console.print(f"{failure.recipe}: {failure.why}", highlight=False)


def rounds(cases: Sequence[Case]) -> Table:
    """Time, gap and what came of each instance."""
    table = Table(title="Plans", title_justify="left")
    table.add_column("instance", no_wrap=True)
    for name in ("wall s", "CPU s", "gap", "now", "later", "never", "left out", "no nodes"):
        table.add_column(name, justify="right")
    for name in ("told s", "objections", "peak MB", "warm s", "warm gap", "moved"):
        table.add_column(name, justify="right")
    for case in cases:
        cold, warm, ours = case.cold, case.warm, case.outcomes[-1]
        table.add_row(
            str(case.recipe),
            *(f"{cold.wall_s:.2f}", f"{cold.cpu_s:.2f}", f"{cold.gap:.2%}"),
            *(f"{cold.starts_now:,}", f"{cold.starts_later:,}", f"{ours.never:,}"),
            *(f"{ours.left_out:,}", str(cold.fragmented + warm.fragmented)),
            "–" if cold.told_s is None else f"{cold.told_s:.2f}",
            *(str(cold.objections + warm.objections), f"{case.peak_mb:,.0f}"),
            *(f"{warm.cpu_s:.2f}", f"{warm.gap:.2%}", f"{warm.moved_share or 0:.1%}"),
        )
    return table


def stages(cases: Sequence[Case]) -> Table:
    """Where the processor time of the cold plans goes, and the real time around them."""
    table = Table(title="Stages, ms of processor time", title_justify="left")
    table.add_column("instance", no_wrap=True)
    table.add_column("stages")
    for name in ("first plan s", "checked s", "handed over s"):
        table.add_column(name, justify="right")
    for case in cases:
        around_s = (case.first_plan_s, case.cold.checked_s, case.handed_over_s)
        table.add_row(str(case.recipe), _stages(case.cold), *(f"{s:.2f}" for s in around_s))
    return table


def _stages(cold: Round) -> str:
    whole_ms = cold.cpu_s * 1000
    large = [stage for stage in cold.stages if stage.cpu_ms >= STAGE_SHARE_LEAST * whole_ms]
    rest_ms = whole_ms - sum(stage.cpu_ms for stage in large)
    told = [f"{stage.name} {stage.cpu_ms:,.0f}" for stage in large]
    return " · ".join([*told, f"rest {rest_ms:,.0f}"])


def policies(cases: Sequence[Case]) -> Table:
    """The planner beside the baselines."""
    table = Table(title="Beside what others would do", title_justify="left")
    table.add_column("instance", no_wrap=True)
    table.add_column("policy")
    for name in ("energy yuan", "against FIFO", "left out", "of the work", "mean wait h", "wall s"):
        table.add_column(name, justify="right")
    for case in cases:
        for outcome in case.outcomes:
            table.add_row(
                str(case.recipe) if outcome is case.outcomes[0] else "",
                outcome.policy,
                f"{outcome.energy_yuan:,.0f}",
                f"{outcome.against_fifo:+.1%}",
                f"{outcome.left_out:,}",
                f"{outcome.left_out_share:.2%}",
                f"{outcome.mean_wait_h:.2f}",
                f"{outcome.wall_s:.2f}",
            )
    return table
