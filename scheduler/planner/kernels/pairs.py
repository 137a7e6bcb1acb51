"""What a class in a pool is: how long it runs there, its record and those of its stages."""

from policies.scene import Bools, Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.problem import Records


@compiled
def run_times(
    klass: Ints,
    pool: Ints,
    site_of_pool: Ints,
    stage_s: Floats,
    work_s: Floats,
    resume_s: Floats,
    profile: Ints,
    speeds: Floats,
    site: Ints,
    stages_s: Floats,
    runs_s: Floats,
) -> None:
    """Fills in the last three, of shape (m,), for classes in pools.

    Args:
        stage_s: how long the data of classes take to each site, (K, C), or (0, 0).
        work_s: how long they take at speed 1, (K,), and ``resume_s`` beside it.
        profile: the row of each class in ``speeds`` (profiles, P).
    """
    for i in range(len(klass)):
        k, p = klass[i], pool[i]
        c = site_of_pool[p]
        stage = stage_s[k, c] if len(stage_s) else 0.0
        site[i], stages_s[i] = c, stage
        runs_s[i] = stage + (work_s[k] / speeds[profile[k], p] + resume_s[k])


@compiled
def fill_pairs(
    records: Records,
    klass: Ints,
    pool: Ints,
    run_s: Floats,
    slot_s: float,
    yuan: Floats,
    first: Ints,
    last: Ints,
    guarded: Bools,
    row: Ints,
) -> None:
    """Fills in the records of pairs, (m,).

    Args:
        guarded: by row of the classes' ``row`` (K,), and pool.
    """
    for i in range(len(records)):
        one = records[i]
        one.run = run_s[i] / slot_s
        one.yuan = yuan[i]
        one.klass = klass[i]
        one.pool = pool[i]
        one.first = first[i]
        one.last = last[i]
        one.guarded = guarded[row[klass[i]], pool[i]]


@compiled
def count_stages(pair: Ints, count: Ints) -> None:
    """Adds to the number of each pair's entries, (m,)."""
    for i in pair:
        count[i] += 1


@compiled
def fill_stages(
    records: Records,
    free: Ints,
    pair: Ints,
    group: Ints,
    demand: Floats,
    length_s: Floats,
    from_row: int,
    slot_s: float,
) -> None:
    """Fills in the entries of one rule, whose rows begin at ``from_row``.

    Args:
        free: where the next entry of each pair goes, (m,); moves on.
    """
    for e in range(len(pair)):
        one = records[free[pair[e]]]
        free[pair[e]] += 1
        one.row = from_row + group[e]
        one.units = demand[e]
        one.length = length_s[e] / slot_s
