"""Several policies on one case, side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from scheduler.replay.bound import Bound, lower_bound
from scheduler.replay.case import CaseError, ReplayCase
from scheduler.replay.engine import Progress, replay
from scheduler.replay.fleet import Fleet
from scheduler.replay.metrics import Measured, measure
from scheduler.replay.outcome import Outcome
from scheduler.replay.placers import PLACERS, Placer, placer_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A case, what each policy made of it (in the order asked for), and the clairvoyant bound."""

    case: ReplayCase
    outcomes: tuple[Outcome, ...]
    measured: tuple[Measured, ...]
    bound: Bound


def compare(
    case: ReplayCase,
    policies: Sequence[str],
    *,
    placers: Mapping[str, Callable[[Fleet], Placer]] = PLACERS,
    gather_s: float = 60.0,
    on_progress: Callable[[str, Progress], None] = lambda _, __: None,
) -> Comparison:
    """Replays a case under each policy, one after the other.

    Args:
        placers: what the policies' names stand for.
        on_progress: called after every event with the policy and how far it is.

    Raises:
        CaseError: no jobs, an unknown policy, or a job id that appears twice.
    """
    if not case.jobs:
        raise CaseError(f"case {case.name!r} has no jobs; a replay needs at least one")
    fleet = Fleet(case.world.nodes, case.world.sites)
    outcomes = tuple(
        replay(
            case,
            name,
            placer=placer_of(name, fleet, placers),
            gather_s=gather_s,
            on_progress=partial(on_progress, name),
        )
        for name in policies
    )
    measured = tuple(measure(outcome) for outcome in outcomes)
    bound = lower_bound(outcomes, measured[0].metrics.energy_yuan)
    return Comparison(case=case, outcomes=outcomes, measured=measured, bound=bound)
