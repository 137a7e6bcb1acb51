"""A whole agent against a scheduler played by the test, over real sockets."""

import asyncio
from pathlib import Path

import pytest

from agents import lease, link
from agents.attempts import TELL_EVERY_S
from agents.gateway import serving
from agents.lease import Lease
from agents.wire import assignment
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode
from tests.fakes.agent import a_while, agent, attempt, config, connected
from tests.fakes.executor import MemoryExecutor
from tests.fakes.node_service import FakeScheduler, Stream, served, welcome
from westward.v1 import job_pb2, node_pb2

RUNNING = job_pb2.ATTEMPT_STATE_RUNNING
STOPPED = job_pb2.ATTEMPT_STATE_STOPPED


async def test_first_report_is_full_and_later_ones_hold_only_changes(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    async with connected(tmp_path, scheduler) as stream:
        await scheduler.until(lambda: len(stream.reports) >= 4)
    assert stream.metadata["authorization"] == "Bearer open sesame"
    assert stream.hello.head and stream.hello.cluster == "qingyang"
    first, *later = [message.report for message in stream.reports]
    assert (first.node.accelerator, first.node.gpus, first.node.gpu_power_kw) == ("A800", 8, 0.65)
    assert first.node.cpus > 0 and first.node.memory_gb > 0
    assert first.site.province == "Gansu"
    assert not first.site.HasField("power_cap_kw")
    price = first.site.price_yuan_per_kwh
    # Two days, though the scheduler plans one.
    assert len(price.values) in (192, 193) and price.step_s == 900
    assert set(price.values) == {0.597, 0.398, 0.199}
    assert max(first.site.green_supply_kw.values) == 230
    assert not any(report.HasField("site") for report in later[1:])


async def test_unacknowledged_parts_are_sent_again(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    scheduler.acknowledge = False
    async with connected(tmp_path, scheduler) as stream:
        await scheduler.until(lambda: len(stream.reports) >= 3)
        assert all(message.report.HasField("site") for message in stream.reports)


async def test_agent_comes_back_with_a_full_report_when_the_scheduler_restarts(
    tmp_path: Path,
) -> None:
    executor = MemoryExecutor()
    before, after = FakeScheduler(), FakeScheduler()
    async with served(before) as port:
        running = agent(config(tmp_path, port), executor)
        await running.__aenter__()
        await before.until(lambda: before.streams and before.streams[0].observed)
        before.streams[0].desire(attempt("j1-1"))
        await before.until(lambda: before.streams[0].states() == {"j1-1": RUNNING})
    async with served(after, port):
        await after.until(lambda: after.streams and after.streams[0].observed, 20)
        stream = after.streams[0]
        await after.until(lambda: stream.reports)
        assert stream.reports[0].report.HasField("site")
        assert stream.states() == {"j1-1": RUNNING}
        assert stream.hello.incarnation == before.streams[0].hello.incarnation
    await running.__aexit__(None, None, None)
    assert executor.live() == {"j1-1"}
    assert executor.closed


async def test_a_broken_source_does_not_silence_the_others(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    async with served(scheduler) as port:
        settings = config(tmp_path, port)
        (tmp_path / "green.csv").write_text("hour,kw\n0,minus one\n")
        async with agent(settings, MemoryExecutor()):
            await scheduler.until(lambda: scheduler.streams and scheduler.streams[0].reports)
            site = scheduler.streams[0].reports[0].report.site
            assert not site.HasField("green_supply_kw")
            assert site.HasField("price_yuan_per_kwh")
            (tmp_path / "green.csv").write_text("at,kw\n2000-01-01,5\n2999-01-01,5\n")
            await scheduler.until(
                lambda: scheduler.streams[0].reports[-1].report.site.HasField("green_supply_kw")
            )


@pytest.mark.parametrize("delay_ms", [10, 40])
async def test_round_trip_to_a_delayed_gateway(tmp_path: Path, delay_ms: float) -> None:
    async with serving("shanghai", "127.0.0.1:0", {"qingyang": delay_ms}) as gateway_port:
        gateways = {"shanghai": f"127.0.0.1:{gateway_port}", "beijing": "127.0.0.1:1"}
        scheduler = FakeScheduler(welcome(gateways))
        async with connected(tmp_path, scheduler) as stream:
            await scheduler.until(lambda: any(m.report.rtt for m in stream.reports))
    rtt = next(m.report.rtt for m in stream.reports if m.report.rtt)
    assert [r.region for r in rtt] == ["shanghai"], "nothing is told of a gateway that is away"
    assert rtt[0].samples >= 10 and rtt[0].loss == 0
    assert delay_ms - 1 < rtt[0].p50_ms < delay_ms + 6
    assert rtt[0].p50_ms <= rtt[0].p95_ms <= rtt[0].p99_ms


async def test_attempts_start_stop_and_are_forgotten_once_stored(tmp_path: Path) -> None:
    executor, scheduler = MemoryExecutor(), FakeScheduler()
    async with connected(tmp_path, scheduler, executor) as stream:
        stream.desire(attempt("j1-1"), attempt("j2-1"))
        await scheduler.until(lambda: stream.states() == {"j1-1": RUNNING, "j2-1": RUNNING})
        started_at = stream.observed[-1].observed.attempts[0].started_at
        # The scheduler's power clock shows a day later than the real one.
        assert started_at.seconds == pytest.approx(1_000_000 + 86400, abs=5)
        executor.end("j2-1", AttemptState.SUCCEEDED, Reason(ReasonCode.OK, "done"))
        await scheduler.until(lambda: stream.states()["j2-1"] == job_pb2.ATTEMPT_STATE_SUCCEEDED)
        # It is still wanted: the scheduler has not worked in its end.
        stream.desire(attempt("j1-1"), attempt("j2-1"))
        await a_while(scheduler, stream)
        assert "j2-1" in executor.attempts
        stream.desire()
        await scheduler.until(lambda: stream.states().get("j1-1") == STOPPED)
        stream.desire()
        await scheduler.until(lambda: stream.states() == {} and not executor.attempts)
        # A late repeat starts nothing that has ended here.
        stream.desire(attempt("j1-1"))
        await a_while(scheduler, stream)
    assert executor.starts == ["j1-1", "j2-1"]


async def test_every_answer_lists_all_that_the_answered_state_names(tmp_path: Path) -> None:
    """What is named and not listed, the scheduler takes for gone."""
    executor, scheduler = MemoryExecutor(), FakeScheduler()
    executor.stubborn.add("j1-1")
    async with connected(tmp_path, scheduler, executor) as stream:
        assert stream.observed[0].observed.answers_desired_seq == 0
        stream.desire(attempt("j1-1"), seq=50)
        await scheduler.until(lambda: stream.states() == {"j1-1": RUNNING})
        # The next attempt of the job waits for the end of this one, and is told of meanwhile.
        stream.desire(attempt("j1-2", epoch=2), attempt("j2-1"), seq=60)
        await scheduler.until(lambda: stream.states().get("j2-1") == RUNNING)
        assert stream.states()["j1-2"] == job_pb2.ATTEMPT_STATE_STARTING
        executor.end("j1-1", AttemptState.STOPPED, Reason(ReasonCode.STOPPED, "at last"))
        await scheduler.until(lambda: stream.states().get("j1-2") == RUNNING)
        stream.desire(seq=70)
        await scheduler.until(lambda: stream.observed[-1].observed.answers_desired_seq == 70)
        named = {0: set[str](), 50: {"j1-1"}, 60: {"j1-2", "j2-1"}, 70: set[str]()}
        for message in stream.observed:
            listed = {one.attempt_id for one in message.observed.attempts}
            assert named[message.observed.answers_desired_seq] <= listed


async def test_a_desired_state_that_changes_nothing_is_not_answered_at_once(
    tmp_path: Path,
) -> None:
    executor, scheduler = MemoryExecutor(), FakeScheduler()

    def renew(stream: Stream, message: node_pb2.ConnectRequest) -> None:
        if message.WhichOneof("body") == "observed":
            stream.desire(attempt("j1-1"))

    scheduler.on_message = renew
    async with connected(tmp_path, scheduler, executor) as stream:
        await scheduler.until(lambda: stream.states() == {"j1-1": RUNNING})
        await a_while(scheduler, stream)
        answers = len(stream.observed)
        await a_while(scheduler, stream)
        assert len(stream.observed) <= answers + 1


async def test_an_attempt_that_ran_before_and_is_unknown_is_not_started_again(
    tmp_path: Path,
) -> None:
    executor, scheduler = MemoryExecutor(), FakeScheduler()
    async with connected(tmp_path, scheduler, executor) as stream:
        known = attempt("j1-1", may_start=False)
        del known.spec.command.argv[:]  # what nobody starts need not be told in full
        stream.desire(known)
        await scheduler.until(lambda: stream.states() == {"j1-1": job_pb2.ATTEMPT_STATE_FAILED})
    assert stream.observed[-1].observed.attempts[0].reason.code == "WORKER_LOST"
    assert executor.starts == []


async def test_an_older_desired_state_of_the_stream_changes_nothing(tmp_path: Path) -> None:
    executor, scheduler = MemoryExecutor(), FakeScheduler()
    async with connected(tmp_path, scheduler, executor) as stream:
        stream.desire(attempt("j1-1"), seq=100)
        await scheduler.until(lambda: stream.states() == {"j1-1": RUNNING})
        stream.desire(seq=99)
        stream.desire(attempt("j1-1"), attempt("j3-1"), seq=101)
        await scheduler.until(lambda: stream.states() == {"j1-1": RUNNING, "j3-1": RUNNING})
    assert executor.stops == []


async def test_what_makes_no_sense_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    executor, scheduler = MemoryExecutor(), FakeScheduler()
    async with connected(tmp_path, scheduler, executor) as stream:
        evil = attempt("../../etc-1")
        rankless = attempt("j9-1")
        rankless.workers[0].rank = 7
        elsewhere = attempt("j8-1")
        elsewhere.workers[0].node_id = "../../etc"
        idle = attempt("j7-1")
        del idle.spec.command.argv[:]
        stream.send(welcome=welcome())
        stream.send(log_ack=node_pb2.LogAck(attempt_id="nobody-1", offset=2**60))
        stream.send(report_ack=node_pb2.ReportAck(seq=2**60))
        stream.send(working_dir_chunk=node_pb2.WorkingDirChunk(sha256="../x", data=b"x"))
        stream.desire(ttl_s=float("nan"))
        stream.desire(evil, rankless, elsewhere, idle, attempt("j1-1"))
        await scheduler.until(lambda: stream.states().get("j1-1") == RUNNING)
        failed = job_pb2.ATTEMPT_STATE_FAILED
        refused = {"../../etc-1": failed, "j9-1": failed, "j8-1": failed, "j7-1": failed}
        assert stream.states() == {**refused, "j1-1": RUNNING}
    assert executor.starts == ["j1-1"]
    assert len(scheduler.streams) == 1


async def test_attempts_stop_before_a_silent_schedulers_lease_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "BACKOFF_MOST_S", 0.3)
    executor, scheduler = MemoryExecutor(), FakeScheduler()
    async with served(scheduler) as port:
        running = agent(config(tmp_path, port), executor)
        await running.__aenter__()
        await scheduler.until(lambda: scheduler.streams and scheduler.streams[0].observed)
        sent_s = lease.lease_clock_s()
        scheduler.streams[0].desire(attempt("j1-1"), ttl_s=TELL_EVERY_S)
        await scheduler.until(executor.live)
    await scheduler.until(lambda: not executor.live())
    assert lease.lease_clock_s() - sent_s < TELL_EVERY_S
    assert executor.stops[0][1] < TELL_EVERY_S / 3, "the grace fits into what is left"
    held_until_s = executor.leases[-1].deadline_s
    assert sent_s < held_until_s <= sent_s + TELL_EVERY_S, "the executor holds it to that too"
    async with served(scheduler, port):
        await scheduler.until(lambda: len(scheduler.streams) == 2 and scheduler.streams[1].observed)
        told = scheduler.streams[1].observed[0].observed.attempts[0]
        assert (told.state, told.reason.code) == (STOPPED, "LEASE_EXPIRED")
    await running.__aexit__(None, None, None)


async def test_a_restarted_daemon_keeps_to_the_lease_of_the_one_before(tmp_path: Path) -> None:
    executor = MemoryExecutor()
    async with served(FakeScheduler()) as port:
        settings = config(tmp_path, port)
    await executor.start(assignment(attempt("j1-1"), None))
    now_s = lease.lease_clock_s()
    settings.node_dir.mkdir(parents=True)
    lease.write(Lease(now_s + 1.0, now_s + 0.5), settings.node_dir / "lease.json")
    async with agent(settings, executor):
        await asyncio.sleep(0.2)
        assert executor.live() == {"j1-1"}, "nothing is stopped before its time"
        async with asyncio.timeout(3):
            while executor.live():
                await asyncio.sleep(0.01)


async def test_a_daemon_that_was_away_for_longer_than_the_lease_stops_at_once(
    tmp_path: Path,
) -> None:
    executor = MemoryExecutor()
    async with served(FakeScheduler()) as port:
        settings = config(tmp_path, port)
    await executor.start(assignment(attempt("j1-1"), None))
    ended_s = lease.lease_clock_s() - 60.0
    settings.node_dir.mkdir(parents=True)
    lease.write(Lease(ended_s, ended_s - 7.0), settings.node_dir / "lease.json")
    async with agent(settings, executor):
        async with asyncio.timeout(3):
            while executor.live():
                await asyncio.sleep(0.01)
    assert executor.stops == [("j1-1", 0.0)], "the next attempt may run elsewhere by now"


async def test_a_node_without_the_head_role_reports_itself_alone(tmp_path: Path) -> None:
    scheduler = FakeScheduler()
    async with (
        served(scheduler) as port,
        agent(config(tmp_path, port, head=False), MemoryExecutor()),
    ):
        await scheduler.until(lambda: scheduler.streams and len(scheduler.streams[0].reports) > 2)
    stream = scheduler.streams[0]
    assert not stream.hello.head
    assert not stream.reports[0].report.HasField("site")
    assert stream.observed == []
