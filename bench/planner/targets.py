"""What the planner is to reach on one core, and whether it did."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.instances import Recipe
from bench.planner.result import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Seconds of processor time and certified gap of a cold plan; of a warm one the seconds."""

    cold_s: float
    gap: float
    warm_s: float | None = None
    peak_mb: float | None = None


MOVED_SHARE_MOST = 0.10
# How far the bound may lie below the linear program's optimum; never above it.
LP = 0.005
S = Target(cold_s=0.5, gap=0.01)
L = Target(cold_s=8.0, gap=0.02, warm_s=3.0, peak_mb=1000.0)
XL = Target(cold_s=40.0, gap=0.03)
TARGETS = {
    **{("S", mode, chunk): S for mode in ("flow", "backlog") for chunk in (4, 8)},
    **{("L", mode, chunk): L for mode in ("flow", "backlog") for chunk in (4, 8)},
    **{("XL", mode, chunk): XL for mode in ("flow", "backlog") for chunk in (4, 8)},
    ("M", "flow", 4): Target(cold_s=2.0, gap=0.005, warm_s=0.3),
    ("M", "flow", 8): Target(cold_s=2.0, gap=0.005, warm_s=0.3),
    ("M", "backlog", 4): Target(cold_s=5.0, gap=0.04, warm_s=0.3),
    ("M", "backlog", 8): Target(cold_s=2.0, gap=0.02, warm_s=0.3),
}


def target_of(recipe: Recipe) -> Target | None:
    """What is aimed at for instances of a kind; None where nothing is."""
    return TARGETS.get((recipe.size.name, recipe.mode, recipe.chunk))


def missed(case: Case) -> list[str]:
    """Each target that a case has missed, in words."""
    target = target_of(case.recipe)
    return list(_missed(case, target)) if target else []


def _missed(case: Case, target: Target) -> Iterator[str]:
    cold, warm = case.cold, case.warm
    if cold.cpu_s > target.cold_s:
        yield f"{cold.cpu_s:.2f} s > {target.cold_s:g} s"
    if cold.gap > target.gap:
        yield f"gap {cold.gap:.2%} > {target.gap:.1%}"
    if target.warm_s is not None and warm.cpu_s > target.warm_s:
        yield f"warm {warm.cpu_s:.2f} s > {target.warm_s:g} s"
    if warm.moved_share is not None and warm.moved_share > MOVED_SHARE_MOST:
        yield f"{warm.moved_share:.0%} moved > {MOVED_SHARE_MOST:.0%}"
    if target.peak_mb is not None and case.peak_mb > target.peak_mb:
        yield f"{case.peak_mb:.0f} MB > {target.peak_mb:g} MB"
    if case.lp_yuan is not None and not 0 <= case.lp_yuan - cold.bound_yuan <= LP * case.lp_yuan:
        yield f"bound {cold.bound_yuan:.1f} yuan, the linear program's {case.lp_yuan:.1f}"
    if cold.fragmented or warm.fragmented:
        yield f"{cold.fragmented + warm.fragmented} gangs found no nodes"
    if cold.objections or warm.objections:
        yield f"{cold.objections + warm.objections} objections of the checker"
