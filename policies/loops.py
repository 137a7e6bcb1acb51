"""Compiled loops over pairs, of which a hub has millions."""

import numpy as np

from policies.scene import Floats, Ints
from scheduler.compiled import compiled


@compiled
def transfer_yuan(
    klass: Ints, site: Ints, first: Ints, location: Ints, gb: Floats, yuan_per_gb: Floats
) -> Floats:
    """What the data of each pair cost to carry, (m,).

    Args:
        first: where the data of each class begin in ``location`` and ``gb``, (K + 1,).
        yuan_per_gb: from each location to each site, (L, C).
    """
    yuan = np.zeros(len(klass))
    for i in range(len(klass)):
        for e in range(first[klass[i]], first[klass[i] + 1]):
            yuan[i] += gb[e] * yuan_per_gb[location[e], site[i]]
    return yuan


@compiled
def crossings(
    klass: Ints, site: Ints, stage_s: Floats, first: Ints, location: Ints, gb: Floats, way: Ints
) -> tuple[Ints, Ints, Floats]:
    """Which pairs carry data over which way, by pair, and the GB per hour of their stages that they
    do; (n,) each. Arguments as above.

    Args:
        way: the number of the way from each location to each site, -1: none is crossed; (L, C).
    """
    n = 0
    for i in range(len(klass)):
        if stage_s[i] > 0:
            for e in range(first[klass[i]], first[klass[i] + 1]):
                n += way[location[e], site[i]] >= 0
    pair, crossed = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    gb_per_hour, n = np.empty(n), 0
    for i in range(len(klass)):
        if stage_s[i] > 0:
            for e in range(first[klass[i]], first[klass[i] + 1]):
                if way[location[e], site[i]] >= 0:
                    pair[n], crossed[n] = i, way[location[e], site[i]]
                    gb_per_hour[n] = gb[e] * 3600 / stage_s[i]
                    n += 1
    return pair, crossed, gb_per_hour
