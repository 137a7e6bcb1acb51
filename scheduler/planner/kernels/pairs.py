"""What a class in a pool is: how long it runs there, and its record."""

from policies.scene import Bools, Floats, Ints
from scheduler.compiled import compiled
from scheduler.planner.kernels.problem import Records


@compiled
def run_times(
    klass: Ints,
    pool: Ints,
    site_of_pool: Ints,
    ready_s: Floats,
    stage_s: Floats,
    work_s: Floats,
    resume_s: Floats,
    profile: Ints,
    speeds: Floats,
    site: Ints,
    starts_s: Floats,
    stages_s: Floats,
    runs_s: Floats,
) -> None:
    """Fills in the last four, of shape (m,), for classes in pools.

    Args:
        ready_s: when classes may start, (K,); ``work_s`` at speed 1 and ``resume_s`` beside it.
        stage_s: how long their data take to each site, (K, C), or (0, 0).
        profile: the row of each class in ``speeds`` (profiles, P).
    """
    for i in range(len(klass)):
        k, p = klass[i], pool[i]
        c = site_of_pool[p]
        stage = stage_s[k, c] if len(stage_s) else 0.0
        site[i], starts_s[i], stages_s[i] = c, ready_s[k], stage
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
