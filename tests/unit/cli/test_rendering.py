"""What people read, at 80 and 120 columns, against transcripts that were read and approved."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console, Group, RenderableType
from rich.text import Text

from scheduler.cli.render import (
    arrays,
    clusters,
    common,
    events,
    explain,
    jobs,
    nodes,
    placements,
    plan,
    rounds,
    timeline,
    what_if,
    why,
)
from scheduler.domain.explanation import Outcome
from scheduler.domain.job import JobState
from scheduler.planner.budget import Budget
from scheduler.rounds.record import PlanFigures, RecordedRound
from tests.fakes import canned, canned_events, canned_questions, canned_timeline, canned_why
from tests.scenario.world import World
from westward.v1 import job_pb2, placement_pb2

Golden = Callable[[str, str], None]
JOB_FILE = Path("job.yaml")
RUNNING, DEFERRED, IMPOSSIBLE, FAILED, _ = canned.jobs()
CANCELLED = job_pb2.Job(
    id=IMPOSSIBLE.id,
    state=job_pb2.JOB_STATE_CANCELLED,
    reason=canned.reason("CANCELLED", "cancelled by li: wrong region"),
)

SCENES: dict[str, Callable[[], RenderableType]] = {
    "jobs": lambda: jobs.listing(canned.jobs()),
    "jobs-none": lambda: jobs.listing([]),
    "jobs-array": lambda: jobs.listing([*canned.chunks(), *canned.jobs()[:2]]),
    "job-array": lambda: jobs.array(canned.chunks()[::-1]),
    "job-chunk": lambda: jobs.detail(job_pb2.GetResponse(job=canned.chunks()[1])),
    "tasks": lambda: arrays.tasks(canned.tasks()),
    "tasks-none": lambda: arrays.tasks([]),
    "job-running": lambda: jobs.detail(
        job_pb2.GetResponse(job=RUNNING, events=canned.events(RUNNING.id))
    ),
    "job-failed": lambda: jobs.detail(job_pb2.GetResponse(job=FAILED)),
    "explain": lambda: explain.explanation(canned.explanation(RUNNING.id)),
    "explain-waits": lambda: explain.explanation(canned.waiting_explanation(IMPOSSIBLE.id)),
    "explain-ended": lambda: explain.explanation(
        canned.waiting_explanation(CANCELLED.id), None, CANCELLED
    ),
    "explain-slots": lambda: explain.explanation(
        canned.explanation(RUNNING.id), canned_why.starts()
    ),
    "why": lambda: why.why(canned_why.why(IMPOSSIBLE.id)),
    "why-planned": lambda: why.why(canned_why.planned_why(DEFERRED.id)),
    "why-failed": lambda: why.why(canned_why.failed_why(FAILED)),
    "clusters": lambda: clusters.listing(canned.clusters()),
    "nodes": lambda: nodes.listing(canned.nodes().nodes),
    "placements": lambda: placements.listing(canned.placements().placements),
    "timeline": lambda: timeline.picture(canned_timeline.timeline()),
    "plan": lambda: plan.answer(canned_questions.preview(), ["llama-sft"], [JOB_FILE]),
    "plan-array": lambda: plan.answer(canned_questions.preview(chunks=4), ["sweep"], [JOB_FILE]),
    "plan-nowhere": lambda: plan.answer(canned_questions.nowhere(), ["tick-quotes"], [JOB_FILE]),
    "what-if": lambda: what_if.answer(canned_questions.what_if()),
    "what-if-same": lambda: what_if.answer(canned_questions.what_if(differs=False)),
    "rounds": lambda: rounds.listing(canned.rounds().rounds),
    "round": lambda: rounds.detail(canned.rounds().rounds[0]),
    "events": lambda: events.listing(canned_events.audit()),
    "events-none": lambda: events.listing([]),
    "events-follow": lambda: Group(*map(events.line, canned_events.audit())),
    "rounds-replay": lambda: rounds.comparison(replayed(0.0), replayed(1.5), identical=False),
}
WIDE_SCENES: dict[str, Callable[[], RenderableType]] = {
    "jobs": lambda: jobs.listing(canned.jobs(), wide=True),
    "clusters": lambda: clusters.listing(canned.clusters(), wide=True),
    "nodes": lambda: nodes.listing(canned.nodes().nodes, wide=True),
    "placements": lambda: placements.listing(canned.placements().placements, wide=True),
    "timeline": lambda: timeline.picture(canned_timeline.timeline(192)),
    "rounds": lambda: rounds.listing(canned.rounds().rounds, wide=True),
    "events": lambda: events.listing(canned_events.audit(), wide=True),
}


def replayed(dearer_yuan: float) -> RecordedRound:
    """A round whose plan cost as much more when it was planned again."""
    figures = PlanFigures(
        sha256=f"{int(dearer_yuan * 10) + 1:x}" * 32,
        objective_yuan=1218.4 + dearer_yuan,
        bound_yuan=1215.1,
        gap=0.0027 + dearer_yuan / 1000,
        now=2,
        later=1,
        unplaced=2,
        interruptions=0,
        stages=(("scene", 3.1), ("duals", 88.1 + dearer_yuan)),
    )
    return RecordedRound(
        software="0.1.0",
        round_id=41,
        snapshot=World().job("waits", count=5).snapshot(),
        budget=Budget(),
        plan=figures,
    )


@pytest.fixture(autouse=True)
def in_shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def printed(rendered: RenderableType, columns: int) -> str:
    console = Console(width=columns, color_system=None, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(rendered)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("scene", SCENES)
def test_table_reads_as_approved(scene: str, columns: int, golden: Golden) -> None:
    text = printed(SCENES[scene](), columns)
    assert max(map(len, text.splitlines())) <= columns
    golden(f"{scene}-{columns}.txt", text)


@pytest.mark.parametrize("scene", WIDE_SCENES)
def test_wide_table_reads_as_approved(scene: str, golden: Golden) -> None:
    golden(f"{scene}-wide.txt", printed(WIDE_SCENES[scene](), 220))


@pytest.mark.parametrize("columns", [80, 120, 10_000])
def test_ids_are_never_cut(columns: int) -> None:
    listed = [*canned.chunks(), *canned.jobs()]
    text = printed(jobs.listing(listed), columns)
    assert all(job.id in text for job in listed)


def test_text_of_others_cannot_steer_the_terminal() -> None:
    job = job_pb2.Job(id="1", spec=canned.spec("evil\x1b[2J\r\nname"))
    job.reason.CopyFrom(canned.reason("NONZERO_EXIT", "\x1b]0;title\x07"))
    text = printed(jobs.listing([job]), 120)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "evil·[2J" in text


def test_a_change_is_one_line() -> None:
    event = canned.events(RUNNING.id)[2]
    change = jobs.change(job_pb2.WatchResponse(job=RUNNING, event=event))
    assert change.plain == (
        "11-20 10:01:06  1k7dq3m8ta05  llama-sft  running  qingyang  runs on 2 nodes"
    )


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.823, "82 %"), (0.9969, "99.7 %"), (0.99999, "99.9 %"), (1, "100 %")],
)
def test_not_quite_all_green_is_not_shown_as_all(share: float, text: str) -> None:
    assert common.percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4s"), (9, "9s"), (90, "1m30s"), (5400, "1h30m"), (90061, "1d1h1m")],
)
def test_spans(seconds: float, text: str) -> None:
    assert common.span(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1e-9, "0"),
        (0.0000345, "0.000034"),
        (0.0003, "0.0003"),
        (-0.00767, "-0.0077"),
        (0.398, "0.398"),
        (12.345, "12.35"),
        (-2.9, "-2.90"),
        (1234.56, "1,234.6"),
    ],
)
def test_figures(value: float, text: str) -> None:
    assert common.figure(value) == text


def test_a_dearer_choice_is_not_called_a_saving() -> None:
    told = canned.explanation("1")
    told.saving.yuan = 70.0
    assert "Costs: 7.00 yuan" in printed(explain.explanation(told), 200)


def test_cost_terms_that_are_nil_everywhere_take_no_column() -> None:
    text = printed(explain.explanation(canned.explanation("1")), 200)
    assert "price " in text
    assert "green " not in text


def test_what_the_verdict_says_is_not_said_again_beside_the_chosen() -> None:
    told = canned.explanation("1")
    assert "lowest total" in printed(explain.explanation(told), 200)
    told.reason.message = "Starts now at qingyang. lowest total"
    assert printed(explain.explanation(told), 200).count("lowest total") == 1


def test_costs_of_a_small_job_are_told() -> None:
    told = canned.explanation("1")
    for candidate in told.candidates:
        candidate.total_yuan *= 1e-5
        for term in candidate.terms:
            term.yuan *= 1e-5
    text = printed(explain.explanation(told), 200)
    row = next(line for line in text.splitlines() if line.startswith("✔"))
    assert row.split()[7:12] == ["74.00", "0.00028", "0.000074", "0.000022", "0.00037"]


def test_a_later_attempt_has_its_number_and_a_long_name_no_second_line() -> None:
    told = canned.placements()
    told.placements[0].attempt_id = f"{RUNNING.id}-2"
    told.placements[0].job_name = "a name that takes all the room there is, and more"
    head, first, second, *_ = printed(placements.listing(told.placements), 80).splitlines()
    assert [row.split()[0] for row in (head, first, second)] == ["JOB", RUNNING.id, "1k7dq3m8t9zz"]
    assert "and more #2 " in printed(placements.listing(told.placements), 300)


def test_what_a_placement_costs_and_saves_is_what_it_would_cost_at_origin() -> None:
    told = canned.placements()
    del told.placements[1:]
    told.placements[0].cost_yuan = 20.0
    told.placements[0].saving.yuan = 27.6
    assert "27.60  35.40" in printed(placements.listing(told.placements), 120)


def test_notes_below_rows_end_where_they_end() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(explain.explanation(canned.explanation(RUNNING.id)))
    note = next(line for line in captured.get().splitlines() if "DEARER" in line)
    assert note == note.rstrip()


def test_every_state_has_a_colour() -> None:
    for value in job_pb2.JobState.values():
        if value:
            styled = common.job_state(value)
            assert isinstance(styled, Text)
            assert styled.style


def test_every_lifecycle_reads_as_a_word() -> None:
    names = map(placement_pb2.NodeLifecycle.Name, placement_pb2.NodeLifecycle.values())
    assert {common.state_word(n) for n in names} >= {"ready", "suspect", "lost"}


@pytest.mark.parametrize(
    ("outcome", "state", "first", "then"),
    [
        (Outcome.UNPLACED, JobState.FAILED, "Job 1 failed: its deadline", "Waited, as told then: "),
        (Outcome.UNPLACED, JobState.SUSPENDED, "Job 1 suspended: its", "Waited, as told then: "),
        (Outcome.PLANNED, JobState.CANCELLED, "Job 1 cancelled: its", "Planned, as told then: "),
        (Outcome.UNPLACED, JobState.PENDING, "Job 1 waits: ", ""),
        (Outcome.PLACED, JobState.SUCCEEDED, "Job 1 placed: ", ""),
    ],
)
def test_a_job_that_has_ended_does_not_wait(
    outcome: Outcome, state: JobState, first: str, then: str
) -> None:
    told = canned.explanation("1")
    told.ClearField("waited")
    told.outcome = placement_pb2.Outcome.Value(f"OUTCOME_{outcome}")
    job = job_pb2.Job(state=job_pb2.JobState.Value(f"JOB_STATE_{state}"))
    job.reason.message = "its deadline has passed"
    lines = printed(explain.explanation(told, None, job), 200).splitlines()
    assert lines[0].startswith(first)
    assert lines[1].startswith(then) if then else not lines[1]
