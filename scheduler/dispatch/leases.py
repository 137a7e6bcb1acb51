"""How long the attempts of a silent cluster may still be alive.

Every desired state that is sent to a cluster renews the leases of all attempts it names: the agent
may keep them until ``lease_ttl_s`` after *it sent* the message that is answered, which lies before
the moment the answer is sent. Counting from that later moment, and adding a margin for monotonic
clocks that drift apart, the scheduler's expiry is always the later of the two. After a restart the
last grant is unknown, so it is taken to be the restart itself, or the last moment at which a
scheduler before this one may still have renewed: that is later than any grant.
"""

from scheduler.clock import Clock

# Two monotonic clocks may run apart by this share, and by this much in one reading.
DRIFT_SHARE = 0.01
DRIFT_S = 1.0


class Leases:
    """When each cluster's attempts were last granted more time, on the monotonic clock."""

    def __init__(
        self,
        clock: Clock,
        lease_ttl_s: float,
        *,
        earlier_ttl_s: float = 0.0,
        others_act_s: float = 0.0,
    ) -> None:
        """``earlier_ttl_s``: how long leases may be that a scheduler before this one has granted;
        ``others_act_s``: for how long from now it may go on renewing them."""
        self.lease_ttl_s = lease_ttl_s
        self._clock = clock
        longest_s = max(lease_ttl_s, earlier_ttl_s) + others_act_s
        self._earlier_expire_s = clock.monotonic() + _with_margin(longest_s)
        self._granted_s: dict[str, float] = {}

    def grant(self, cluster: str) -> None:
        """Notes that a desired state answers a message that has arrived before now."""
        self._granted_s[cluster] = self._clock.monotonic()

    def expires_in_s(self, cluster: str) -> float:
        """Seconds of real time until no attempt of the cluster can be alive; negative: past."""
        granted_s = self._granted_s.get(cluster)
        if granted_s is None:
            return self.earlier_expire_in_s()
        granted_expire_s = granted_s + _with_margin(self.lease_ttl_s)
        # A grant takes nothing back: it may not arrive, and a longer one from before goes on.
        return max(granted_expire_s, self._earlier_expire_s) - self._clock.monotonic()

    def earlier_expire_in_s(self) -> float:
        """Seconds of real time until no lease of an earlier scheduler can run."""
        return self._earlier_expire_s - self._clock.monotonic()


def _with_margin(lasts_s: float) -> float:
    return lasts_s * (1 + DRIFT_SHARE) + DRIFT_S
