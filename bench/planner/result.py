"""What is measured of the planner, and the file that keeps it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from bench.instances import Mode, Recipe
from bench.report import RESULTS

FILE = RESULTS / "planner.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a round; several turns of it are one entry."""

    name: str
    wall_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One plan. ``fragmented`` counts the jobs that were to start now and whose nodes did not lie
    together; ``told_s`` is what it takes to explain what starts, which is not in ``cpu_s``;
    ``objections`` are the checker's, of which the first are told, and which took ``checked_s``.
    ``moved_share`` and ``at_once_share`` (see ``rounds.py``) are None for a round that has none
    before it."""

    jobs: int
    wall_s: float
    cpu_s: float
    stages: Sequence[Stage]
    objective_yuan: float
    bound_yuan: float
    gap: float
    starts_now: int
    starts_later: int
    fragmented: int
    checked_s: float
    objections: int
    first_objections: Sequence[str]
    told_s: float | None = None
    moved_share: float | None = None
    at_once_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a policy made of the jobs.

    ``never`` are those without a place that could start nowhere even without the other jobs,
    ``left_out`` the rest of those without one, ``left_out_share`` of all work. Energy is in yuan
    at the door; ``against_fifo`` compares it over the jobs that both have placed.
    """

    policy: str
    never: int
    left_out: int
    left_out_share: float
    energy_yuan: float
    against_fifo: float
    mean_wait_h: float
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that was measured of an instance.

    Attributes:
        load_before: the machine's load average over one minute.
        first_plan_s: of a small instance, in which the process loads and compiles what it needs.
        handed_over_s: to pickle and unpickle the snapshot and the plan, as between two processes.
        snapshot_mb: memory of the process with the snapshot.
        peak_mb: the most it had while it planned.
        lp_yuan: the exact optimum of the linear program, where the instance is small enough.
    """

    recipe: Recipe
    measured_at: str
    load_before: float
    first_plan_s: float
    handed_over_s: float
    snapshot_mb: float
    peak_mb: float
    cold: Round
    warm: Round
    outcomes: Sequence[Outcome]
    lp_yuan: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An instance that was not measured, and why."""

    recipe: Recipe
    measured_at: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The cases on one machine, in the order of size, mode, chunk, load and seed."""

    machine: dict[str, object]
    cases: Sequence[Case] = ()
    failures: Sequence[Failure] = ()

    def joined(self, other: Case | Failure) -> "Results":
        """With another case in the place of an older one of the same recipe."""
        cases = [case for case in self.cases if case.recipe != other.recipe]
        failures = [failure for failure in self.failures if failure.recipe != other.recipe]
        if isinstance(other, Case):
            cases.append(other)
        else:
            failures.append(other)
        return replace(
            self,
            cases=sorted(cases, key=lambda case: rank(case.recipe)),
            failures=sorted(failures, key=lambda failure: rank(failure.recipe)),
        )


CASE = TypeAdapter(Case)
RESULTS_FILE = TypeAdapter(Results)


def rank(recipe: Recipe) -> tuple[object, ...]:
    """The order in which recipes are told."""
    return (recipe.size.jobs, [*Mode].index(recipe.mode), recipe.chunk, recipe.load, recipe.seed)


def read(path: Path = FILE) -> Results | None:
    """What was measured before; None if nothing was."""
    if not path.exists():
        return None
    return RESULTS_FILE.validate_json(path.read_text(encoding="utf-8"))


def write(results: Results, path: Path = FILE) -> None:
    """Keeps what was measured."""
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(asdict(results), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
