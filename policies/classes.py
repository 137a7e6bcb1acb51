"""Classes of jobs: those that no rule can tell apart are planned as one."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from scheduler.domain.job import JobSpec

if TYPE_CHECKING:
    from policies.scene import Bools, Floats, Ints

Key = Callable[[JobSpec], Hashable]


class JobClass(NamedTuple):
    """Jobs that no rule can tell apart. ``jobs`` are indices into the snapshot, oldest first.

    ``ready_s`` is when they may start, ``overdue_s`` from when on waiting is not allowed any more
    (on a slot's beginning), ``deadline_s`` when they must have ended (inf: never); ``done_s`` is
    the work that ended attempts have kept, in seconds at relative speed 1. ``kept`` is the cluster,
    accelerator and slot that the round before had planned; ``above_share``: their tenant holds its
    fair share without them.
    """

    spec: JobSpec
    jobs: tuple[int, ...]
    ready_s: float
    overdue_s: float
    deadline_s: float
    done_s: float
    kept: tuple[str, str, int] | None = None
    above_share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the round before had planned: of each class a number of ``pools``, -1 for nothing, and
    the slot; (K,) each. ``pools`` are clusters with accelerators."""

    pools: tuple[tuple[str, str], ...]
    pool: "Ints"
    slot: "Ints"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classes(Sequence[JobClass]):
    """All classes in the order of their oldest jobs, as columns (K,); each by itself is put
    together when it is asked for.

    ``members`` (N,) are the jobs of the snapshot by class, the oldest of a class first; those of
    class k lie from ``jobs_from[k]`` up to ``jobs_from[k + 1]``. ``numbering`` gives the number of
    each class's spec among those of equal key, and a spec of each number.
    """

    specs: Sequence[JobSpec]
    members: "Ints"
    jobs_from: "Ints"
    ready_s: "Floats"
    overdue_s: "Floats"
    deadline_s: "Floats"
    done_s: "Floats"
    kept: Kept
    above_share: "Bools"
    numbering: Callable[[Key], tuple["Ints", Sequence[JobSpec]]]

    @property
    def sizes(self) -> "Ints":
        """How many jobs each has."""
        return np.diff(self.jobs_from)

    def __len__(self) -> int:
        return len(self.specs)

    @overload
    def __getitem__(self, index: int) -> JobClass: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[JobClass, ...]: ...
    def __getitem__(self, index: int | slice) -> JobClass | tuple[JobClass, ...]:
        if isinstance(index, slice):
            return tuple(map(self._made, range(len(self))[index]))
        return self._made(range(len(self))[index])

    def _made(self, k: int) -> JobClass:
        pool, kept = int(self.kept.pool[k]), None
        if pool >= 0:
            kept = (*self.kept.pools[pool], int(self.kept.slot[k]))
        return JobClass(
            spec=self.specs[k],
            jobs=tuple(self.members[self.jobs_from[k] : self.jobs_from[k + 1]].tolist()),
            ready_s=float(self.ready_s[k]),
            overdue_s=float(self.overdue_s[k]),
            deadline_s=float(self.deadline_s[k]),
            done_s=float(self.done_s[k]),
            kept=kept,
            above_share=bool(self.above_share[k]),
        )
