"""No run touches what is in maintenance, and what the open nodes hold suffices for the others."""

from collections.abc import Iterator

from scheduler.checker.view import SLACK, TOUCH_S, Tally, View, amounts_of, has_of, over
from scheduler.domain.rules import Maintenance
from scheduler.planner.plan import Placement

WHAT = ("accelerators", "cores", "GB")


def check_maintenance(view: View, placements: list[Placement]) -> Iterator[str]:
    """What placements break of the declared maintenance."""
    for declared in view.snapshot.rules.maintenance:
        there = [
            p
            for p in placements
            if p.cluster == declared.cluster and declared.accelerator in (None, p.accelerator)
        ]
        for placement in there:
            begins_at = max(placement.start_at, declared.from_at)
            overlap_s = (min(placement.end_at, declared.to_at) - begins_at).total_seconds()
            shut = declared.node is None or declared.node in placement.nodes
            if shut and overlap_s > TOUCH_S:
                yield f"{placement.job_id}: runs at {begins_at} on {declared.what}, in maintenance"
        if declared.node is not None and there:
            yield from _check_others(view, declared, there)


def _check_others(view: View, declared: Maintenance, placements: list[Placement]) -> Iterator[str]:
    """The pool of one closed node, slot by slot: all that is closed then holds nothing."""
    node = view.nodes.get(declared.node or "")
    if node is None or not declared.covers(node) or declared.to_at <= view.snapshot.now_at:
        return
    here = [p for p in placements if p.accelerator == node.accelerator]
    planned = [Tally(), Tally(), Tally()]
    ends = 0
    for placement in here:
        slots, spec = view.slots(placement.start_at, placement.end_at), view.spec(placement)
        ends = max(ends, slots.stop)
        for tally, amount in zip(planned, amounts_of(spec), strict=True):
            tally.add(slots, spec.workers * amount)
    touched = view.slots(max(declared.from_at, view.snapshot.now_at), declared.to_at)
    for slot in range(touched.start, min(touched.stop, ends)):
        free = _free(view, (node.cluster, node.accelerator), slot)
        for what, tally, has in zip(WHAT, planned, free, strict=True):
            level = tally.levels(slot + 1)[slot]
            if level > SLACK and over(level, has):
                when = view.snapshot.slot_at(slot)
                yield f"{declared.what} is closed at {when}: {level} {what} > {has} on the others"


def _free(view: View, pool: tuple[str, str], slot: int) -> list[float]:
    """What running attempts leave of the open nodes of a pool in a slot."""
    begins_at, ends_at = view.snapshot.slot_at(slot), view.snapshot.slot_at(slot + 1)
    closed = [
        declared
        for declared in view.snapshot.rules.maintenance
        if (min(declared.to_at, ends_at) - max(declared.from_at, begins_at)).total_seconds()
        > TOUCH_S
    ]
    nodes = view.ready_in(pool).values()
    left = {n.id: [*has_of(n)] for n in nodes if not any(c.covers(n) for c in closed)}
    for attempt in view.snapshot.running:
        if slot in view.running_slots(attempt):
            for name in attempt.nodes:
                if name in left:
                    held = zip(left[name], amounts_of(attempt.spec), strict=True)
                    left[name] = [max(has - amount, 0.0) for has, amount in held]
    return [sum(has[i] for has in left.values()) for i in range(3)]
