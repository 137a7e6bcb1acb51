"""What a policy is: one name, and under it what the rule forbids, costs and couples.

Everything is declared in parts that depend on few things at a time (a class and a pool; a site and
a slot), never on every option: a hub has hundreds of millions of those, and the planner puts them
together as it needs them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from policies.scene import Bools, Floats, Ints, Pairs, Scene
from scheduler.domain.reason import ReasonCode


@dataclass(frozen=True, slots=True)
class PairFilter:
    """Judges a class in a pool, whatever the time.

    ``allows(scene)`` has the shape (K, P); ``why(scene, class, pool)`` is a sentence with the
    figures that ruled the pair out.
    """

    code: ReasonCode
    allows: Callable[[Scene], Bools]
    why: Callable[[Scene, int, int], str]


@dataclass(frozen=True, slots=True)
class StartFilter:
    """Bounds the slots in which a pair may start.

    ``first(scene, pairs)`` gives the first such slot of each pair, ``last`` the last one, both of
    shape (m,), or None where the rule bounds nobody; first > last leaves none. ``why(scene, pairs,
    row, slot)`` is a sentence with the figures that ruled a start out.
    """

    code: ReasonCode
    why: Callable[[Scene, Pairs, int, int], str]
    first: Callable[[Scene, Pairs], Ints | None] | None = None
    last: Callable[[Scene, Pairs], Ints | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Constraints that couple jobs: one row per group and slot.

    The rows of a group hold Σ demand × profile ≤ capacity over the runs that touch the slot; where
    ``exact``, each demand also counts the hours that the run covers of the slot. What a class
    demands in a pool is Σ over j of ``of_class[k, j] * of_pool[p, j]``. A group belongs to each
    pool (``group_of_pool``) or to each class (``group_of_class``); -1 stands for none.
    ``elastic_yuan`` is the price of a unit above the capacity; None: there is none to be had.
    ``why(scene, class, pool, slot)`` says why a run alone is too much for a slot.

    Shapes: of_class (K, J), of_pool (P, J); profile, capacity and elastic_yuan (G, A); a capacity
    may be infinite.
    """

    name: str
    code: ReasonCode
    unit: str
    groups: tuple[str, ...]
    of_class: Floats
    of_pool: Floats
    profile: Floats
    capacity: Floats
    group_of_pool: Ints | None = None
    group_of_class: Ints | None = None
    exact: bool = False
    elastic_yuan: Floats | None = None
    why: Callable[[Scene, int, int, int], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRows:
    """Rows for a time at the beginning of a run, such as that in which its data arrive.

    Entries name the pairs that need something of a group, at ``demand`` per hour for the first
    ``length_s`` of the run; always hard and exact. Shapes: pair (sorted), group, demand and
    length_s (n,); capacity (G, A).
    """

    name: str
    code: ReasonCode
    unit: str
    groups: tuple[str, ...]
    pair: Ints
    group: Ints
    demand: Floats
    length_s: Floats
    capacity: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRate:
    """Yuan per kWh at the door: ``inside`` (C, A) in each slot, ``beyond`` (C,) after the axis."""

    inside: Floats
    beyond: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCost:
    """What the time of its start costs a class, each (K,): per hour from ``ready_s`` to
    ``overdue_s`` and after it; after it also ``once``, and once more per hour of its run.
    """

    before_yuan_per_h: Floats
    after_yuan_per_h: Floats
    once_yuan: Floats
    once_yuan_per_run_h: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One rule. The pairs that it is asked of are those that no pair filter rules out.

    ``pair_yuan`` has the shape (m,); ``unplaced_yuan`` (K,) is the surcharge for a
    class without a place over the dearest place it could have had; ``kept_yuan`` (K,) that for a
    start that is neither now nor where and when the round before meant it.
    """

    name: str
    pair_filters: tuple[PairFilter, ...] = ()
    start_filters: tuple[StartFilter, ...] = ()
    energy_rate: Callable[[Scene], EnergyRate] | None = None
    pair_yuan: Callable[[Scene, Pairs], Floats | None] | None = None
    start_cost: Callable[[Scene], StartCost] | None = None
    rows: Callable[[Scene, Pairs], tuple[Rows, ...]] | None = None
    stage_rows: Callable[[Scene, Pairs], tuple[StageRows, ...]] | None = None
    unplaced_yuan: Callable[[Scene], Floats] | None = None
    kept_yuan: Callable[[Scene], Floats] | None = None
