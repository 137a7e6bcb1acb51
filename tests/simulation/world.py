"""One simulated story: jobs, faults and time, all from one seed; the checkers watch."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest.mock import patch

import structlog

import agents.lease
import agents.link
from agents.reconcile import job_of
from scheduler.dispatch.dispatcher import NotForcedError
from scheduler.domain.job import Command, Job, JobSpec, OnUnreachable
from scheduler.domain.transitions import Event
from scheduler.state import wishes
from scheduler.state.jobs import AlreadyEndedError, JobBook
from scheduler.store.errors import StaleVersionError, StoreError
from tests.simulation import checks, faults
from tests.simulation.disk import Disk
from tests.simulation.loop import CURRENT, HostClock, Process, SimulatedLoop
from tests.simulation.network import Way
from tests.simulation.parts import Agent, Scheduler
from tests.simulation.site import Life, Site, Work

T = TypeVar("T")
Wish = Callable[[JobBook, str], Awaitable[Job]]
CLUSTERS = ("qingyang", "zhongwei")
JOBS_MOST = 5
# Each clock may be off by half of what the leases allow for between two.
RATE_OFF = 0.005
# After the last fault every job must end within this time.
PATIENCE_S = 300.0
ASK_AGAIN_S = 1.0
# Some jobs never end by themselves; their users cancel them.
ENDLESS = "serve"
ENDLESS_S = 1e6


class AwayError(Exception):
    """The scheduler did not answer; what it did is unknown."""


@dataclass
class Story:
    """What came of a seed. ``violations`` is empty when every promise was kept."""

    seed: int
    violations: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    lives: list[Life] = field(default_factory=list)
    lasted_s: float = 0.0


class World:
    """Everything there is, and the means to break it."""

    def __init__(self, seed: int) -> None:
        self.story = Story(seed)
        self.loop = SimulatedLoop()
        self.chance = random.Random(f"world {seed}")
        self._work: dict[str, Work] = {}
        self._giving_up: set[str] = set()
        self.disk = Disk(self._stored)
        self.ways = {name: Way(self.loop, self.chance) for name in CLUSTERS}
        self.sites = {
            name: Site(
                name,
                self.loop,
                self._clock(),
                self.chance,
                self.work,
                self._born,
                self._forgotten,
            )
            for name in CLUSTERS
        }
        self.scheduler: Scheduler | None = None
        self.agents: dict[str, Agent] = {}
        self.starts = self.loop.create_future()
        self.loop.set_exception_handler(lambda _, context: self.told([_untold(context)]))

    # The truth.

    def lives(self) -> Iterator[Life]:
        """Every process that ever was."""
        for site in self.sites.values():
            yield from site.lives

    def told(self, found: list[str]) -> None:
        """Notes what a checker found."""
        self.story.violations += [f"{self.loop.time():.3f} s: {what}" for what in found]

    def forced(self) -> set[str]:
        """Attempts that an operator has given up, or is about to."""
        stored = {
            event.attempt_id or ""
            for story in self.disk.stories.values()
            for event in story
            if event.event == Event.FORCE_RETRY
        }
        return stored | self._giving_up

    def _stored(self, job: Job) -> None:
        self.told(checks.on_commit(job, self.lives(), self.forced()))

    def _born(self, life: Life) -> None:
        job = self.disk.jobs[life.job_id]
        self.told(checks.on_birth(life, self.lives(), job, self.forced()))

    def _forgotten(self, attempt_id: str) -> None:
        self.told(checks.on_forget(attempt_id, self.disk.jobs[job_of(attempt_id)]))

    def work(self, attempt_id: str) -> Work:
        """What an attempt will do, drawn once."""
        if attempt_id not in self._work:
            chance = random.Random(f"{self.story.seed} {attempt_id}")
            runs_s = chance.choice([0.05, chance.uniform(1, 20), chance.uniform(20, 60)])
            endless = self.disk.jobs[job_of(attempt_id)].spec.name.startswith(ENDLESS)
            self._work[attempt_id] = Work(
                startup_s=chance.choice([0.01, 0.3, chance.uniform(0, 6)]),
                runs_s=ENDLESS_S if endless else runs_s,
                exit_code=chance.choice([0, 0, 0, 1]),
                stubborn=chance.random() < 0.3,
            )
        return self._work[attempt_id]

    # Processes.

    def _clock(self) -> HostClock:
        rate = 1 + self.chance.uniform(-RATE_OFF, RATE_OFF)
        return HostClock(self.loop, rate, self.chance.uniform(0, 1e6))

    def start_scheduler(self) -> None:
        if self.scheduler is not None:
            return
        process = Process(self.loop, "scheduler", self._clock())
        self.scheduler = Scheduler(process, self.disk, list(CLUSTERS), self.chance)
        self._watched(process.spawn(self.scheduler.run(list(self.ways.values()))))

    def kill_scheduler(self) -> None:
        if self.scheduler is None:
            return
        self.scheduler.process.kill()
        self.scheduler = None
        for way in self.ways.values():
            way.accept = None
            way.break_streams()

    def start_agent(self, cluster: str) -> None:
        if cluster in self.agents:
            return
        site = self.sites[cluster]
        process = Process(self.loop, f"agent {cluster}", site.clock)

        async def run() -> None:
            self.agents[cluster] = agent = Agent(process, site, self.ways[cluster], self.chance)
            await agent.run()

        self._watched(process.spawn(run()))

    def kill_agent(self, cluster: str) -> None:
        agent = self.agents.pop(cluster, None)
        if agent is not None:
            agent.process.kill()

    def _watched(self, task: asyncio.Task[None]) -> None:
        def over(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                self.told([f"a process broke: {error!r}"])

        task.add_done_callback(over)

    # The user.

    async def ask(self, question: Callable[[JobBook], Awaitable[T]]) -> T:
        """Asks the scheduler; the answer is lost when it dies, and sometimes when it does not."""
        if self.scheduler is None:
            raise AwayError
        answer: asyncio.Future[T] = self.loop.create_future()
        book = self.scheduler.book

        async def asked() -> T:
            return await question(book)

        def answered(task: asyncio.Task[T]) -> None:
            error = AwayError() if task.cancelled() else task.exception()
            if error is None and self.chance.random() < 0.05:
                error = AwayError()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(task.result())

        self.scheduler.process.spawn(asked()).add_done_callback(answered)
        return await answer

    async def use(self, number: int) -> None:
        """One user: submits until acknowledged, and may cancel later."""
        endless = self.chance.random() < 0.15
        waits = self.chance.random() < 0.3
        key = f"{ENDLESS if endless else 'train'}-{number}"
        spec = JobSpec(
            name=key,
            tenant="lab",
            region="shanghai",
            work=Command(("true",)),
            expected_duration_s=60.0,
            max_attempts=self.chance.randint(1, 6),
            interruptible=self.chance.random() < 0.4,
            stop_grace_s=self.chance.choice([0.2, 5.0, 20.0]),
            on_unreachable=OnUnreachable.WAIT if waits else OnUnreachable.RETRY,
        )
        await asyncio.sleep(self.chance.uniform(0, faults.LAST_S))
        job = await self._insist(lambda book: book.submit(spec, key))
        self.story.acknowledged[key] = job[0].id
        if self.chance.random() < 0.3:
            await self._hold(job[0].id)
        if waits and self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.uniform(5, 40))
            await self._give_up(job[0].id)
        if endless or self.chance.random() < 0.2:
            await asyncio.sleep(self.chance.choice([0.0, self.chance.uniform(0, 40)]))
            await self._insist(lambda book: _cancel(book, job[0].id))

    async def _hold(self, job_id: str) -> None:
        """Suspends a job, and resumes it a while later."""
        await asyncio.sleep(self.chance.uniform(0, 20))
        await self._insist(lambda book: _wish(wishes.suspend, book, job_id))
        await asyncio.sleep(self.chance.choice([0.0, self.chance.uniform(0, 30)]))
        await self._insist(lambda book: _wish(wishes.resume, book, job_id))

    async def _give_up(self, job_id: str) -> None:
        """An operator forces a retry, if that is allowed now."""
        job = self.disk.jobs[job_id]
        if self.scheduler is None or job.attempt is None:
            return
        self._giving_up.add(job.attempt.id)
        dispatcher = self.scheduler.dispatcher
        with suppress(AwayError, StoreError, StaleVersionError, NotForcedError):
            await self.ask(lambda _: dispatcher.force_retry(job_id, "", "ops"))
        self._giving_up.clear()

    async def _insist(self, question: Callable[[JobBook], Awaitable[T]]) -> T:
        while True:
            try:
                return await self.ask(question)
            except (AwayError, StoreError):
                await asyncio.sleep(ASK_AGAIN_S)

    # The story.

    async def tell(self) -> None:
        """From the first submission to the end of the last job."""
        self.start_scheduler()
        for cluster in CLUSTERS:
            self.sites[cluster].start_ray()
            self.start_agent(cluster)
        users = [
            self.loop.create_task(self.use(n)) for n in range(self.chance.randint(1, JOBS_MOST))
        ]
        faults.schedule(self)
        await asyncio.sleep(faults.LAST_S)
        faults.heal(self)
        ends_s = self.loop.time() + PATIENCE_S
        while self.loop.time() < ends_s and not self.story.violations:
            if all(user.done() for user in users) and self._all_over():
                break
            await asyncio.sleep(1.0)
        self.told(checks.at_the_end(self.story.acknowledged, self.disk, list(self.lives())))

    def _all_over(self) -> bool:
        over = all(job.state.final for job in self.disk.jobs.values())
        return over and all(life.ended_s is not None for life in self.lives())

    def close(self) -> None:
        """Ends everything that still runs."""
        for cluster in CLUSTERS:
            self.kill_agent(cluster)
        self.kill_scheduler()
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(1.0))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


async def _cancel(book: JobBook, job_id: str) -> Job | None:
    try:
        return await book.cancel(job_id)
    except AlreadyEndedError:
        return None


async def _wish(wish: Wish, book: JobBook, job_id: str) -> Job | None:
    """Asks until it is so, or never will be."""
    while True:
        try:
            return await wish(book, job_id)
        except (AlreadyEndedError, wishes.NotInterruptibleError):
            return None
        except StaleVersionError:
            await asyncio.sleep(ASK_AGAIN_S)


def _untold(context: dict[str, Any]) -> str:
    return f"{context['message']}: {context.get('exception')!r}"


@contextmanager
def _surroundings(world: World, say: Callable[[str], None] | None) -> Iterator[None]:
    """Clocks of hosts in place of this machine's, one source of chance, and logs that are heard."""

    def hear(_: Any, __: str, event: MutableMapping[str, Any]) -> Any:
        if event.pop("exc_info", None) or event["event"] == "action_failed":
            world.told([f"an error was logged: {event}: {sys.exc_info()[1]!r}"])
        if say is not None:
            process = CURRENT.get(None)
            name = process.name if process is not None else ""
            say(f"{world.loop.time():9.3f} {name:15} {event.pop('event')} {event}")
        raise structlog.DropEvent

    def clock_s() -> float:
        return CURRENT.get().clock.now_s()

    before, dice = structlog.get_config(), random.getstate()
    level = structlog.make_filtering_bound_logger(20 if say is not None else 40)
    structlog.configure(processors=[hear], wrapper_class=level, cache_logger_on_first_use=False)
    random.seed(world.story.seed)
    try:
        with (
            patch.object(agents.lease, "lease_clock_s", clock_s),
            patch.object(agents.link, "lease_clock_s", clock_s),
        ):
            yield
    finally:
        random.setstate(dice)
        structlog.configure(**before)


def simulate(seed: int, say: Callable[[str], None] | None = None) -> Story:
    """Tells the story of a seed; ``say`` hears every line of the log on the way."""
    world = World(seed)
    with _surroundings(world, say):
        world.loop.run_until_complete(world.tell())
        world.story.lasted_s = world.loop.time()
        violations = list(world.story.violations)
        world.close()
    story = world.story
    story.violations = violations
    story.lives = list(world.lives())
    story.events = Counter(e.event for told in world.disk.stories.values() for e in told)
    story.ends = {job.id: job.state.value for job in world.disk.jobs.values()}
    return story
