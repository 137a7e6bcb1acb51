"""What Prometheus is told: every figure of the catalogue, and as it is."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from scheduler.config import ConfigError, load
from scheduler.dispatch.leases import Leases
from scheduler.domain.explanation import Saving
from scheduler.domain.fleet import Rtt
from scheduler.domain.job import AttemptState, JobState
from scheduler.domain.transitions import Event
from scheduler.metrics.catalogue import METRICS
from scheduler.metrics.serving import Figures, measured, served
from scheduler.metrics.tally import Tally
from tests.fakes.clock import ManualClock
from tests.fakes.jobs import WHY, a_change, an_attempt
from tests.fakes.planning import GPU_POWER_KW, HEAD, PUE, Desk, desk, nothing, place, plan_of

SAVING = Saving(
    origin_yuan=3.0, yuan=1.0, origin_carbon_kg=5.0, carbon_kg=2.0, origin_kwh=5.0, kwh=4.0
)


@dataclass
class Bench:
    desk: Desk
    figures: Figures

    def value(self, name: str, **labels: str) -> float | None:
        """As a scrape has it."""
        found = [
            sample.value
            for family in text_string_to_metric_families(
                generate_latest(self.figures.registry).decode()
            )
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) < 2
        return found[0] if found else None

    def pass_s(self, seconds: float) -> None:
        cast(ManualClock, self.desk.clock).pass_s(seconds)
        self.desk.fleet.heard(HEAD.node_id)


def figures_of(made: Desk) -> Figures:
    return Figures(
        book=made.book,
        fleet=made.fleet,
        loop=made.loop,
        leases=Leases(made.clock, 30.0),
        clock=made.clock,
        planner_pid=lambda: None,
    )


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with desk(tmp_path) as made:
        yield Bench(made, figures_of(made))


async def test_the_figures_follow_a_job(bench: Bench) -> None:
    at_work, value = bench.desk, bench.value
    job = await at_work.submit()
    assert value("westward_jobs_pending", reason="NOT_PLANNED_YET") == 1
    at_work.decide = nothing
    await at_work.loop.round("submit")
    assert value("westward_jobs_pending", reason="NOT_PLANNED_YET") == 0
    assert value("westward_jobs_pending", reason="CAPACITY") == 1
    at_work.decide = lambda snapshot: plan_of(snapshot, place(snapshot, snapshot.jobs[0]))
    await at_work.loop.round("tick")
    assert value("westward_jobs", state="PENDING") == 0
    assert value("westward_jobs", state="ASSIGNED") == 1
    assert value("westward_attempts", state="ASSIGNED") == 1
    assert value("westward_jobs_pending", reason="CAPACITY") == 0
    assert value("westward_cluster_accelerators_busy", cluster="qingyang") == 1
    assert value("westward_cluster_accelerators", cluster="qingyang") == 8
    assert value("westward_cluster_leases", cluster="qingyang") == 1
    drawn = GPU_POWER_KW * PUE * 1000
    assert value("westward_cluster_load_watts", cluster="qingyang") == pytest.approx(drawn)
    assert value("westward_cluster_green_allocated_watts", cluster="qingyang") == pytest.approx(
        drawn
    )
    assert value("westward_rounds_total", kind="whole") == 2
    assert value("westward_round_seconds_count", kind="whole") == 2
    assert value("westward_round_gap_ratio") == 0.25
    assert value("westward_round_placed_total") == 1
    after = await at_work.book.get(job.id)
    assert after.attempt is not None
    failed = replace(after.attempt, state=AttemptState.FAILED, reason=WHY)
    await at_work.book.apply(a_change(job.id, Event.FAIL_FINAL, attempt=failed))
    assert value("westward_attempts_ended_total", state="FAILED", reason="CHOSEN") == 1
    assert value("westward_jobs_ended_total", state="FAILED") == 1
    assert value("westward_cluster_load_watts", cluster="qingyang") == 0
    assert value("westward_job_events_total", event="SUBMIT") == 1


async def test_the_figures_of_a_cluster(bench: Bench) -> None:
    at_work, value = bench.desk, bench.value
    rtt = Rtt(region="shanghai", p50_ms=12, p95_ms=13.5, p99_ms=15, loss=0, samples=50)
    at_work.fleet.report_rtt(HEAD.node_id, [rtt])
    assert value("westward_rtt_p95_seconds", cluster="qingyang", region="shanghai") == 0.0135
    assert value("westward_cluster_price_yuan_per_kilowatthour", cluster="qingyang") == 0.4
    assert value("westward_cluster_green_supply_watts", cluster="qingyang") == 10_000
    assert value("westward_cluster_power_cap_watts", cluster="qingyang") is None
    assert value("westward_agents", cluster="qingyang", lifecycle="READY") == 1
    assert value("westward_cluster_serving", cluster="qingyang") == 1
    at_work.fleet.report_serving(HEAD.node_id, "Ray does not answer")
    assert value("westward_cluster_up", cluster="qingyang") == 1
    assert value("westward_cluster_serving", cluster="qingyang") == 0
    cast(ManualClock, at_work.clock).pass_s(100)
    assert value("westward_cluster_up", cluster="qingyang") == 0
    assert value("westward_agents", cluster="qingyang", lifecycle="READY") == 0
    assert value("westward_agents", cluster="qingyang", lifecycle="LOST") == 1
    assert value("westward_cluster_accelerators", cluster="qingyang") == 0


@pytest.mark.parametrize(
    ("state", "event", "kept_s", "share"),
    [
        (AttemptState.SUCCEEDED, Event.SUCCEED, 0.0, 1.0),
        (AttemptState.FAILED, Event.FAIL_RETRY, 0.0, 0.0),
        (AttemptState.FAILED, Event.FAIL_RETRY, 150.0, 0.25),
    ],
    ids=["all of it", "lost", "a quarter was kept"],
)
async def test_what_a_run_saved_is_counted_when_it_has_ended(
    bench: Bench, state: AttemptState, event: Event, kept_s: float, share: float
) -> None:
    job = await bench.desk.submit()
    await bench.desk.loop.round("submit")
    [(_, placement)] = await bench.desk.store.jobs.placements(limit=9)
    assert placement.end_at - placement.start_at == timedelta(seconds=600)
    tally = bench.figures.tally
    tally.placed([replace(placement, saving=SAVING)])
    after = await bench.desk.book.get(job.id)
    assert after.attempt is not None
    await bench.desk.book.apply(a_change(job.id, Event.START))
    ended = replace(after.attempt, state=state, reason=WHY, kept_s=kept_s)
    # What its own book says of the work that was kept is not what is tested here.
    step = await bench.desk.book.apply(a_change(job.id, Event.CANCEL))
    tally.on_step(replace(step, job=replace(step.job, attempts=(ended,))))
    assert bench.value("westward_run_cost_yuan_total", where="origin") == 3.0 * share
    assert bench.value("westward_run_cost_yuan_total", where="west") == 1.0 * share
    assert bench.value("westward_run_carbon_grams_total", where="west") == 2000.0 * share
    assert bench.value("westward_run_energy_joules_total", where="west") == 4 * 3.6e6 * share


async def test_a_tally_that_began_late_counts_the_same(bench: Bench) -> None:
    at_work = bench.desk
    for _ in range(6):
        await at_work.submit()
    at_work.decide = lambda snapshot: plan_of(
        snapshot, *(place(snapshot, job) for job in snapshot.jobs[:3])
    )
    await at_work.loop.round("submit")
    first = next(iter(at_work.book.active().values()))
    await at_work.book.cancel(first.id)
    late = Tally(at_work.book.active(), at_work.fleet.told)
    early = bench.figures.tally
    for name in ("jobs", "attempts", "leases", "busy_gpus"):
        assert +getattr(early, name) == +getattr(late, name), name
    assert early.it_watts() == late.it_watts()
    assert early.jobs.total() == len(at_work.book.active())
    assert Counter(early.jobs)[JobState.PENDING] == 3


async def test_after_a_restart_the_load_waits_for_the_nodes(bench: Bench) -> None:
    job = await bench.desk.submit()
    attempt = an_attempt(job.id, nodes=("qingyang-9",))
    await bench.desk.book.apply(a_change(job.id, Event.ASSIGN, attempt=attempt))
    assert bench.value("westward_cluster_load_watts", cluster="qingyang") == 0
    bench.desk.fleet.connect(replace(HEAD, node_id="qingyang-9", head=False, incarnation="c"))
    # It has said hello, and nothing of itself yet.
    assert bench.value("westward_cluster_load_watts", cluster="qingyang") == 0
    power = {"gpus": 8, "gpu_power_kw": GPU_POWER_KW}
    bench.desk.fleet.report_node("qingyang-9", power)
    expected = pytest.approx(GPU_POWER_KW * PUE * 1000)
    assert bench.value("westward_cluster_load_watts", cluster="qingyang") == expected
    assert bench.value("westward_cluster_load_watts", cluster="qingyang") == expected


async def test_nothing_is_exported_that_the_catalogue_does_not_name(bench: Bench) -> None:
    text = generate_latest(bench.figures.registry).decode()
    exported = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    named = {metric.name for metric in METRICS}
    assert {name for name in exported if not name.startswith("process_")} == named
    assert "_created" not in text


async def test_it_is_served_over_http(bench: Bench) -> None:
    async with served("127.0.0.1:0", bench.figures.registry) as port:
        address = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as web, web.get(f"{address}/metrics") as answer:
            assert answer.status == 200
            text = await answer.text()
            assert answer.headers["Content-Type"].startswith("text/plain")
        assert "westward_jobs{" in text
        with pytest.raises(ConfigError, match=r"metrics\.listen"):
            async with served(f"127.0.0.1:{port}", bench.figures.registry):
                pass


async def test_nothing_is_counted_where_nothing_is_served(bench: Bench) -> None:
    def never() -> Figures:
        raise AssertionError("not asked for")

    async with measured(None, never, bench.desk.store):
        pass


async def test_what_runs_at_the_start_is_known(bench: Bench) -> None:
    await bench.desk.submit()
    await bench.desk.loop.round("submit")
    before = set(asyncio.all_tasks())
    made: list[Figures] = []

    def figures() -> Figures:
        made.append(figures_of(bench.desk))
        return made[-1]

    async with measured("127.0.0.1:0", figures, bench.desk.store):
        assert made[0].tally.leases["qingyang"] == 1
        assert {task.get_name() for task in asyncio.all_tasks() - before} >= {"event loop lag"}
    assert "event loop lag" not in {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize("listen", ["9464", "localhost", "127.0.0.1:port"])
def test_an_address_that_is_none_is_refused(listen: str, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.yaml"
    file.write_text(f'metrics: {{listen: "{listen}"}}\n')
    with pytest.raises(ConfigError, match=r"metrics\.listen"):
        load(file)
