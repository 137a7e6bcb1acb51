"""kube-scheduler: one worker after the other on the node with the highest score.

The scores are those of the plugin NodeResourcesFit (kubernetes/kubernetes,
pkg/scheduler/framework/plugins/noderesources/least_allocated.go and most_allocated.go), in whole
numbers as there, ``requested`` with the worker itself, every resource at weight 1:

    LeastAllocated: mean over resources of (allocatable - requested) × 100 / allocatable
    MostAllocated:  mean over resources of requested × 100 / allocatable

Resources are cores (in thousandths), memory (in bytes) and, as its ``resources`` are commonly
extended for GPU nodes, accelerators; one that a node does not have does not count. As in
``selectHost``, one of the highest is drawn by lot; here the lot is the job's id. The nodes of all
clusters form one: the first worker's node decides on the pool of the whole gang, of those that
hold it whole, as coscheduling plugins see to.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from scheduler.planner.snapshot import PendingJob, Snapshot
from scheduler.replay.curves import Floats
from scheduler.replay.fleet import need_of
from scheduler.replay.placers.base import Decision
from scheduler.replay.placers.room import Options, Room, Start

Ints = NDArray[np.int64]
NODE_SCORE_MOST = 100
# Accelerators, thousandths of cores, bytes: kube-scheduler reckons in whole numbers of these.
UNITS = np.array([1, 1000, 2**30], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Nodes that a worker could go to: the pool's start, its row, and how many more it holds."""

    start: Ints
    row: Ints
    fits: Ints


class Kube:
    """Every job, the oldest first; ``most``: MostAllocated, else LeastAllocated."""

    interrupts = False

    def __init__(self, options: Options, *, most: bool) -> None:
        self._options = options
        self._most = most
        self._allocatable = np.rint(options.fleet.capacity * UNITS).astype(np.int64)

    def place(self, snapshot: Snapshot) -> Decision:
        room, placements = Room(self._options, snapshot), []
        for job in room.ready():
            starts = list(room.starts(job))
            if starts:
                start, rows = self._spread(job, starts, room.free)
                placements.append(room.take(job, start, rows))
        return Decision(placements=tuple(placements))

    def _spread(
        self, job: PendingJob, starts: list[Start], free: Floats
    ) -> tuple[Start, list[int]]:
        """A node for each worker, with the pool that the first of them chose."""
        requested = self._allocatable - np.rint(free * UNITS).astype(np.int64)
        need = np.rint(need_of(job.spec) * UNITS).astype(np.int64)
        shelf = _Shelf(
            start=np.repeat(np.arange(len(starts)), [len(s.fits) for s in starts]),
            row=np.concatenate([s.option.pool.rows for s in starts]),
            fits=np.concatenate([s.fits for s in starts]),
        )
        rows: list[int] = []
        open_to = shelf.fits > 0
        for rank in range(job.spec.workers):
            scores = self._scores(requested[shelf.row] + need, self._allocatable[shelf.row])
            scores[~open_to] = -1
            best = np.flatnonzero(scores == scores.max())
            pick = int(best[crc32(f"{job.id}/{rank}".encode()) % len(best)])
            if rank == 0:
                open_to &= shelf.start == shelf.start[pick]
            rows.append(int(shelf.row[pick]))
            requested[shelf.row[pick]] += need
            shelf.fits[pick] -= 1
            open_to[pick] = shelf.fits[pick] > 0
            first = int(shelf.start[pick])
        return starts[first], rows

    def _scores(self, requested: Ints, allocatable: Ints) -> Ints:
        """0 to 100 for each node; shapes (n, 3) in, (n,) out."""
        has = allocatable > 0
        held = np.minimum(requested, allocatable)
        part = held if self._most else allocatable - held
        each = part * NODE_SCORE_MOST // np.where(has, allocatable, 1)
        return np.asarray((each * has).sum(axis=1) // np.maximum(has.sum(axis=1), 1))
