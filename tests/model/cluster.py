"""What may happen at one cluster: to its processes, its site actor, its agent and its stream."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from agents import reconcile as agent
from agents.lease import Lease, renewed
from scheduler.dispatch.leases import DRIFT_S, DRIFT_SHARE
from scheduler.domain.reason import ReasonCode
from tests.model import rules
from tests.model.rules import Parts, attempt_id
from tests.model.values import Answers, Cluster, Desired, Heard, Hello, Kind, Slot, Told


class Next(NamedTuple):
    kind: Kind
    label: str
    cluster: Cluster


@dataclass(frozen=True, slots=True)
class Site:
    """What happens at a cluster without the scheduler; ``waits``: attempts outlive their lease."""

    parts: Parts
    waits: bool
    messages_most: int
    ttl_s: float

    def moves(self, c: Cluster) -> Iterator[Next]:
        """An agent that is up looks and acts before anything else can happen to it."""
        for kind, label, after in self._moves(c):
            yield Next(kind, label, self._settled(after))

    def _moves(self, c: Cluster) -> Iterator[Next]:
        yield from self._processes(c)
        yield from self._site_actor(c)
        if c.up:
            yield from self._given_up(c)
            yield Next(Kind.FAULT, "the agent is killed", self._agent_dies(c))
        else:
            yield Next(Kind.COURSE, "the agent starts again", c._replace(up=True))
        yield from self._stream(c)
        if c.slots:
            yield Next(Kind.FAULT, "the host loses its power", self._power_lost(c))

    # Processes and the site actor.

    def _processes(self, c: Cluster) -> Iterator[Next]:
        for at, slot in enumerate(c.slots):
            who = attempt_id(slot.number)
            if not slot.alive:
                continue
            if slot.lost:
                gone = _with(c, at, slot._replace(alive=False))
                yield Next(Kind.COURSE, f"{who}'s worker ends on its broken leash", gone)
                continue
            for look in (rules.SUCCEEDED, rules.FAILED):
                ended = _with(c, at, slot._replace(alive=False, gang=look))
                yield Next(Kind.EXIT, f"{who}'s process ends: {look.state}", ended)
            if slot.stop is not None or self._lease_over(c):
                look = rules.STOPPED if slot.stop is ReasonCode.STOPPED else rules.EXPIRED
                ended = _with(c, at, slot._replace(alive=False, gang=look))
                yield Next(Kind.COURSE, f"{who}'s process has been stopped", ended)

    def _site_actor(self, c: Cluster) -> Iterator[Next]:
        for at, slot in enumerate(c.slots):
            if slot.gang is None and not slot.lost and not slot.told.state.final:
                who = attempt_id(slot.number)
                yield Next(Kind.COURSE, f"the site actor takes {who}", self._taken(c, at))
        if any(not slot.lost and (slot.gang or not slot.told.state.final) for slot in c.slots):
            lost = [
                slot if slot.told.state.final else slot._replace(gang=None, lost=True)
                for slot in c.slots
            ]
            yield Next(Kind.FAULT, "the site actor is killed", c._replace(slots=tuple(lost)))

    def _taken(self, c: Cluster, at: int) -> Cluster:
        slot = c.slots[at]
        if slot.stop is not None:
            look = rules.STOPPED if slot.stop is ReasonCode.STOPPED else rules.EXPIRED
            return _with(c, at, slot._replace(gang=look))
        if self._lease_over(c):
            return _with(c, at, slot._replace(gang=rules.EXPIRED))
        return _with(c, at, slot._replace(gang=rules.RUNNING, alive=True))

    def _lease(self, c: Cluster) -> Lease | None:
        """Now is 0."""
        if c.lease_s is None:
            return None
        return renewed(None, sent_at_s=float(-c.lease_s), ttl_s=self.ttl_s)

    def _lease_over(self, c: Cluster) -> bool:
        lease = self._lease(c)
        return not self.waits and lease is not None and not lease.held(0.0)

    def ticked(self, c: Cluster) -> Cluster:
        """A second later: whoever had to be dead by now is, and an agent whose lease has run down
        has acted on it: its timer comes before any later wish."""
        lease_s = None if c.lease_s is None else min(c.lease_s + 1, self._oldest_s)
        over = not self.waits and lease_s is not None and lease_s > self.ttl_s
        slots = []
        for slot in c.slots:
            if slot.alive and slot.lost:
                slots.append(slot._replace(alive=False))
            elif slot.alive and over:
                slots.append(slot._replace(alive=False, gang=rules.EXPIRED))
            else:
                slots.append(slot)
        c = self.ahead(c)._replace(
            lease_s=lease_s,
            slots=tuple(slots),
            upward=tuple(self._aged(message) for message in c.upward),
            downward=tuple(self._aged(message) for message in c.downward),
            heard=None if c.heard is None else self._aged(c.heard),
        )
        return self._settled(c)

    def ahead(self, c: Cluster) -> Cluster:
        """The scheduler's clock alone goes on by a second."""
        over_s = math.ceil(self.ttl_s * (1 + DRIFT_SHARE) + DRIFT_S)
        return c._replace(granted_s=min(c.granted_s + 1, over_s))

    @property
    def _oldest_s(self) -> int:
        """What was sent so long ago, or earlier, renews nothing."""
        return math.ceil(self.ttl_s)

    def _aged(self, message: Any) -> Any:
        return message._replace(age_s=min(message.age_s + 1, self._oldest_s))

    # The agent.

    def _given_up(self, c: Cluster) -> Iterator[Next]:
        for at, slot in enumerate(c.slots):
            if slot.lost and not slot.alive and not slot.told.state.final:
                look = rules.RAY_LOST if slot.stop is None else rules.STOPPED
                given_up = _with(c, at, slot._replace(told=look))
                who = attempt_id(slot.number)
                yield Next(Kind.COURSE, f"the agent gives {who} up with its Ray", given_up)

    def _settled(self, c: Cluster) -> Cluster:
        return self._acted(self._looked(c)) if c.up else c

    def _looked(self, c: Cluster) -> Cluster:
        slots = tuple(
            slot._replace(told=slot.gang)
            if slot.gang is not None and not slot.told.state.final
            else slot
            for slot in c.slots
        )
        return c._replace(slots=slots)

    def _acted(self, c: Cluster) -> Cluster:
        """One pass of the reconciliation; see ``Attempts._act``."""
        ends = [slot.number for slot in c.slots if slot.told.state.final]
        c = c._replace(ended=max([*ends, c.ended]))
        wanted = None
        if c.wanted is not None:
            number = c.wanted[0]
            wanted = [agent.Wanted(attempt_id(number), number)] if number else []
        actions = self.parts.reconcile(
            wanted,
            [
                agent.Seen(attempt_id(slot.number), slot.number, slot.told.state, self.waits)
                for slot in c.slots
            ],
            self._lease_state(c),
            {attempt_id(number) for number in c.confirmed},
            {} if c.ended < 0 else {rules.JOB_ID: c.ended},
        )
        for action in actions:
            c = self._performed(c, action)
        return c

    def _lease_state(self, c: Cluster) -> agent.LeaseState:
        lease = self._lease(c)
        if lease is None:
            return agent.LeaseState.UNKNOWN
        return agent.LeaseState.HELD if lease.held(0.0) else agent.LeaseState.ENDING

    def _performed(self, c: Cluster, action: agent.Action) -> Cluster:
        number = int(action.attempt_id.rpartition("-")[2])
        if isinstance(action, agent.Start):
            assert c.wanted is not None
            look = rules.STARTING if c.wanted[1] else rules.UNKNOWN_HERE
            return c._replace(slots=(*c.slots, Slot(number, look)))
        at = next(at for at, slot in enumerate(c.slots) if slot.number == number)
        if isinstance(action, agent.Forget):
            kept = (*c.slots[:at], *c.slots[at + 1 :])
            return c._replace(slots=kept, confirmed=c.confirmed - {number})
        if c.slots[at].stop in (None, ReasonCode.STOPPED):
            return _with(c, at, c.slots[at]._replace(stop=action.code))
        return c

    def _agent_dies(self, c: Cluster) -> Cluster:
        """Its memory is gone. What never ran was known to nothing else."""
        c = _hung_up(c)
        slots = tuple(slot for slot in c.slots if slot.told != rules.UNKNOWN_HERE)
        return c._replace(up=False, wanted=None, slots=slots, ended=-1, confirmed=frozenset())

    def _power_lost(self, c: Cluster) -> Cluster:
        """Nothing is left but the records on disk; the lease of an earlier boot is not believed."""
        c = self._agent_dies(c)
        slots = tuple(
            slot if slot.told.state.final else slot._replace(gang=None, lost=True, alive=False)
            for slot in c.slots
        )
        return c._replace(slots=slots, lease_s=None)

    # The stream, from the agent's end, and what may happen to it.

    def _stream(self, c: Cluster) -> Iterator[Next]:
        hellos = any(isinstance(message, Hello) for message in c.upward)
        if c.session:
            if c.heard is None and not hellos:
                yield Next(Kind.COURSE, "the agent finds its stream broken", _hung_up(c))
            else:
                yield Next(Kind.FAULT, "the agent hangs up", _hung_up(c))
                if len(c.upward) < self.messages_most:
                    yield Next(Kind.COURSE, "the agent tells", self._telling(c))
        elif c.up and not hellos and c.may_dial:
            dialled = c._replace(session=True, upward=(*c.upward, Hello(0, True)))
            yield Next(Kind.COURSE, "the agent dials", dialled)
        if c.downward:
            rest = c._replace(downward=c.downward[1:])
            yield Next(Kind.COURSE, "a wish arrives", self._wish_came(rest, c.downward[0]))
            yield Next(Kind.FAULT, "a wish is lost", rest)
        if c.upward and isinstance(c.upward[0], Told):
            yield Next(Kind.FAULT, "a view is lost", c._replace(upward=c.upward[1:]))
            doubled = c._replace(upward=(c.upward[0], *c.upward))
            yield Next(Kind.FAULT, "a view is doubled", doubled)
        if c.heard is not None:
            kind = Kind.FAULT if held(c) else Kind.COURSE
            yield Next(kind, "the scheduler drops the stream", dropped(c))

    def _telling(self, c: Cluster) -> Cluster:
        """See ``Attempts.tell``: what is wanted is told of although it has not started."""
        view = {}
        if c.wanted is not None and c.wanted[0] > max(c.ended, 0):
            view[c.wanted[0]] = rules.STARTING
        view |= {slot.number: slot.told for slot in c.slots}
        told = Told(0, c.acted, tuple(sorted(view.items())))
        return c._replace(upward=(*c.upward, told))

    def _wish_came(self, c: Cluster, wish: Desired) -> Cluster:
        lease = self.parts.renewed(self._lease(c), sent_at_s=float(-wish.age_s), ttl_s=self.ttl_s)
        lease_s = round(self.ttl_s - lease.deadline_s)
        return c._replace(
            wanted=(wish.answers.named, wish.may_start),
            acted=wish.answers,
            lease_s=min(lease_s, self._oldest_s),
            confirmed=c.confirmed | wish.ends,
        )


