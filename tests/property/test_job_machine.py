"""Whatever happens to jobs: every stored story is a legal walk, and a restart remembers it all."""

import asyncio
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from scheduler.domain.job import AttemptState, Job, JobState
from scheduler.domain.transitions import TRANSITIONS, Event, IllegalTransitionError, Step
from scheduler.state.jobs import AlreadyEndedError, Change, JobBook
from scheduler.store import Store
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import a_change, a_spec, an_attempt

ENDS = {
    Event.SUCCEED: AttemptState.SUCCEEDED,
    Event.FAIL_RETRY: AttemptState.FAILED,
    Event.FAIL_FINAL: AttemptState.FAILED,
    Event.STOPPED: AttemptState.STOPPED,
}
EVENTS = st.sampled_from([event for event in Event if event is not Event.SUBMIT])


def as_an_agent_would(job: Job, event: Event) -> Change:
    """The event with the attempt as it is after it."""
    attempt = job.attempt
    if event is Event.ASSIGN:
        attempt = an_attempt(job.id, len(job.attempts) + 1)
    elif attempt is not None and event in ENDS:
        attempt = replace(attempt, state=ENDS[event])
    elif attempt is not None and event is Event.START:
        attempt = replace(attempt, state=AttemptState.RUNNING)
    return a_change(job.id, event, attempt=attempt)


class JobMachine(RuleBasedStateMachine):
    """A book over a real file, beside what it has told."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = TemporaryDirectory()
        self.told: dict[str, Job] = {}
        self.keys: dict[str, str] = {}
        self.open()

    def open(self) -> None:
        async def opened() -> tuple[Store, JobBook]:
            store = await Store.open(f"sqlite:///{Path(self.folder.name)}/westward.db")
            book = JobBook(store, ManualClock())
            await book.load()
            return store, book

        self.store, self.book = self.runner.run(opened())
        self.book.on_step(self.hear)

    def hear(self, step: Step) -> None:
        known = self.told.get(step.job.id)
        assert step.job.version == (known.version + 1 if known else 1)
        self.told[step.job.id] = step.job

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    @rule(target=jobs, key=st.none() | st.sampled_from(["a", "b"]))
    def submit(self, key: str | None) -> str:
        job, existed = self.run(self.book.submit(a_spec(), key))
        assert existed == (key in self.keys)
        if key is not None:
            assert self.keys.setdefault(key, job.id) == job.id
        return str(job.id)

    @rule(job_id=jobs, event=EVENTS)
    def happen(self, job_id: str, event: Event) -> None:
        job = self.told[job_id]
        try:
            step = self.run(self.book.apply(as_an_agent_would(job, event)))
        except IllegalTransitionError:
            assert (job.state, event) not in TRANSITIONS
        else:
            assert (step.job.state, step.effects) == TRANSITIONS[job.state, event]

    @rule(job_ids=st.lists(jobs, max_size=4), events=st.lists(EVENTS, min_size=4, max_size=4))
    def happen_at_once(self, job_ids: list[str], events: list[Event]) -> None:
        changes = [
            as_an_agent_would(self.told[job_id], event)
            for job_id, event in zip(dict.fromkeys(job_ids), events, strict=False)
        ]
        legal = [(self.told[c.job_id].state, c.event) in TRANSITIONS for c in changes]
        results = self.run(self.book.apply_many(changes))
        assert [isinstance(result, Step) for result in results] == legal

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        before = self.told[job_id].state
        try:
            job = self.run(self.book.cancel(job_id))
        except AlreadyEndedError:
            assert before in (JobState.SUCCEEDED, JobState.FAILED)
        else:
            assert job.state in (JobState.CANCELLING, JobState.CANCELLED)

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.open()

    @invariant()
    def memory_is_what_was_told(self) -> None:
        going_on = {i: job for i, job in self.told.items() if not job.state.final}
        assert dict(self.book.active()) == going_on

    def teardown(self) -> None:
        for job in self.told.values():
            assert self.run(self.store.jobs.find(job.id)) == job
            story = self.run(self.store.jobs.events(job.id))
            assert story[0].event == Event.SUBMIT
            assert len(story) == job.version
            state = JobState.PENDING
            for event in story[1:]:
                assert event.from_state is state
                state = TRANSITIONS[state, Event(event.event)][0]
                assert event.to_state is state
            assert state is job.state
        self.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()


TestJobMachine = JobMachine.TestCase
TestJobMachine.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
