"""The problem as the compiled loops read it.

Times are in slots since the beginning of slot 0. K classes, m pairs (sorted by class), P pools,
U kinds of workers, F families of rows that belong to pools, X that belong to classes, R rows in
all, A slots of the axis, of which runs may start in the first S.

Classes, pairs, pools and rows are records: what a loop reads of one lies together in memory.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from policies.scene import Floats, Ints

# Arrays of one of the dtypes below; a field is an attribute in a loop, a column outside.
Records = npt.NDArray[Any]
Record = Any

# Of one of its jobs, in yuan per slot or once. Its pairs lie from ``low`` up to ``high``. Where the
# round before planned a start, it is ``kept_slot`` of ``kept_pair`` (-1: none), and any other but
# one in the first slot costs ``moving_yuan`` more. What its gang demands is ``scale`` times that of
# a worker of its ``kind``.
CLASS = np.dtype(
    [
        ("count", np.int64),
        ("low", np.int64),
        ("high", np.int64),
        ("kind", np.int64),
        ("kept_pair", np.int64),
        ("kept_slot", np.int64),
        ("moving_yuan", np.float64),
        ("unplaced_yuan", np.float64),
        ("scale", np.float64),
        ("start", np.float64),
        ("overdue", np.float64),
        ("before_yuan", np.float64),
        ("after_yuan", np.float64),
        ("once_yuan", np.float64),
        ("once_yuan_per_run", np.float64),
    ]
)
# A class in a pool; it may start from slot ``first`` to slot ``last``. Where ``guarded``, a run may
# be too much for a row all by itself.
PAIR = np.dtype(
    [
        ("run", np.float64),
        ("yuan", np.float64),
        ("klass", np.int32),
        ("pool", np.int32),
        ("first", np.int16),
        ("last", np.int16),
        ("guarded", np.int8),
    ],
    align=True,
)
# kW of an accelerator and of a core; what IT energy costs after the axis.
POOL = np.dtype(
    [
        ("site", np.int64),
        ("gpu_kw", np.float64),
        ("core_kw", np.float64),
        ("beyond_yuan_per_kwh", np.float64),
    ]
)
# What draws power in a worker.
KIND = np.dtype([("gpus", np.float64), ("cores", np.float64)])
ROW = np.dtype([("hard", np.int8), ("exact", np.int8), ("stage", np.int8)])
# What a pair's data demand of a row per hour, over the first ``length`` of its run; row -1: none.
STAGE = np.dtype([("row", np.int64), ("units", np.float64), ("length", np.float64)])


class Problem(NamedTuple):
    """What a gang demands of a pool's row is ``scale * (kind_units · pool_units)``.

    ``overlap``: a span that covers less of a slot does not touch it. Shapes: energy_yuan (C, A) per
    IT kWh; kind_units (F, U, 2), pool_units (F, P, 2), pool_row (F, P); class_units and class_row
    (X, K); stage_from (m + 1,), empty without stages; capacity, profile, elastic_yuan (R, A).
    """

    slots: int
    axis: int
    slot_h: float
    overlap: float
    classes: Records
    pairs: Records
    pools: Records
    kinds: Records
    rows: Records
    energy_yuan: Floats
    kind_units: Floats
    pool_units: Floats
    pool_row: Ints
    class_units: Floats
    class_row: Ints
    stage_from: Ints
    stages: Records
    capacity: Floats
    profile: Floats
    elastic_yuan: Floats
