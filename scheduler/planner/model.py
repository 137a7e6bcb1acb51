"""The problem: a place for every job at least cost, under the rows that couple them.

minimise    Σ cost · x + Σ unplaced · (1 - placed) + Σ elastic · excess
subject to  each job in at most one place; in every row, use ≤ capacity (+ excess if elastic)
"""

from dataclasses import dataclass, field, replace

import numpy as np

from policies.base import Rows, StageRows
from policies.scene import Floats, Ints, Scene
from scheduler.domain.reason import ReasonCode
from scheduler.planner.assemble import assemble, unplaced
from scheduler.planner.candidates import Candidates
from scheduler.planner.kernels.problem import Problem
from scheduler.planner.kernels.uses import amounts_of, uses_of


@dataclass(frozen=True, slots=True)
class Family:
    """Rows of one rule: row ``from_row + g`` is that of group g."""

    rule: Rows | StageRows
    from_row: int

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def code(self) -> ReasonCode:
        return self.rule.code

    def group(self, row: int) -> str:
        """The name of the group that a row belongs to."""
        return self.rule.groups[row - self.from_row]

    @property
    def hard(self) -> bool:
        return isinstance(self.rule, StageRows) or self.rule.elastic_yuan is None


@dataclass(frozen=True, slots=True)
class Use:
    """What an option demands of a row, over the first ``length`` slots of its run."""

    row: int
    units: float
    length: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``jobs`` and ``unplaced_yuan`` are per class (K,); ``family`` (R,) is the index of each row's
    family. ``blocked`` are pairs of which a gang has found no nodes together now: they start
    nothing in the first slot."""

    scene: Scene
    candidates: Candidates
    problem: Problem
    families: tuple[Family, ...]
    family: Ints
    jobs: Ints
    unplaced_yuan: Floats
    blocked: set[int] = field(default_factory=set)

    def block(self, pair: int) -> None:
        """Lets a pair start nothing in the first slot."""
        self.blocked.add(pair)
        first = self.problem.pairs["first"]
        first[pair] = max(1, int(first[pair]))

    def uses(self, pair: int) -> list[Use]:
        """What a pair demands of which rows."""
        columns = uses_of(self.problem, pair)
        return [Use(*use) for use in zip(*(c.tolist() for c in columns), strict=True)]

    def load(self, use: Use, pair: int, slot: int) -> tuple[slice, Floats]:
        """The slots that an option touches of a row, and what it uses in each."""
        amounts = amounts_of(self.problem, pair, slot, use.row, use.units, use.length)
        return slice(slot, slot + len(amounts)), amounts

    def family_of(self, row: int) -> Family:
        """The family of a row."""
        return self.families[int(self.family[row])]

    def label(self, row: int, slot: int) -> str:
        """The name of a row in a slot."""
        family = self.family_of(row)
        return self.scene.label(family.name, family.group(row), slot)


def build_model(scene: Scene, candidates: Candidates) -> Model:
    """Puts the policies' parts together."""
    jobs = scene.classes.sizes
    unplaced_yuan = unplaced(scene, candidates)
    problem = assemble(scene, candidates, jobs, unplaced_yuan)
    # The problem has the entries of stages now; a second time they would be a tenth of its memory.
    stages = tuple(map(_without_entries, candidates.stage_rows))
    candidates = replace(candidates, stage_rows=stages)
    families, from_row = list[Family](), 0
    for rule in candidates.rules:
        families.append(Family(rule, from_row))
        from_row += len(rule.groups)
    sizes = [len(f.rule.groups) for f in families]
    return Model(
        scene=scene,
        candidates=candidates,
        problem=problem,
        families=tuple(families),
        family=np.repeat(np.arange(len(families)), sizes).astype(np.int64),
        jobs=jobs,
        unplaced_yuan=unplaced_yuan,
    )


def _without_entries(rule: StageRows) -> StageRows:
    none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    return replace(rule, pair=none, group=none, demand=nothing, length_s=nothing)
