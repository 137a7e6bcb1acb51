"""What would be, asked over a real socket of a real planner; and that asking changes nothing."""

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from scheduler.domain.job import JobState
from scheduler.planning.preview import Preview
from scheduler.rpc import preview as preview_module
from scheduler.rpc.convert_jobs import spec_to_pb
from tests.fakes.jobs import a_spec
from tests.fakes.questions import Asked, asked
from westward.v1 import job_pb2, placement_pb2, preview_pb2, what_if_pb2


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Asked]:
    async with asked(tmp_path) as made:
        yield made


def a_job(gpus: int = 1, **changes: Any) -> job_pb2.JobSpec:
    message = spec_to_pb(a_spec(**changes))
    message.per_worker.gpus = gpus
    return message


async def preview(service: Asked, *specs: job_pb2.JobSpec) -> placement_pb2.PreviewResponse:
    return await service.placements.Preview(preview_pb2.PreviewRequest(specs=specs))


async def submit(service: Asked, spec: job_pb2.JobSpec, token: str = "", key: str = "") -> str:
    request = job_pb2.SubmitRequest(spec=spec, plan_token=token, idempotency_key=key)
    return (await service.jobs.Submit(request)).job.id


def refused(call: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> tuple[grpc.StatusCode, str]:
    return call.value.code(), call.value.details() or ""


async def test_a_job_that_fits_would_start_now(service: Asked) -> None:
    answer = await preview(service, a_job())
    [job] = answer.jobs
    assert job.outcome == placement_pb2.OUTCOME_PLACED
    assert (job.cluster, job.accelerator, job.start_at) == ("qingyang", "A800", answer.now_at)
    assert job.cost_yuan == pytest.approx(job.energy_kwh * 0.4)
    assert job.explanation.candidates[0].chosen
    assert job.explanation.job_id == ""
    assert not answer.effects
    assert answer.token


async def test_it_tells_who_has_to_give_way(service: Asked) -> None:
    waiting = await submit(service, a_job(8))
    answer = await preview(service, a_job(8, priority=100))
    assert answer.jobs[0].outcome == placement_pb2.OUTCOME_PLACED
    [effect] = answer.effects
    assert (effect.job_id, effect.job_name) == (waiting, "train")
    assert effect.kind == preview_pb2.EFFECT_KIND_LATER
    assert effect.later_s == effect.after.start_at.seconds - effect.before.start_at.seconds > 0


async def test_a_job_that_fits_nowhere_has_a_reason_and_no_token(service: Asked) -> None:
    answer = await preview(service, a_job(max_rtt_ms=5.0))
    assert answer.jobs[0].outcome == placement_pb2.OUTCOME_UNPLACED
    assert answer.jobs[0].explanation.reason.code == "LATENCY_UNKNOWN"
    assert not answer.token


async def test_an_array_is_told_as_a_whole_and_several_jobs_beside_each_other(
    service: Asked,
) -> None:
    array = a_job(8, priority=100)
    array.array.CopyFrom(job_pb2.ArraySpec(tasks=4, chunk_tasks=2))
    alone = a_job(8)
    answer = await preview(service, array, alone)
    whole, other = answer.jobs
    assert (whole.chunks, whole.chunks_now, whole.chunks_later) == (2, 1, 1)
    assert whole.outcome == placement_pb2.OUTCOME_PLANNED
    assert (other.chunks, other.outcome) == (1, placement_pb2.OUTCOME_PLANNED)
    [one] = (await preview(service, alone)).jobs
    assert whole.energy_kwh == pytest.approx(4 * one.energy_kwh)
    assert not answer.token


async def test_it_complains_as_submit_does(service: Asked) -> None:
    bad = a_job(workers=0)
    bad.region = "atlantis"
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await preview(service, a_job(), bad)
    with pytest.raises(grpc.aio.AioRpcError) as submitted:
        await submit(service, bad)
    code, text = refused(told)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text == refused(submitted)[1].replace("spec.", "specs[1].")


async def test_asking_leaves_no_trace(service: Asked) -> None:
    await submit(service, a_job(8, expected_duration_s=7200.0))
    await service.desk.loop.round("submit")
    await submit(service, a_job(8))
    await service.desk.loop.round("submit")
    maker = service.maker
    before = copy.deepcopy((maker._mirror.__dict__, maker._told.__dict__, maker._prices))
    news, whole = maker._news, maker._whole
    answer = await preview(service, a_job(8, priority=50))
    assert answer.effects
    drain = what_if_pb2.WorldChange(drain="qingyang")
    await service.placements.WhatIf(what_if_pb2.WhatIfRequest(changes=[drain]))
    after = (maker._mirror.__dict__, maker._told.__dict__, maker._prices)
    # But that it has been told of changes, of which there were none.
    before[0]["_pages"] = after[0]["_pages"]
    for name in ("_line", "_starts", "_shapes"):
        before[0][name] = after[0][name] = None
    assert before == after
    assert (maker._news, maker._whole) == (news, whole)


async def test_a_token_lets_a_job_in_while_its_answer_holds(service: Asked) -> None:
    token = (await preview(service, a_job())).token
    job_id = await submit(service, a_job(), token)
    planned = service.desk.loop.planned_start(job_id)
    assert planned is not None
    assert (planned.cluster, planned.start_at) == ("qingyang", service.desk.clock.now())
    await service.desk.loop.round("submit")
    [job] = [await service.desk.book.get(job_id)]
    assert job.state is JobState.ASSIGNED


async def test_a_token_refuses_what_fares_worse_and_shows_both(service: Asked) -> None:
    token = (await preview(service, a_job(8))).token
    await submit(service, a_job(8, expected_duration_s=7200.0))
    await service.desk.loop.round("submit")
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await submit(service, a_job(8), token)
    code, text = refused(told)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "the plan was qingyang A800 at once for" in text
    assert "it would now be qingyang A800 at " in text
    assert "120 minutes later; nothing was stored" in text
    assert len(service.desk.book.active()) == 1


async def test_a_repeat_with_its_key_is_not_held_against_the_token_again(service: Asked) -> None:
    token = (await preview(service, a_job(8))).token
    first = await submit(service, a_job(8), token, "k")
    assert await submit(service, a_job(8), token, "k") == first


@pytest.mark.parametrize(
    ("token", "code", "told"),
    [
        ("plan.abc", grpc.StatusCode.INVALID_ARGUMENT, "'plan.abc' is no plan token"),
        ("", grpc.StatusCode.FAILED_PRECONDITION, "of a job that asks for something else"),
    ],
)
async def test_a_wrong_token_is_refused(
    service: Asked, token: str, code: grpc.StatusCode, told: str
) -> None:
    text = token or (await preview(service, a_job(2))).token
    with pytest.raises(grpc.aio.AioRpcError) as call:
        await submit(service, a_job(), text)
    assert refused(call)[0] is code
    assert told in refused(call)[1]


async def test_more_than_a_few_questions_at_once_are_refused(
    service: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_module, "ASKED_MOST", 2)
    async with service.desk.loop._turn:  # a round is in progress
        waiting = [asyncio.ensure_future(preview(service, a_job())) for _ in range(2)]
        while len(service.questions._asked) < 2:
            await asyncio.sleep(0.001)  # for the calls to arrive
        with pytest.raises(grpc.aio.AioRpcError) as call:
            await preview(service, a_job())
    assert refused(call)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert all(answer.jobs for answer in await asyncio.gather(*waiting))


async def test_who_goes_away_does_not_end_a_question_half_way(service: Asked) -> None:
    async with service.desk.loop._turn:
        waiting = asyncio.ensure_future(service.questions.ask(Preview(((a_spec(),),))))
        await asyncio.sleep(0)  # for it to begin
        waiting.cancel()
        await asyncio.wait([waiting])
        assert len(service.questions._asked) == 1
    while service.questions._asked:
        await asyncio.sleep(0.001)  # until it is answered
    await service.desk.loop.round("tick")


async def test_what_if_shows_what_moves(service: Asked) -> None:
    service.cluster("horinger", price=0.5)
    moved = await submit(service, a_job())
    change = what_if_pb2.ForecastChange(
        cluster="qingyang", operation=what_if_pb2.OPERATION_MULTIPLY, value=3
    )
    request = what_if_pb2.WhatIfRequest(changes=[what_if_pb2.WorldChange(price=change)])
    answer = await service.placements.WhatIf(request)
    [effect] = answer.effects
    assert (effect.job_id, effect.kind) == (moved, preview_pb2.EFFECT_KIND_MOVED)
    assert (effect.before.cluster, effect.after.cluster) == ("qingyang", "horinger")
    assert answer.after.cost_yuan == pytest.approx(answer.before.cost_yuan * 0.5 / 0.4)
    nothing = await service.placements.WhatIf(what_if_pb2.WhatIfRequest())
    assert nothing.before == nothing.after == answer.before
    assert not nothing.effects


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (what_if_pb2.WorldChange(drain="nowhere"), "changes[0].drain: 'nowhere' is no cluster"),
        (what_if_pb2.WorldChange(), "changes[0].change: is empty; say what changes"),
        (
            what_if_pb2.WorldChange(
                rtt=what_if_pb2.RttChange(region="x", cluster="qingyang", ms=1)
            ),
            "changes[0].rtt.region: 'x' is no region; known regions: shanghai",
        ),
        (
            what_if_pb2.WorldChange(price=what_if_pb2.ForecastChange(cluster="qingyang")),
            "changes[0].price.operation: is not said",
        ),
        (
            what_if_pb2.WorldChange(
                add_nodes=what_if_pb2.AddedNodes(cluster="qingyang", count=2, accelerator="H800")
            ),
            "no node with 'H800'; there, known accelerators: A800",
        ),
    ],
)
async def test_a_change_that_cannot_be_made_is_refused_by_its_field(
    service: Asked, change: what_if_pb2.WorldChange, told: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as call:
        await service.placements.WhatIf(what_if_pb2.WhatIfRequest(changes=[change]))
    code, text = refused(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert told in text
