"""No run touches what is in maintenance, and what the open nodes hold suffices for the others."""

from collections.abc import Iterator, Sequence

from scheduler.checker.spans import levels, running, touched
from scheduler.checker.view import SLACK, TOUCH_S, View, amounts_of, has_of, over
from scheduler.domain.rules import Maintenance
from scheduler.planner.plan import Placement

WHAT = ("accelerators", "cores", "GB")


def check_maintenance(view: View, placements: Sequence[Placement]) -> Iterator[str]:
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


def _check_others(
    view: View, declared: Maintenance, placements: Sequence[Placement]
) -> Iterator[str]:
    """The pool of one closed node, slot by slot: all that is closed then holds nothing."""
    snapshot, node = view.snapshot, view.nodes.get(declared.node or "")
    if node is None or not declared.covers(node) or declared.to_at <= snapshot.now_at:
        return
    here = [p for p in placements if p.accelerator == node.accelerator]
    spans = [(touched(snapshot, p.start_at, p.end_at), view.spec(p)) for p in here]
    ends = max((slots.stop for slots, _ in spans), default=0)
    planned = [
        levels([(slots, spec.workers * amounts_of(spec)[i]) for slots, spec in spans], ends)
        for i in range(3)
    ]
    closed = touched(snapshot, max(declared.from_at, snapshot.now_at), declared.to_at)
    for slot in range(closed.start, min(closed.stop, ends)):
        free = _free(view, (node.cluster, node.accelerator), slot)
        for what, level, has in zip(WHAT, (row[slot] for row in planned), free, strict=True):
            if level > SLACK and over(level, has):
                when = snapshot.slot_at(slot)
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
        if slot in running(view.snapshot, attempt):
            for name in attempt.nodes:
                if name in left:
                    held = zip(left[name], amounts_of(attempt.spec), strict=True)
                    left[name] = [max(has - amount, 0.0) for has, amount in held]
    return [sum(has[i] for has in left.values()) for i in range(3)]
