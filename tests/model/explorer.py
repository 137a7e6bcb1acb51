"""Every state that one job, one scheduler and two clusters can reach, breadth first.

A state is a few numbers: of the job, of each cluster, and of what may still go wrong. What an
action makes of one cluster is worked out once, however many states that cluster is part of.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np

from scheduler.domain.job import STOPPING_STATES, JobState, OnUnreachable
from scheduler.domain.reason import ReasonCode
from tests.model import cluster as clusters
from tests.model.cluster import Site
from tests.model.rules import CLUSTERS, Moved, Parts, Rules, attempt_id
from tests.model.values import IDLE, Cluster, Kind, Told

PROGRESS_STATES = 100_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may happen; time has no bound. ``messages``: on their way, in each direction of
    each stream. ``drifts_s``: how far the scheduler's clock may run ahead. ``lease_ttl_s`` is
    short, so that there are few moments, and such that the scheduler's margin is used up: 1.98 is
    over at 2 on the agent's clock and, being 2.9998 with the margin, at 3 on the scheduler's.
    """

    attempts: int = 2
    messages: int = 1
    faults: int = 1
    wishes: int = 1
    drifts_s: int = 1
    on_unreachable: OnUnreachable = OnUnreachable.RETRY
    forces: int = 0
    lease_ttl_s: float = 1.98


class State(NamedTuple):
    """Numbers of the job and of the two clusters; what may still happen."""

    job: int
    first: int
    second: int
    up: bool
    faults: int
    wishes: int
    drifts_s: int
    forces: int


class Action(NamedTuple):
    kind: Kind
    label: str


@dataclass(slots=True)
class Found:
    """What an exploration came to. ``path`` leads to the violation, by as few actions as can be."""

    states: int = 0
    transitions: int = 0
    violation: str | None = None
    path: list[str] = field(default_factory=list)


