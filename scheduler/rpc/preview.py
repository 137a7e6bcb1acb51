"""What would be: jobs that somebody thinks of submitting, and changes of the world."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import grpc

from scheduler.clock import Clock
from scheduler.domain.arrays import CHUNKS_MOST, chunks
from scheduler.domain.job import Job, JobSpec
from scheduler.domain.round import PlacementRecord
from scheduler.domain.validation import Violation
from scheduler.planner.changes import Change, ChangeError
from scheduler.planning.mirror import without_content
from scheduler.planning.preview import Preview, PreviewedJob, TooLongError, WhatIf
from scheduler.planning.preview_question import Question
from scheduler.planning.process import PlannerHungError
from scheduler.planning.values import placement_record
from scheduler.rpc import convert_preview, preview_token
from scheduler.rpc.acceptance import Acceptance
from scheduler.rpc.convert_jobs import stamp
from scheduler.rpc.errors import StatusError, invalid
from scheduler.state.jobs import JobBook
from westward.v1 import job_pb2, placement_pb2, preview_pb2, what_if_pb2

# The one that is being answered, and those that wait.
ASKED_MOST = 4
EFFECTS_DEFAULT = 100
CHANGES_MOST = 100

Answer = TypeVar("Answer")


class Answering(Protocol):
    """Answers questions about the plan."""

    def answer(self, question: Question[Answer]) -> Awaitable[Answer]:
        """Between two rounds."""

    def expect(self, record: PlacementRecord) -> None:
        """A new job stands planned."""


class Questions:
    """Asks the planner, a few questions at a time."""

    def __init__(self, loop: Answering, clock: Clock, slot_s: float) -> None:
        self._loop = loop
        self._clock = clock
        self._slot_s = slot_s
        self._asked = set[asyncio.Task[object]]()

    async def ask(self, question: Question[Answer]) -> Answer:
        """The answer. Who goes away does not end it: the planner is told of changes on the way.

        Raises:
            StatusError: RESOURCE_EXHAUSTED where several wait already or it takes too long,
                UNAVAILABLE where the planner's process has died.
            ChangeError: a change cannot be made.
        """
        if len(self._asked) >= ASKED_MOST:
            told = f"{ASKED_MOST} questions about the plan wait already; ask again in a moment"
            raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, told)
        task = asyncio.ensure_future(self._answer(question))
        self._asked.add(task)
        task.add_done_callback(self._answered)
        return await asyncio.shield(task)

    def _answered(self, task: asyncio.Task[object]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # who asked may be gone; nobody else wants to hear of it

    async def _answer(self, question: Question[Answer]) -> Answer:
        try:
            return await self._loop.answer(question)
        except TooLongError as error:
            raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from error
        except (BrokenProcessPool, PlannerHungError) as error:
            told = "the planner's process has ended and starts anew; ask again in a moment"
            raise StatusError(grpc.StatusCode.UNAVAILABLE, told) from error

    async def confirm(self, text: str, spec: JobSpec) -> PreviewedJob:
        """What would become of a job, asked once more after a token was given for it; its start is
        the token's.

        Raises:
            StatusError: INVALID_ARGUMENT for what is no token; FAILED_PRECONDITION for one that is
                too old, of another job, or whose answer would now differ materially.
        """
        try:
            token = preview_token.read(text)
        except preview_token.TokenError as error:
            raise invalid([Violation("plan_token", f"{text[:80]!r} {error}")]) from error
        if spec.array is not None or token.digest != preview_token.digest(spec):
            raise _refused("the plan token is of a job that asks for something else")
        if datetime.now(UTC) > token.until_at:
            until = f"{token.until_at.astimezone():%m-%d %H:%M %Z}"
            raise _refused(f"the plan token was good until {until}")
        # What the next round will see: the job stands planned as the token has it.
        group = (without_content(spec),)
        question = Preview((group,), on_others=False, planned=token.planned)
        [job] = (await self.ask(question)).jobs
        now = preview_token.answer_of(job.placement)
        why = preview_token.objection(token.told, now, self._clock.now(), self._slot_s)
        if why:
            then = f"the plan was {token.told}; it would now be {now or 'nowhere'}"
            because = "" if now is not None else f" ({job.explanation.reason.message})"
            raise _refused(f"{then}: {why}{because}")
        assert job.placement is not None, "it has no objection"
        placement = job.placement._replace(start_at=token.told.start_at)
        return replace(job, placement=placement)

    def expect(self, job_id: str, told: PreviewedJob) -> None:
        """The job was stored: it stands planned as it was told."""
        assert told.placement is not None, "confirmed"
        placement = told.placement._replace(job_id=job_id)
        self._loop.expect(placement_record(placement, None, told.explanation, 0))


def _refused(why: str) -> StatusError:
    told = f"{why}; nothing was stored: run `westward plan` again, or submit without --plan"
    return StatusError(grpc.StatusCode.FAILED_PRECONDITION, told)


class PreviewCalls:
    """Converts, asks, answers."""

    def __init__(
        self, questions: Questions, acceptance: Acceptance, book: JobBook, clock: Clock
    ) -> None:
        self.questions = questions
        self._acceptance = acceptance
        self._book = book
        self._clock = clock

    async def preview(self, request: preview_pb2.PreviewRequest) -> placement_pb2.PreviewResponse:
        """What would become of jobs."""
        specs = await self._judged(request.specs)
        groups = [tuple(map(without_content, chunks(s) if s.array else (s,))) for s in specs]
        if (count := sum(map(len, groups))) > CHUNKS_MOST:
            told = f"{count} jobs and chunks are over {CHUNKS_MOST}; ask for fewer at a time"
            raise invalid([Violation("specs", told)])
        now_at = self._clock.now()
        made = await self.questions.ask(Preview(tuple(groups)))
        most = request.effects_most or EFFECTS_DEFAULT
        answer = placement_pb2.PreviewResponse(
            jobs=await asyncio.to_thread(convert_preview.jobs_to_pb, made, groups),
            effects=convert_preview.effects_to_pb(made.effects[:most], self._jobs),
            effects_total=len(made.effects),
            now_at=stamp(now_at),
        )
        if len(made.jobs) == 1 and specs[0].array is None:
            told_now = preview_token.answer_of(made.jobs[0].placement)
            if told_now is not None:
                answer.token, until = preview_token.written(specs[0], told_now, datetime.now(UTC))
                answer.token_expires_at.CopyFrom(stamp(until))
        return answer

    async def what_if(self, request: what_if_pb2.WhatIfRequest) -> what_if_pb2.WhatIfResponse:
        """What would become of the queue."""
        if len(request.changes) > CHANGES_MOST:
            told = f"{len(request.changes)} are over {CHANGES_MOST}; ask for fewer at a time"
            raise invalid([Violation("changes", told)])
        changes: list[Change] = []
        for i, change in enumerate(request.changes):
            try:
                changes.append(convert_preview.change_from_pb(change))
            except ChangeError as error:
                raise invalid(
                    [Violation(f"changes[{i}].{error.field}", error.description)]
                ) from error
        now_at = self._clock.now()
        try:
            made = await self.questions.ask(WhatIf(tuple(changes)))
        except ChangeError as error:
            raise invalid([Violation(error.field, error.description)]) from error
        most = request.effects_most or len(made.effects)
        # Ten thousand of them take a while to convert.
        effects = await asyncio.to_thread(
            convert_preview.effects_to_pb, made.effects[:most], self._jobs
        )
        return what_if_pb2.WhatIfResponse(
            before=convert_preview.totals_to_pb(made.before),
            after=convert_preview.totals_to_pb(made.after),
            effects=effects,
            effects_total=len(made.effects),
            now_at=stamp(now_at),
        )

    @property
    def _jobs(self) -> Mapping[str, Job]:
        return self._book.active()

    async def _judged(self, specs: Sequence[job_pb2.JobSpec]) -> list[JobSpec]:
        """The specs, as Submit judges them; every complaint at once."""
        if not specs:
            raise invalid([Violation("specs", "is empty; name a job")])
        if len(specs) > CHUNKS_MOST:
            told = f"{len(specs)} jobs are over {CHUNKS_MOST}; ask for fewer at a time"
            raise invalid([Violation("specs", told)])
        good: list[JobSpec] = []
        faults: list[Violation] = []
        for i, spec in enumerate(specs):
            try:
                accepted = await self._acceptance.accept(job_pb2.SubmitRequest(spec=spec))
            except StatusError as error:
                faults += [
                    Violation(v.field.replace("spec", f"specs[{i}]", 1), v.description)
                    for v in error.violations
                ]
            else:
                assert isinstance(accepted, JobSpec), "only a key finds an earlier job"
                good.append(accepted)
            # To judge one takes as long as there are nodes: others have their turn in between.
            await asyncio.sleep(0)
        if faults:
            raise invalid(faults)
        return good
