"""No tenant holds more accelerators than its quota, but for what ran already."""

from collections.abc import Iterator, Sequence

from scheduler.checker.spans import levels, running, touched
from scheduler.checker.view import SLACK, View, over
from scheduler.planner.plan import Placement


def check_quotas(view: View, placements: Sequence[Placement]) -> Iterator[str]:
    """Slot by slot, what runs and what is planned."""
    snapshot = view.snapshot
    for tenant, rule in snapshot.rules.tenants.items():
        if (quota := rule.quota_gpus) is None:
            continue
        own = [p for p in placements if view.spec(p).tenant == tenant]
        planned = [(touched(snapshot, p.start_at, p.end_at), view.spec(p).gpus) for p in own]
        held = [
            (running(snapshot, attempt), attempt.spec.gpus)
            for attempt in snapshot.running
            if attempt.spec.tenant == tenant
        ]
        stop = max((slots.stop for slots, _ in planned), default=0)
        both = zip(levels(held, stop), levels(planned, stop), strict=True)
        for slot, (runs, more) in enumerate(both):
            if more > SLACK and over(runs + more, quota):
                when = snapshot.slot_at(slot)
                yield f"{tenant} at {when}: {runs} + {more} accelerators > its quota of {quota}"
