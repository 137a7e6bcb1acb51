"""One cluster as a value: its agent, its site actor and processes, its stream in both directions,
and what the scheduler remembers of it.

Ages stand for moments, so that two stories that differ only in when they began meet in one state.
"""

from enum import IntEnum
from typing import NamedTuple

from scheduler.domain.reason import ReasonCode
from tests.model.rules import Look


class Kind(IntEnum):
    """What an action is to those who ask whether a job can still end."""

    COURSE = 0  # the parts do their work
    EXIT = 1  # a process ends by itself
    TIME = 2
    FAULT = 3
    WISH = 4  # of a user or of the planner


class Slot(NamedTuple):
    """An attempt on its head node. ``told`` is what the agent knows and tells; ``gang`` what the
    site actor knows, None before it has taken the order. ``stop`` is why it is to stop. ``lost``:
    the Ray that it was given to is gone. ``alive`` is the truth: a process exists."""

    number: int
    told: Look
    gang: Look | None = None
    stop: ReasonCode | None = None
    lost: bool = False
    alive: bool = False


class Answers(NamedTuple):
    """A desired state, as the scheduler remembers it: the newest attempt that it named, 0 for
    none, and the newest that was named after it on the same stream."""

    named: int
    later: int


class Hello(NamedTuple):
    """Opens a stream. ``open``: the agent still holds it."""

    age_s: int
    open: bool


class Told(NamedTuple):
    """An ``ObservedState``."""

    age_s: int
    answers: Answers | None
    view: tuple[tuple[int, Look], ...]


class Desired(NamedTuple):
    """A ``DesiredState``; ``age_s`` and ``ends`` are of the message it answers: when that was
    sent, and which ends the scheduler had stored with it."""

    age_s: int
    answers: Answers
    may_start: bool
    ends: frozenset[int]


class Heard(NamedTuple):
    """What the scheduler has received on the current stream."""

    age_s: int
    ends: frozenset[int]


class Cluster(NamedTuple):
    """Everything there is of one cluster. ``lease_s`` is how long ago that was sent which its lease
    was granted for: the agent, its disk and the site actor have one. ``up`` and ``session``: the
    daemon lives, and holds a stream. ``wanted``: the newest desired attempt and whether it may
    start. ``acted``: the wish of this stream that was acted on last. ``heard`` None: the scheduler
    has no stream. ``may_dial``: not once the job has left."""

    up: bool = True
    session: bool = True
    wanted: tuple[int, bool] | None = (0, False)
    acted: Answers | None = Answers(0, 0)
    lease_s: int | None = 0
    slots: tuple[Slot, ...] = ()
    ended: int = -1
    confirmed: frozenset[int] = frozenset()
    upward: tuple[Hello | Told, ...] = ()
    downward: tuple[Desired, ...] = ()
    heard: Heard | None = Heard(0, frozenset())
    due: bool = False
    granted_s: int = 0
    may_dial: bool = True


# As it stays for as long as nothing is wished of it: connected, heard, with a fresh lease.
IDLE = Cluster()
