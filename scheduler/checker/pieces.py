"""Jobs that are to be stopped and to go on in the same place: every run for itself."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from scheduler.checker.view import View
from scheduler.domain.job import GreenMatching
from scheduler.planner.plan import Placement


def pieces_of(placements: Sequence[Placement]) -> list[Placement]:
    """Each run as a placement of its own, with its part of the energy by its part of the time."""
    made = list[Placement]()
    for placement in placements:
        if not placement.pauses:
            made.append(placement)
            continue
        total_s = sum(run.seconds for run in placement.runs)
        for n, run in enumerate(placement.runs):
            part = run.seconds / total_s if total_s > 0 else 0.0
            made.append(
                placement._replace(
                    start_at=run.start_at,
                    end_at=run.end_at,
                    pauses=(),
                    now=placement.now and n == 0,
                    nodes=placement.nodes if n == 0 else (),
                    energy_kwh=placement.energy_kwh * part,
                    green_kwh=placement.green_kwh * part,
                )
            )
    return made


def check_pauses(view: View, placements: Sequence[Placement]) -> Iterator[str]:
    """Who may pause, and when."""
    horizon_at = view.snapshot.slot_at(view.snapshot.slots)
    for placement in placements:
        if not placement.pauses:
            continue
        job, spec = placement.job_id, view.spec(placement)
        if not spec.interruptible:
            yield f"{job}: pauses but is not interruptible"
        if spec.min_green_share and spec.green_matching is GreenMatching.RUN:
            yield f"{job}: pauses, though its green energy comes at the beginning of its run"
        ends = [at for run in placement.runs for at in (run.start_at, run.end_at)]
        if any(late <= early for early, late in pairwise(ends)):
            yield f"{job}: its runs and pauses are not one after the other"
        if placement.runs[-1].start_at >= horizon_at:
            yield f"{job}: goes on at {placement.runs[-1].start_at}, after the horizon"
