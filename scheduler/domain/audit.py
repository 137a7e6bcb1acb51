"""What is kept for whoever asks later who did what: changes of jobs, nodes and clusters."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Subject(StrEnum):
    """What an event is about."""

    JOB = "JOB"
    NODE = "NODE"
    CLUSTER = "CLUSTER"
    ROUND = "ROUND"
    SCHEDULER = "SCHEDULER"


class Happening(StrEnum):
    """What happens to other things than jobs; a job's events are those of its state machine."""

    STARTED = "STARTED"  # a scheduler
    STOPPED = "STOPPED"
    JOINED = "JOINED"  # a node told for the first time what it has
    SUSPECT = "SUSPECT"  # silent for a few reports, or its stream has ended
    LOST = "LOST"  # silent for long
    BACK = "BACK"  # heard again after one of these
    CORDONED = "CORDONED"
    DRAINING = "DRAINING"
    UNCORDONED = "UNCORDONED"
    FIELD_REFUSED = "FIELD_REFUSED"  # of its reports, one value is not believed
    AGENT_REFUSED = "AGENT_REFUSED"  # a second agent claimed its place
    SERVING = "SERVING"  # a cluster
    NOT_SERVING = "NOT_SERVING"  # its agent is heard, but it can start nothing
    UNREACHABLE = "UNREACHABLE"  # its head agent is silent
    FAILED = "FAILED"  # a round


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One event. ``name`` is the id of what it is about, ``cluster`` where that is or runs, if
    anywhere; states are empty where there is none. Events of jobs have a reason's code and may have
    an attempt. ``id`` is 0 until the store has numbered it, apart for jobs and for all others.
    """

    id: int = 0
    at: datetime
    actor: str
    subject: Subject
    name: str
    event: str
    cluster: str = ""
    from_state: str = ""
    to_state: str = ""
    code: str = ""
    message: str = ""
    attempt_id: str = ""
