"""A plan under way: where each job goes, and what that leaves of every row."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from policies.scene import TOLERANCE, Floats, Ints
from scheduler.planner.kernels.loads import usage
from scheduler.planner.kernels.placing import cheapest_for, costs
from scheduler.planner.kernels.pricing import sums_at
from scheduler.planner.kernels.runs import cost_yuan, excess_yuan, fits, place
from scheduler.planner.model import Model


@dataclass(frozen=True, slots=True)
class Split:
    """Several runs in one pool: each a pair of its own, behind those of the classes, and its start
    slot. ``yuan`` is what they cost by themselves, of which ``stops_yuan`` for stopping; ``late``
    is how many slots later the job ends than if it had started at once and run on."""

    runs: tuple[tuple[int, int], ...]
    yuan: float
    stops_yuan: float
    late: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a job goes: a pair and a start slot; and its runs, if there are several."""

    pair: int
    slot: int
    split: Split | None = None

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """Pair and start slot of each run."""
        return ((self.pair, self.slot),) if self.split is None else self.split.runs


@dataclass(slots=True)
class Places:
    """Per job its pair (-1: none) and its slot, (N,); the jobs of class k lie from
    ``jobs_from[k]`` up to ``jobs_from[k + 1]``, oldest first. ``klass`` (N,) is each job's.
    ``split`` are those in several runs; their pair is that of the class, their slot that of the
    first run."""

    jobs_from: Ints
    klass: Ints
    pair: Ints
    slot: Ints
    split: dict[int, Split] = field(default_factory=dict)

    def copy(self) -> "Places":
        pair, slot, split = self.pair.copy(), self.slot.copy(), dict(self.split)
        return Places(self.jobs_from, self.klass, pair, slot, split)

    def choice(self, job: int) -> Choice | None:
        """The place of one job."""
        pair = int(self.pair[job])
        return Choice(pair, int(self.slot[job]), self.split.get(job)) if pair >= 0 else None

    def of(self, klass: int) -> list[Choice | None]:
        """The places of a class's jobs."""
        return [
            self.choice(j)
            for j in range(int(self.jobs_from[klass]), int(self.jobs_from[klass + 1]))
        ]

    def placed(self) -> Iterator[tuple[int, Choice]]:
        """Jobs with a place, by their index here."""
        pairs, slots = self.pair.tolist(), self.slot.tolist()
        for j in np.flatnonzero(self.pair >= 0).tolist():
            yield j, Choice(pairs[j], slots[j], self.split.get(j))

    def runs(self) -> tuple[Ints, Ints, Ints]:
        """Job, pair and start slot of every run, by job; those without a place have none."""
        job = np.flatnonzero(self.pair >= 0)
        if not self.split:
            return job, self.pair[job], self.slot[job]
        each = [(j, *run) for j in job.tolist() for run in self._runs_of(j)]
        made = np.array(each, dtype=np.int64).reshape(-1, 3)
        return made[:, 0], made[:, 1], made[:, 2]

    def _runs_of(self, job: int) -> tuple[tuple[int, int], ...]:
        split = self.split.get(job)
        return split.runs if split else ((int(self.pair[job]), int(self.slot[job])),)


def nowhere(model: Model) -> Places:
    """Nobody has a place."""
    jobs_from = np.concatenate(([0], np.cumsum(model.jobs))).astype(np.int64)
    klass = np.repeat(np.arange(len(model.jobs)), model.jobs).astype(np.int64)
    pair = np.full(len(klass), -1, dtype=np.int64)
    return Places(jobs_from, klass, pair, np.zeros(len(klass), dtype=np.int64))


class Residual:
    """What is left of every row, (R, A), while jobs are placed and taken back."""

    def __init__(self, model: Model, places: Places | None = None) -> None:
        self._model = model
        self.left = model.problem.capacity.copy()
        if places is not None:
            _, pair, slot = places.runs()
            self.left -= usage(model.problem, pair, slot, np.ones(len(pair)))

    def place(self, choice: Choice, times: float = 1.0) -> None:
        """Uses up what an option needs, so many times; -1 gives it back."""
        for pair, slot in choice.runs:
            place(self._model.problem, self.left, pair, slot, times)

    def fits(self, choice: Choice) -> bool:
        """Whether what is left allows an option; runs of one job never share a slot."""
        problem, left = self._model.problem, self.left
        return all(fits(problem, left, pair, slot) for pair, slot in choice.runs)

    def excess_yuan(self, choice: Choice) -> float:
        """What the elastic rows would charge for one more option."""
        problem, left = self._model.problem, self.left
        return sum(float(excess_yuan(problem, left, pair, slot)) for pair, slot in choice.runs)

    def cost_yuan(self, choice: Choice) -> float:
        """What an option costs beside all that is placed."""
        if choice.split is not None:
            return choice.split.yuan + self.excess_yuan(choice)
        yuan = cost_yuan(self._model.problem, choice.pair, choice.slot)
        return float(yuan) + self.excess_yuan(choice)

    def best(self, klass: int) -> tuple[Choice | None, float]:
        """The start that costs least beside what is placed, and its cost; none if a place costs
        more than to have none."""
        problem = self._model.problem
        none = sums_at(problem, np.zeros(problem.capacity.shape))
        pair, slot, yuan = cheapest_for(problem, none, self.left, klass)
        return (Choice(pair, slot) if pair >= 0 else None), float(yuan)

    def total_excess_yuan(self) -> float:
        """What the elastic rows charge for all that is placed."""
        problem = self._model.problem
        soft = problem.rows["hard"] == 0
        over = np.maximum(-self.left[soft], 0.0)
        return float((problem.elastic_yuan[soft] * np.where(over > TOLERANCE, over, 0.0)).sum())


def objective_yuan(
    model: Model, places: Places, active: Ints, residual: "Residual | None" = None
) -> float:
    """The exact objective over the classes that have a start at all.

    Args:
        residual: what the places leave, if that is known.
    """
    problem = model.problem
    of_active = np.zeros(len(model.jobs), dtype=bool)
    of_active[active] = True
    placed = np.flatnonzero(places.pair >= 0)
    yuan = costs_yuan(model, places.pair[placed], places.slot[placed])
    for job, split in places.split.items():
        yuan[np.searchsorted(placed, job)] = split.yuan
    waits = (places.pair < 0) & of_active[places.klass]
    unplaced = problem.classes["unplaced_yuan"][places.klass[waits]]
    residual = residual or Residual(model, places)
    return float(yuan.sum() + unplaced.sum()) + residual.total_excess_yuan()


def costs_yuan(model: Model, pair: Ints, slot: Ints) -> Floats:
    """What each of some options costs by itself."""
    return costs(model.problem, pair, slot)
