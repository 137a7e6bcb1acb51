"""What a policy is: one name, and under it what the rule forbids, costs and couples."""

from collections.abc import Callable
from dataclasses import dataclass

from policies.scene import Bools, Floats, Ints, Options, Scene, Window
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
    """Judges every start of a pair on its own.

    ``allows(scene, options)`` has the shape (m, S); ``why(scene, options, row, slot)`` is a
    sentence with the figures that ruled the start out.
    """

    code: ReasonCode
    allows: Callable[[Scene, Options], Bools]
    why: Callable[[Scene, Options, int, int], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Constraints that couple jobs: one row per group and slot.

    The rows of a group hold Σ demand × profile ≤ capacity over the options that touch the slot;
    where ``exact``, each demand also counts the hours the option covers of the slot. An option's
    window is the run, or the ``stage`` in which its data arrive. ``row`` names each pair at most
    once. ``elastic_yuan`` is the price of a unit above the capacity; None: there is none to be had.

    Shapes: row, group, demand (n,); profile and capacity (G, A); a capacity may be infinite.
    """

    name: str
    code: ReasonCode
    unit: str
    groups: tuple[str, ...]
    row: Ints
    group: Ints
    demand: Floats
    profile: Floats
    capacity: Floats
    window: Window
    exact: bool = False
    elastic_yuan: float | None = None

    def label(self, scene: Scene, group: int, slot: int) -> str:
        """The name of one row, e.g. ``capacity/qingyang/A800/2026-11-20T12:00``."""
        when = scene.time_at(slot * scene.slot_s)
        form = "%Y-%m-%dT%H:%M:%S" if scene.slot_s % 60 else "%Y-%m-%dT%H:%M"
        return f"{self.name}/{self.groups[group]}/{when.strftime(form)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One rule. ``cost_yuan`` has the shape (m, S), ``unplaced_yuan`` (K,): the surcharge for a
    class without a place over the dearest place it could have had.
    """

    name: str
    pair_filters: tuple[PairFilter, ...] = ()
    start_filters: tuple[StartFilter, ...] = ()
    cost_yuan: Callable[[Scene, Options], Floats] | None = None
    rows: Callable[[Scene, Options], tuple[Rows, ...]] | None = None
    unplaced_yuan: Callable[[Scene], Floats] | None = None
