"""The dispatcher over a real job book and a real database; the agent's side is played by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.leases import Leases
from scheduler.dispatch.streams import Streams
from scheduler.dispatch.verdict import Seen
from scheduler.domain.job import Attempt, AttemptState, Command, Job, JobSpec, JobState
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.domain.transitions import Event
from scheduler.state.jobs import Change, JobBook
from scheduler.store import Store
from tests.fakes.clock import ManualClock

SPEC = JobSpec(
    name="train", tenant="lab", region="shanghai", work=Command(("true",)), expected_duration_s=60
)
OK = Reason(ReasonCode.OK, "")


@dataclass(eq=False)
class Head:
    """A head agent's stream that sends at once."""

    desk: "Desk"
    cluster: str = "qingyang"
    seq: int = 0
    stored_seq: int = 0
    told_seq: int = 0
    wishes: list[list[str]] = field(default_factory=list)

    def wish_changed(self) -> None:
        self.seq += 1
        wish = self.desk.dispatcher.wish(self, self.seq)
        self.wishes.append([job.attempt.id for job in wish if job.attempt])


@dataclass
class Reach:
    """What the fleet would say."""

    up: bool = True

    def reachable(self, cluster: str) -> bool:
        return self.up

    def silent_s(self, cluster: str) -> float:
        return 0.0 if self.up else 20.0


class Desk:
    """All parts of one scheduler that the dispatcher touches."""

    def __init__(self, store: Store) -> None:
        self.clock = ManualClock()
        self.book = JobBook(store, self.clock)
        self.reach = Reach()
        self.streams = Streams()
        self.dispatcher = Dispatcher(
            self.book, self.reach, Leases(self.clock, 30.0), self.streams, self.clock
        )
        self.book.on_step(self.dispatcher.on_step)
        self.head = Head(self)
        self.streams.add(self.head)

    async def assigned(self, spec: JobSpec = SPEC) -> Job:
        """A job with an attempt on the cluster."""
        job, _ = await self.book.submit(spec)
        return await self.assign(job)

    async def stop(self, job: Job, event: Event, code: ReasonCode) -> Job:
        """The job after somebody has asked for its attempt to be stopped."""
        reason = Reason(code, "make room")
        return (
            await self.book.apply(Change(job_id=job.id, event=event, actor="ops", reason=reason))
        ).job

    async def assign(self, job: Job) -> Job:
        number = len(job.attempts) + 1
        now = self.clock.now()
        attempt = Attempt(
            id=f"{job.id}-{number}",
            job_id=job.id,
            number=number,
            epoch=number,
            state=AttemptState.ASSIGNED,
            cluster="qingyang",
            accelerator="A800",
            nodes=("qy-1",),
            assigned_at=now,
            expected_end_at=now + timedelta(minutes=1),
        )
        change = Change(
            job_id=job.id, event=Event.ASSIGN, actor="planner", reason=OK, attempt=attempt
        )
        return (await self.book.apply(change)).job

    async def see(self, *seen: Seen, answers: int | None = None) -> None:
        seq = self.head.seq if answers is None else answers
        self.head.told_seq += 1
        await self.dispatcher.observed(self.head, self.head.told_seq, seen, seq)

    async def state(self, job: Job) -> JobState:
        return (await self.book.get(job.id)).state


def running(job: Job) -> Seen:
    assert job.attempt is not None
    return Seen(attempt_id=job.attempt.id, epoch=job.attempt.epoch, state=AttemptState.RUNNING)


@asynccontextmanager
async def sitting(folder: Path) -> AsyncIterator[Desk]:
    """A desk over a database of its own."""
    store = await Store.open(f"sqlite:///{folder / 'test.db'}")
    desk = Desk(store)
    await desk.book.load()
    yield desk
    await store.close()