# The stream from the scheduler's end.


def held(c: Cluster) -> bool:
    """The stream that the scheduler holds is the one that the agent holds."""
    hellos = any(isinstance(message, Hello) for message in c.upward)
    return c.session and c.heard is not None and not hellos


def quiet(c: Cluster) -> bool:
    """Nothing of the job is alive here, nor can what is known or on its way here start it: an
    agent starts nothing that has ended."""
    named = [wish.answers.named for wish in c.downward]
    named += [0 if c.wanted is None else c.wanted[0]]
    over = all(slot.told.state.final and not slot.alive for slot in c.slots)
    return over and all(number <= max(c.ended, 0) for number in named)


def left(c: Cluster) -> Cluster:
    """The job has no attempt here any more, and the cluster hears no more of the scheduler than is
    on its way: what is alive must end by itself, and what would still start it must not."""
    return c._replace(
        session=False,
        acted=None,
        confirmed=frozenset(),
        upward=(),
        heard=None,
        due=False,
        granted_s=0,
        may_dial=False,
    )


def heard(c: Cluster, *, stored: bool = True) -> tuple[Cluster, Hello | Told]:
    """The cluster after the oldest upward message has arrived, and that message."""
    message, rest = c.upward[0], c._replace(upward=c.upward[1:])
    if isinstance(message, Hello):
        return rest._replace(heard=Heard(message.age_s, frozenset()), due=True), message
    assert c.heard is not None, "what is on no stream is not on its way"
    ends = frozenset(number for number, look in message.view if stored and look.state.final)
    return rest._replace(heard=Heard(message.age_s, c.heard.ends | ends), due=True), message


