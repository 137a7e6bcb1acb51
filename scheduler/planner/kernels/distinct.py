"""Which rows of a table are alike."""

import numpy as np

from policies.scene import Floats, Ints
from scheduler.compiled import compiled


@compiled
def _number(table: Floats, words: Ints, number: Ints, first: Ints) -> int:
    """Numbers the distinct rows in the order in which they come; ``words`` is the table bit by bit.
    A hash table with open addressing, at most half full."""
    n, width = table.shape
    size = 16
    while size < 2 * n:
        size *= 2
    slots = np.full(size, -1, dtype=np.int64)
    found = 0
    for i in range(n):
        mixed = np.int64(1469598103934665603)
        for j in range(width):
            mixed = (mixed ^ words[i, j]) * np.int64(1099511628211)
            mixed ^= mixed >> 29
        at = mixed & (size - 1)
        while slots[at] >= 0:
            other, same = first[slots[at]], True
            for j in range(width):
                if table[i, j] != table[other, j]:
                    same = False
                    break
            if same:
                break
            at = (at + 1) & (size - 1)
        if slots[at] < 0:
            slots[at], first[found] = found, i
            found += 1
        number[i] = slots[at]
    return found


def distinct(table: Floats) -> tuple[Ints, Ints]:
    """The number of each row of a table without nan, (n,), equal for equal rows, and the first row
    of each number."""
    table = np.ascontiguousarray(table, dtype=np.float64) + 0.0  # no minus zero
    number, first = np.empty((2, len(table)), dtype=np.int64)
    found = _number(table, table.view(np.int64), number, first)
    return number, first[:found]