class Explorer:
    """One exploration; see ``explore``."""

    def __init__(self, bounds: Bounds, parts: Parts) -> None:
        self._bounds = bounds
        self._rules = Rules(
            parts,
            attempts_most=bounds.attempts,
            on_unreachable=bounds.on_unreachable,
            ttl_s=bounds.lease_ttl_s,
        )
        self._site = Site(parts, self._rules.waits, bounds.messages, bounds.lease_ttl_s)
        self._clusters: list[Cluster] = []
        self._numbers: dict[Cluster, int] = {}
        self._idle = self._number(IDLE)
        self._moves = cache(self._moves_of)
        self._talk = cache(self._talk_of)
        self._plans = cache(self._plans_of)
        self._ticked = cache(lambda number: self._made(self._site.ticked, number))
        self._ahead = cache(lambda number: self._made(self._site.ahead, number))
        self._restarted = cache(lambda number: self._made(clusters.restarted, number))
        self._due = cache(lambda number: self._made(_due, number))
        self._processes = cache(lambda number: clusters.alive(self._clusters[number]))
        self._forgotten = cache(lambda number: clusters.forgotten(self._clusters[number]))
        self._allowed = cache(self._allowed_of)
        self._left = cache(lambda number: self._made(clusters.left, number))
        self._live_at = cache(self._live_at_of)
        self._quiet = cache(lambda number: clusters.quiet(self._clusters[number]))

    def _number(self, c: Cluster) -> int:
        if c not in self._numbers:
            self._numbers[c] = len(self._clusters)
            self._clusters.append(c)
        return self._numbers[c]

    def _made(self, change: Callable[[Cluster], Cluster], number: int) -> int:
        return self._number(change(self._clusters[number]))

    # What may happen next.

    def next(self, s: State) -> Iterator[tuple[Action, State]]:
        """Every action that is possible in a state, and the state after it."""
        for action, after in self._next(s):
            yield action, self._rested(after)

    def _rested(self, s: State) -> State:
        """A cluster that has nothing to do with the job any more idles until the job comes again;
        one where something is left of it hears nothing new until that has ended."""
        for at in (0, 1):
            if self._live_at(s.job) != at and s[1 + at] != self._idle:
                quiet = self._quiet(s[1 + at])
                s = _with(s, at, self._idle if quiet else self._left(s[1 + at]))
        return s

    def _is_awake(self, s: State, at: int) -> bool:
        return self._live_at(s.job) == at or not self._quiet(s[1 + at])

    def _next(self, s: State) -> Iterator[tuple[Action, State]]:
        awake = tuple(at for at in (0, 1) if self._is_awake(s, at))
        for at in awake:
            for action, number in self._moves(s[1 + at], at):
                if action.kind is not Kind.FAULT or s.faults:
                    yield action, _spent(_with(s, at, number), action.kind)
            if s.up:
                for action, number, moved in self._talk(s.job, s[1 + at], at):
                    if action.kind is not Kind.FAULT or s.faults:
                        after = self._after(_with(s, at, number), moved)
                        yield action, _spent(after, action.kind)
        if s.up:
            yield from self._decided(s)
        else:
            yield Action(Kind.COURSE, "the scheduler starts again"), s._replace(up=True)
        yield from self._timely(s, awake)

    def _moves_of(self, number: int, at: int) -> list[tuple[Action, int]]:
        found = []
        for kind, label, c in self._site.moves(self._clusters[number]):
            found.append((Action(kind, f"{CLUSTERS[at]}: {label}"), self._number(c)))
        return found

    def _talk_of(self, job: int, number: int, at: int) -> list[tuple[Action, int, Moved | None]]:
        """What the scheduler may do about a cluster: hear, wish, and find it silent."""
        found: list[tuple[Action, int, Moved | None]] = []
        c = self._clusters[number]

        def add(
            what: str, after: Cluster, moved: Moved | None = None, kind: Kind = Kind.COURSE
        ) -> None:
            told = f"{CLUSTERS[at]}: {what}" + (f" ({moved.event})" if moved else "")
            found.append((Action(kind, told), self._number(after), moved))

        if c.upward:
            after, message = clusters.heard(c)
            if isinstance(message, Told):
                moved = self._rules.observed(job, at, message.view, message.answers)
                add("a view arrives", after, moved)
                if moved is not None:
                    refused, _ = clusters.heard(c, stored=False)
                    add("a view arrives and is not stored", refused, None, Kind.FAULT)
            else:
                add("a stream opens", after)
        wished = clusters.wished(c, *self._rules.wish(job, at), self._bounds.messages)
        if wished is not None:
            add("a wish leaves", wished)
        of = self._rules.jobs[job]
        here = of.state.live and of.attempt is not None and of.attempt.cluster == CLUSTERS[at]
        if here and (c.heard is None or self._rules.lease_over(c.granted_s)):
            silent = self._rules.silent(job, c.granted_s)
            if silent is not None:
                add("it is silent", c, silent)
        return found

    def _plans_of(self, job: int) -> list[tuple[Action, Moved, int]]:
        """Placements, with the cluster that must be reachable for them."""
        started = self._rules.jobs[job].attempts
        found = []
        # Before anything has run, one cluster is as the other.
        for at in (0, 1) if started else (0,):
            moved = self._rules.assigned(job, at)
            if moved is not None:
                label = f"the planner assigns the job to {CLUSTERS[at]}"
                found.append((Action(Kind.COURSE, label), moved, at))
        return found

    def _decided(self, s: State) -> Iterator[tuple[Action, State]]:
        for action, moved, at in self._plans(s.job):
            if self._clusters[s[1 + at]].heard is not None:
                yield action, self._after(s, moved)
        if s.wishes:
            for moved in self._rules.wished(s.job):
                action = Action(Kind.WISH, f"the wish is {moved.event}")
                yield action, self._after(s._replace(wishes=s.wishes - 1), moved)
        if s.forces and (forced := self._rules.forced(s.job)) is not None:
            attempt = self._rules.jobs[s.job].attempt
            assert attempt is not None, "there is nothing to give up"
            if self._clusters[s[1 + CLUSTERS.index(attempt.cluster)]].heard is None:
                action = Action(Kind.WISH, f"{attempt.id} is given up by force")
                yield action, self._after(s._replace(forces=s.forces - 1), forced)

    def _timely(self, s: State, awake: tuple[int, ...]) -> Iterator[tuple[Action, State]]:
        """A second passes, on all clocks or on one too many; the scheduler dies."""
        later = self._each(s, awake, self._ticked)
        yield Action(Kind.TIME, "a second passes"), later
        if s.drifts_s:
            drifted = self._each(s, awake, self._ahead)._replace(drifts_s=s.drifts_s - 1)
            yield Action(Kind.FAULT, "the scheduler's clock gains a second"), drifted
        if s.up and s.faults:
            died = self._each(s, awake, self._restarted)
            died = died._replace(up=False, faults=s.faults - 1)
            yield Action(Kind.FAULT, "the scheduler is killed"), died

    def _after(self, s: State, moved: Moved | None) -> State:
        """A transition is stored; where its effects say so, the attempt's cluster is told."""
        if moved is None:
            return s
        s = s._replace(job=moved.job)
        attempt = self._rules.jobs[moved.job].attempt
        if moved.dispatch and attempt is not None:
            at = CLUSTERS.index(attempt.cluster)
            s = _with(s, at, self._due(s[1 + at]))
        return s

    def _each(self, s: State, awake: tuple[int, ...], change: Callable[[int], int]) -> State:
        for at in awake:
            s = _with(s, at, change(s[1 + at]))
        return s

    # What must hold.

    def start(self) -> State:
        """A job that has been acknowledged, and two clusters that wait for it."""
        bounds = self._bounds
        return State(
            self._rules.born,
            self._idle,
            self._idle,
            True,
            bounds.faults,
            bounds.wishes,
            bounds.drifts_s,
            bounds.forces,
        )

    def ends(self) -> set[int]:
        """Jobs that have ended, are held, or may have no more attempts within the bounds."""
        return {
            number
            for number, job in enumerate(self._rules.jobs)
            if job.state.final
            or job.state is JobState.SUSPENDED
            or (job.state is JobState.PENDING and len(job.attempts) >= self._bounds.attempts)
        }

    def unstopped(self) -> set[int]:
        """Jobs of which nothing is being stopped."""
        jobs = enumerate(self._rules.jobs)
        return {number for number, job in jobs if job.state not in STOPPING_STATES}

    def wrong(self, s: State) -> str | None:
        """Which promise a state breaks."""
        at = self._live_at(s.job)
        if at >= 0 and self._forgotten(s[1 + at]) == len(self._rules.jobs[s.job].attempts):
            newest = self._rules.jobs[s.job].attempt
            assert newest is not None
            return f"{newest.id} is forgotten before its end is stored"
        alive = self._processes(s.first) | self._processes(s.second)
        if not alive:
            return None
        current, forced = self._allowed(s.job)
        if wrong := alive - forced - current:
            state = self._rules.jobs[s.job].state
            return f"{attempt_id(min(wrong))} is alive, the job is {state}"
        return None

    def _allowed_of(self, job: int) -> tuple[frozenset[int], frozenset[int]]:
        """The one attempt that may be alive, if any, and those that were given up by force."""
        of = self._rules.jobs[job]
        current = frozenset([len(of.attempts)]) if of.state.live else frozenset[int]()
        forced = frozenset(
            attempt.number
            for attempt in of.attempts
            if attempt.reason is not None and attempt.reason.code is ReasonCode.FORCED
        )
        return current, forced

    def _live_at_of(self, job: int) -> int:
        """The cluster at which an attempt may exist; -1: none."""
        of = self._rules.jobs[job]
        if of.attempt is None or not of.state.live:
            return -1
        return CLUSTERS.index(of.attempt.cluster)


