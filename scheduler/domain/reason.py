"""Reasons: a code of a closed set for machines, a sentence for people."""

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """Every reason Westward gives. The order is the precedence of the reasons for waiting:
    where several hold, the first is the dominant one.
    """

    # Why no cluster may run the job, whatever the time: the user must change something.
    NO_CLUSTER = "NO_CLUSTER"  # no cluster has ever reported
    NO_SUCH_ACCELERATOR = "NO_SUCH_ACCELERATOR"
    TOO_BIG = "TOO_BIG"  # the gang exceeds every pool even when empty
    RESIDENCY = "RESIDENCY"
    LATENCY = "LATENCY"
    LATENCY_UNKNOWN = "LATENCY_UNKNOWN"  # no fresh measurement to judge by
    GREEN = "GREEN"
    DEADLINE = "DEADLINE"
    DATA = "DATA"  # the data cannot arrive in time
    # Why not now: time will tell.
    CLUSTER_UNREACHABLE = "CLUSTER_UNREACHABLE"
    MAINTENANCE = "MAINTENANCE"
    POWER_CAP = "POWER_CAP"
    LINK = "LINK"
    CAPACITY = "CAPACITY"
    GANG_FRAGMENTED = "GANG_FRAGMENTED"
    QUOTA = "QUOTA"  # its tenant holds as many accelerators as it may
    NOT_YET = "NOT_YET"  # earliest start or back-off ahead
    WAITING_FOR_CHEAPER = "WAITING_FOR_CHEAPER"
    WAITING_FOR_GREEN = "WAITING_FOR_GREEN"
    NOT_PLANNED_YET = "NOT_PLANNED_YET"  # no round has seen it

    # Why a candidate lost, and why the chosen won.
    DEARER = "DEARER"
    CHOSEN = "CHOSEN"

    # What became of an attempt.
    OK = "OK"
    NONZERO_EXIT = "NONZERO_EXIT"
    KILLED = "KILLED"  # by a signal that was not ours
    COMMAND_NOT_FOUND = "COMMAND_NOT_FOUND"
    WORKING_DIR = "WORKING_DIR"  # could not be fetched or unpacked
    WORKER_LOST = "WORKER_LOST"  # Ray or the node took a worker away
    RAY_LOST = "RAY_LOST"  # the cluster's Ray head went away
    RAY_ERROR = "RAY_ERROR"  # Ray refused or failed to start the attempt
    ACCELERATOR_SICK = "ACCELERATOR_SICK"  # Ray gave the attempt one that must not be used
    LEASE_EXPIRED = "LEASE_EXPIRED"  # the cluster stayed silent past the attempt's lease
    UNREACHABLE = "UNREACHABLE"  # the cluster is silent; the lease still runs
    CANCELLED = "CANCELLED"
    STOPPED = "STOPPED"  # no longer desired
    TASKS_FAILED = "TASKS_FAILED"  # some tasks of an array did, in all their attempts
    PREEMPTED = "PREEMPTED"  # stopped for a job of higher priority
    MIGRATED = "MIGRATED"  # stopped to go on where it is cheaper or greener
    DRAINED = "DRAINED"  # stopped because an operator drains its node
    PAUSED = "PAUSED"  # stopped to go on there in cheaper or greener hours
    SUSPENDED = "SUSPENDED"  # held at an operator's wish
    RESUMED = "RESUMED"
    FORCED = "FORCED"  # given up at an operator's wish, perhaps alive


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason with its code and a sentence that names the figures."""

    code: ReasonCode
    message: str


# Failures that say nothing about the job itself; the next attempt may well succeed.
INFRASTRUCTURE = frozenset(
    {
        ReasonCode.WORKER_LOST,
        ReasonCode.RAY_LOST,
        ReasonCode.RAY_ERROR,
        ReasonCode.LEASE_EXPIRED,
        ReasonCode.WORKING_DIR,
        ReasonCode.ACCELERATOR_SICK,
    }
)
