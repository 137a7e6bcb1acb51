"""How long the attempts of this cluster may go on without a word from the scheduler.

The scheduler starts an attempt elsewhere once the lease of the one here has expired by its clock,
which counts from a later moment than ours. So whatever runs here must be gone before ours expires.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()

# What an attempt is given between SIGTERM and SIGKILL when its lease ends.
GRACE_S = 5.0
# For the last signal to be sent and to take effect.
SLACK_S = 2.0
# Of a short lease, stopping may take at most this share.
MARGIN_SHARE = 1 / 3


def lease_clock_s() -> float:
    """Seconds since the machine booted: nobody can step it, and it goes on while the machine
    sleeps, unlike the plain monotonic clock.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Lease:
    """Until ``deadline_s`` of the lease clock; by ``stop_at_s`` stopping must have begun."""

    deadline_s: float
    stop_at_s: float

    def grace_s(self, now_s: float) -> float:
        """What fits between SIGTERM and SIGKILL when stopping begins now; 0 past the deadline,
        when a machine has slept or a daemon was away for longer than the lease."""
        left_s = min(self.deadline_s - now_s, self.deadline_s - self.stop_at_s)
        return max(0.0, left_s) * GRACE_S / (GRACE_S + SLACK_S)

    def held(self, now_s: float) -> bool:
        """Attempts may start and go on."""
        return now_s < self.stop_at_s


def renewed(lease: Lease | None, *, sent_at_s: float, ttl_s: float) -> Lease:
    """The lease after an answer to what was sent at ``sent_at_s``; older answers change nothing."""
    margin_s = min(GRACE_S + SLACK_S, ttl_s * MARGIN_SHARE)
    deadline_s = sent_at_s + ttl_s
    if lease is not None and lease.deadline_s >= deadline_s:
        return lease
    return Lease(deadline_s, deadline_s - margin_s)


def write(lease: Lease, file: Path) -> None:
    """Keeps the lease for a daemon that starts later under the same boot.

    Raises:
        OSError: the file cannot be written.
    """
    kept = {"boot": boot_id(), "deadline_s": lease.deadline_s, "stop_at_s": lease.stop_at_s}
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(kept), encoding="utf-8")
    partial.replace(file)


def read(file: Path) -> Lease | None:
    """The lease that an earlier daemon was granted since the machine booted, if any.

    One that cannot be read counts as over: attempts may be running under it, nobody knows how long.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["boot"] != boot_id():
            return None
        return Lease(float(kept["deadline_s"]), float(kept["stop_at_s"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("lease_unreadable", file=str(file), error=repr(error))
        return Lease(0.0, 0.0)


def boot_id() -> str:
    """Tells this boot of the machine from every other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
