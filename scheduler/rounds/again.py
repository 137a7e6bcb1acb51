"""Plans a recorded round again, and compares."""

from scheduler.checker import check
from scheduler.rounds.record import RecordedRound, failed, objection, recorded
from scheduler.rounds.thought import think


def plan_again(before: RecordedRound) -> RecordedRound:
    """The round as this software plans it, from the same snapshot with the same budget."""
    given = (before.round_id, before.snapshot, before.budget)
    try:
        plan = think(before.snapshot, before.budget).plan
    except Exception as error:  # whatever it is, it is what came of the round
        return recorded(*given, None, failed(error))
    return recorded(*given, plan, objection(check(before.snapshot, plan)))


def identical(one: RecordedRound, other: RecordedRound) -> bool:
    """Whether the plans are the same to the last bit, and fail in the same way if they do."""
    plans = [made.plan.sha256 if made.plan else None for made in (one, other)]
    return plans[0] == plans[1] and one.failure == other.failure
