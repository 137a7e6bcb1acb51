"""The smallest change of one wish that gives a job a place; of two, where no single one does.

On a ladder of values the first that works is found by asking for several at a time, spread evenly,
and then for those between. All that is asked in one go shares one model, of this job alone beside
what the others leave: nothing is guessed from formulas, each value has been tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from scheduler.domain.job import JobSpec
from scheduler.domain.why import Relaxation
from scheduler.planner.relax.beside import Beside, Place, Wishes
from scheduler.planner.relax.knobs import Alternatives, Knob, Ladder, Step, knobs

# Values of a ladder that are asked for together.
TOGETHER = 24
# Pairs of wishes that are searched, of those that suffice when both are given up.
PAIRS_MOST = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A relaxation, and the job's spec with it."""

    spec: JobSpec
    relaxation: Relaxation


@dataclass(frozen=True, slots=True)
class Search:
    """A knob that is turned on top of a spec. ``low`` and ``high`` are steps of a ladder: nothing
    below ``low`` works, ``high`` may."""

    knob: Knob
    base: JobSpec
    low: int
    high: int

    def asked(self) -> list[int]:
        """The steps to ask for now."""
        count = self.high - self.low + 1
        if isinstance(self.knob, Alternatives) or count <= TOGETHER:
            return list(range(self.low, self.high + 1))
        return sorted({self.low + (count - 1) * q // (TOGETHER - 1) for q in range(TOGETHER)})

    def step(self, n: int) -> Step:
        return self.knob.step(n) if isinstance(self.knob, Ladder) else self.knob.steps[n]

    def spec(self, n: int) -> JobSpec:
        return self.step(n).apply(self.base)


@dataclass(frozen=True, slots=True)
class Hit:
    """The step of a knob that works, and where the job would then go."""

    step: Step
    spec: JobSpec
    place: Place
    wishes: Wishes


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a job's wishes: ``asked`` has the job as it is (number 0), which ``fits`` if it
    has such a start; if not, what would give it one, the least given up first."""

    asked: Wishes
    fits: bool
    found: tuple[Found, ...]


def relaxations(beside: Beside, last_slot: int | None = None) -> Tried:
    """The smallest of each wish that gives a job a start which has none as it is.

    Args:
        last_slot: the start is to be in this slot at the latest; None: at all.
    """
    spec = beside.job.spec
    turned = knobs(beside.snapshot, beside.job)
    pairs = list(combinations(turned, 2))
    searches = [_whole(knob, spec) for knob in turned]
    # A model takes longer to make than to ask: so all is asked that will probably be needed.
    specs = [spec, *(_loosest(b, _loosest(a, spec)) for a, b in pairs)]
    asked = beside.wishes([*specs, *(one.spec(n) for one in searches for n in one.asked())])
    if asked.place(0, last_slot) is not None:
        return Tried(asked, fits=True, found=())
    hits = _searched(beside, searches, last_slot, (asked, len(specs)))
    found = [_found(beside, (hit.step,), hit) for hit in hits if hit is not None]
    if not found:
        good = [pair for n, pair in enumerate(pairs, 1) if asked.place(n, last_slot) is not None]
        found = _pairs(beside, good[:PAIRS_MOST], last_slot)
    return Tried(asked, fits=False, found=tuple(sorted(found, key=_size)))


def _size(found: Found) -> float:
    return found.relaxation.size


def _whole(knob: Knob, base: JobSpec) -> Search:
    count = knob.count if isinstance(knob, Ladder) else len(knob.steps)
    return Search(knob, base, 0, count - 1)


def _loosest(knob: Knob, spec: JobSpec) -> JobSpec:
    if isinstance(knob, Ladder):
        return knob.step(knob.count - 1).apply(spec)
    return knob.all_of(spec)


def _searched(
    beside: Beside,
    searches: Sequence[Search],
    last_slot: int | None,
    known: tuple[Wishes, int] | None = None,
) -> list[Hit | None]:
    """The first step of each that works, None where none does.

    Args:
        known: a model that has what all of them ask for first, from such a number on.
    """
    hits: list[Hit | None] = [None] * len(searches)
    going = dict(enumerate(searches))
    while going:
        asked = [(i, n) for i, search in going.items() for n in search.asked()]
        wishes, first = known or (beside.wishes([going[i].spec(n) for i, n in asked]), 0)
        known, numbers = None, dict[int, list[tuple[int, int]]]()
        for at, (i, n) in enumerate(asked, first):
            numbers.setdefault(i, []).append((n, at))
        following = {}
        for i, mine in numbers.items():
            hit, rest = _narrowed(going[i], mine, wishes, last_slot)
            hits[i] = hit or hits[i]
            if rest is not None:
                following[i] = rest
        going = following
    return hits


def _narrowed(
    search: Search, mine: Sequence[tuple[int, int]], wishes: Wishes, last_slot: int | None
) -> tuple[Hit | None, Search | None]:
    """What works of the steps asked for, and between which ones to go on."""

    def tried(q: int) -> Hit | None:
        n, at = mine[q]
        place = wishes.place(at, last_slot)
        return Hit(search.step(n), search.spec(n), place, wishes) if place else None

    if isinstance(search.knob, Alternatives):
        some = [hit for hit in map(tried, range(len(mine))) if hit is not None]
        return min(some, key=lambda hit: hit.place.yuan, default=None), None
    best = tried(len(mine) - 1)
    if best is None:
        return None, None
    below, works = -1, len(mine) - 1  # nothing works below, this does
    while works - below > 1:
        middle = (below + works) // 2
        if (hit := tried(middle)) is not None:
            best, works = hit, middle
        else:
            below = middle
    low = mine[below][0] + 1 if below >= 0 else search.low
    high = mine[works][0]
    rest = Search(search.knob, search.base, low, high - 1) if low < high else None
    return best, rest


def _pairs(beside: Beside, good: Sequence[tuple[Knob, Knob]], last_slot: int | None) -> list[Found]:
    """Of two wishes: the least of the first with the second given up, then the least of that."""
    if not good:
        return []
    spec = beside.job.spec
    firsts = _searched(beside, [_whole(a, _loosest(b, spec)) for a, b in good], last_slot)
    known = [(b, hit) for (_, b), hit in zip(good, firsts, strict=True) if hit is not None]
    seconds = _searched(beside, [_whole(b, hit.step.apply(spec)) for b, hit in known], last_slot)
    found = [
        _found(beside, (first.step, second.step), second)
        for (_, first), second in zip(known, seconds, strict=True)
        if second is not None
    ]
    return sorted(found, key=_size)[:1]


def _found(beside: Beside, steps: tuple[Step, ...], hit: Hit) -> Found:
    scene, pairs = hit.wishes.model.scene, hit.wishes.model.candidates.pairs
    pool = scene.pools[pairs.pool[hit.place.pair]]
    start_s = max(hit.place.slot * scene.slot_s, float(pairs.start_s(hit.place.pair)))
    relaxation = Relaxation(
        changes=tuple(step.change for step in steps),
        cluster=pool.cluster,
        accelerator=pool.accelerator,
        start_at=scene.time_at(start_s),
        now=start_s <= scene.now_s,
        size=sum(step.size for step in steps),
        note="; ".join(dict.fromkeys(step.note for step in steps if step.note)),
    )
    return Found(hit.spec, relaxation)
