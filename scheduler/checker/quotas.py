"""No tenant holds more accelerators than its quota, but for what ran already."""

from collections import defaultdict
from collections.abc import Iterator

from scheduler.checker.view import SLACK, Tally, View, over
from scheduler.planner.plan import Placement


def check_quotas(view: View, placements: list[Placement]) -> Iterator[str]:
    """Slot by slot, what runs and what is planned."""
    quotas = {t: rule.quota_gpus for t, rule in view.snapshot.rules.tenants.items()}
    running: dict[str, Tally] = defaultdict(Tally)
    for attempt in view.snapshot.running:
        running[attempt.spec.tenant].add(view.running_slots(attempt), attempt.spec.gpus)
    planned: dict[str, Tally] = defaultdict(Tally)
    ends: dict[str, int] = defaultdict(int)
    for placement in placements:
        spec, slots = view.spec(placement), view.slots(placement.start_at, placement.end_at)
        planned[spec.tenant].add(slots, spec.gpus)
        ends[spec.tenant] = max(ends[spec.tenant], slots.stop)
    for tenant, stop in ends.items():
        quota = quotas.get(tenant)
        if quota is None:
            continue
        levels = zip(running[tenant].levels(stop), planned[tenant].levels(stop), strict=True)
        for slot, (runs, more) in enumerate(levels):
            if more > SLACK and over(runs + more, quota):
                when = view.snapshot.slot_at(slot)
                yield f"{tenant} at {when}: {runs} + {more} accelerators > its quota of {quota}"
