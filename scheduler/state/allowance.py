"""How often something may be noted: so many times at once, and then once in a while."""

# When so many are remembered, those that have their full allowance again are forgotten.
KEYS_MOST = 10_000


class Allowance:
    """Each key may ``burst`` times at once, and once more for every ``every_s`` that pass."""

    def __init__(self, burst: int, every_s: float) -> None:
        self._burst = burst
        self._every_s = every_s
        # By key, when the whole allowance is there again.
        self._full_at_s: dict[str, float] = {}
        self._keys_most = KEYS_MOST

    def take(self, key: str, now_s: float) -> bool:
        """Takes one; False if there is none left.

        Args:
            now_s: seconds of real time since some moment.
        """
        full_at_s = max(self._full_at_s.get(key, now_s), now_s)
        if full_at_s - now_s > (self._burst - 1) * self._every_s:
            return False
        self._full_at_s[key] = full_at_s + self._every_s
        if len(self._full_at_s) > self._keys_most:
            self._forget(now_s)
        return True

    def _forget(self, now_s: float) -> None:
        self._full_at_s = {key: at_s for key, at_s in self._full_at_s.items() if at_s > now_s}
        # Else every further one would look through all of them.
        self._keys_most = max(KEYS_MOST, 2 * len(self._full_at_s))