def wished(c: Cluster, number: int, may_start: bool, messages_most: int) -> Cluster | None:
    """A desired state leaves, as it is at this moment; None if it has to wait."""
    if c.heard is None or not c.due or (held(c) and len(c.downward) >= messages_most):
        return None
    wish = Desired(c.heard.age_s, Answers(number, 0), may_start, c.heard.ends)
    listens = held(c)
    c = c._replace(due=False, granted_s=0)
    if number:
        c = _named(c, number)
    return c._replace(downward=(*c.downward, wish)) if listens else c


def dropped(c: Cluster) -> Cluster:
    """The scheduler has let go of the stream; what came on it is not heard any more."""
    opens = [at for at, message in enumerate(c.upward) if isinstance(message, Hello)]
    return c._replace(heard=None, due=False, upward=c.upward[opens[0] :] if opens else ())


def restarted(c: Cluster) -> Cluster:
    """The scheduler has died and started: the last grant may have been the moment before, and a
    wish of its predecessor may still arrive."""
    return c._replace(heard=None, due=False, upward=(), granted_s=0)


def forgotten(c: Cluster) -> int:
    """The newest attempt that has ended here, if its agent knows no more how; else -1."""
    return -1 if any(slot.number == c.ended for slot in c.slots) else c.ended


def alive(c: Cluster) -> frozenset[int]:
    """The attempts that have a process here."""
    return frozenset(slot.number for slot in c.slots if slot.alive)


def _named(c: Cluster, number: int) -> Cluster:
    """Whatever answers an earlier wish of this stream was before one that names the attempt."""

    def after(answers: Answers | None) -> Answers | None:
        return None if answers is None else answers._replace(later=number)

    upward: Iterable[Any] = c.upward
    return c._replace(
        acted=after(c.acted),
        upward=tuple(
            m._replace(answers=after(m.answers)) if isinstance(m, Told) else m for m in upward
        ),
        downward=tuple(m._replace(answers=m.answers._replace(later=number)) for m in c.downward),
    )


def _hung_up(c: Cluster) -> Cluster:
    """The agent lets go of its stream; what it sent may still arrive."""
    upward = tuple(m._replace(open=False) if isinstance(m, Hello) else m for m in c.upward)
    return c._replace(session=False, acted=None, upward=upward, downward=())


def _with(c: Cluster, at: int, slot: Slot) -> Cluster:
    return c._replace(slots=(*c.slots[:at], slot, *c.slots[at + 1 :]))