def _with(s: State, at: int, number: int) -> State:
    return s._replace(first=number) if at == 0 else s._replace(second=number)


def _spent(s: State, kind: Kind) -> State:
    return s._replace(faults=s.faults - 1) if kind is Kind.FAULT else s


def _due(c: Cluster) -> Cluster:
    return c if c.heard is None else c._replace(due=True)


class Graph:
    """What has been explored. States are numbered in the order in which they were found, so that
    the first one with a fault has one of the shortest paths."""

    def __init__(self) -> None:
        self.actions: list[Action | None] = []
        self.jobs = array("i")
        self._parents = array("i")
        self._from, self._to, self._kinds = array("i"), array("i"), array("b")

    def add(self, job: int, parent: int, action: Action | None) -> None:
        self.jobs.append(job)
        self._parents.append(parent)
        self.actions.append(action)

    def link(self, start: int, end: int, kind: Kind) -> None:
        if start != end and kind < Kind.FAULT:
            self._from.append(start)
            self._to.append(end)
            self._kinds.append(kind)

    def path(self, state: int) -> list[str]:
        """The actions that lead to a state."""
        told: list[str] = []
        while (action := self.actions[state]) is not None:
            told.append(action.label)
            state = self._parents[state]
        return told[::-1]

    def stuck(self, goals: set[int], *, latest: Kind) -> int | None:
        """The first state from which no job in ``goals`` can be reached any more, by actions of
        kinds up to ``latest``."""
        usable = np.frombuffer(self._kinds, dtype=np.int8) <= latest
        starts = np.frombuffer(self._from, dtype=np.int32)[usable]
        ends = np.frombuffer(self._to, dtype=np.int32)[usable]
        jobs = np.frombuffer(self.jobs, dtype=np.int32)
        reached = np.isin(jobs, list(goals))
        while True:
            leads = reached[ends]
            if not leads.any():
                break
            reached[starts[leads]] = True
            starts, ends = starts[~leads], ends[~leads]
        return None if reached.all() else int(np.argmin(reached))


def explore(
    bounds: Bounds, parts: Parts | None = None, say: Callable[[str], None] | None = None
) -> Found:
    """Looks at every state within the bounds: no process is alive that should not be, no end is
    forgotten that is not stored, and as soon as nothing goes wrong any more the job can end.

    Args:
        parts: the product's, or broken ones.
        say: is told of the progress.
    """
    explorer, graph, found = Explorer(bounds, parts or Parts()), Graph(), Found()
    start = explorer.start()
    known = {start: 0}
    graph.add(start.job, 0, None)
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        number = known[state]
        for action, after in explorer.next(state):
            found.transitions += 1
            to = known.setdefault(after, len(known))
            graph.link(number, to, action.kind)
            if to < len(graph.jobs):
                continue
            graph.add(after.job, number, action)
            waiting.append(after)
            if wrong := explorer.wrong(after):
                found.states = len(known)
                found.violation, found.path = wrong, graph.path(to)
                return found
            if say is not None and len(known) % PROGRESS_STATES == 0:
                say(f"{len(known):,} states, {found.transitions:,} transitions so far")
    found.states = len(known)
    _check_ends(explorer, graph, found)
    return found


def _check_ends(explorer: Explorer, graph: Graph, found: Found) -> None:
    stuck = graph.stuck(explorer.ends(), latest=Kind.TIME)
    found.violation = None if stuck is None else "the job cannot end any more"
    if stuck is None:
        # Of a job that never ends by itself, on a cluster that is heard all the time.
        stuck = graph.stuck(explorer.unstopped(), latest=Kind.COURSE)
        found.violation = None if stuck is None else "a stop that was asked for is not carried out"
    if stuck is not None:
        found.path = graph.path(stuck)
