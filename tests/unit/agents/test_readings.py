"""All sources of an agent together: what of them becomes facts, also when a driver falls silent."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.message import Message

from agents import sickfile
from agents.collectors import readings as module
from agents.collectors.accelerators import AcceleratorFacts, Device, ReadAccelerators, Sick
from agents.collectors.base import CollectorError, Span
from agents.collectors.reading import Reading
from agents.collectors.readings import Readings
from agents.config import Accelerators
from agents.report import Reporter
from agents.wire import Terms
from tests.fakes.agent import config
from tests.fakes.clock import real_clock

SPAN = Span(datetime(2026, 6, 1, tzinfo=UTC), 900.0, 86400.0)
TERMS = Terms(
    clock=real_clock(), gateways={}, report_interval_s=0.05, slot_s=900.0, horizon_s=86400.0
)
GPUS = [Device(index=0, id="GPU-0", name="A800"), Device(index=1, id="GPU-1", name="A800")]


class Driver:
    source = "test driver"
    draws_every_s = 1.0

    def __init__(self) -> None:
        self.told: list[Device] | None = GPUS

    def devices(self) -> list[Device]:
        if self.told is None:
            raise CollectorError("the driver hangs")
        return self.told

    draws = devices


def of(folder: Path, driver: Driver) -> Readings:
    known = Readings.configured(config(folder, 1))
    keys = Accelerators(source="nvidia", gpu_power_kw=0.5)
    accelerators: Reading[AcceleratorFacts] = Reading(ReadAccelerators(keys, driver))
    return Readings(accelerators, known.host, known.site, known.meter, known.attempts_dir)


async def test_a_driver_that_stays_silent_withdraws_its_accelerators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver()
    readings = of(tmp_path, driver)
    await readings.refresh(SPAN)
    facts = readings.node_facts()
    assert facts is not None and (facts.gpus, facts.gpu_source) == (2, "test driver")
    driver.told = None
    await readings.refresh(SPAN)
    facts = readings.node_facts()
    assert facts is not None and facts.gpus == 2, "one bad reading is no reason yet"
    monkeypatch.setattr(module, "WITHDRAW_AFTER_S", 0.0)
    facts = readings.node_facts()
    assert facts is not None and (facts.accelerator, facts.gpus) == ("A800", 0)
    assert [(one.id, one.reason) for one in facts.sick] == [
        ("GPU-0", "the driver hangs"),
        ("GPU-1", "the driver hangs"),
    ]
    driver.told = GPUS
    await readings.refresh(SPAN)
    facts = readings.node_facts()
    assert facts is not None and (facts.gpus, len(facts.sick)) == (2, 0)


async def test_a_driver_that_never_spoke_leaves_a_node_without_accelerators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver()
    driver.told = None
    readings = of(tmp_path, driver)
    await readings.refresh(SPAN)
    assert readings.node_facts() is None
    monkeypatch.setattr(module, "WITHDRAW_AFTER_S", 0.0)
    facts = readings.node_facts()
    assert facts is not None and (facts.gpus, facts.cpus > 0) == (0, True)
    assert facts.sick[0].reason == "the driver hangs"


async def test_a_series_whose_source_fails_is_told_with_the_reason(tmp_path: Path) -> None:
    readings = of(tmp_path, Driver())
    await readings.refresh(SPAN)
    before = readings.site_facts()
    (tmp_path / "green.csv").unlink()
    await readings.refresh(SPAN)
    after = readings.site_facts()
    assert before is not None and after is not None
    assert list(after.green_supply_kw.values) == list(before.green_supply_kw.values)
    assert (before.green_supply_kw.trouble, after.price_yuan_per_kwh.trouble) == ("", "")
    assert "green.csv: cannot be read" in after.green_supply_kw.trouble
    assert after.green_supply_kw.HasField("read_at")


class Stream:
    """Takes reports and says nothing."""

    def __init__(self) -> None:
        self.reports = 0

    async def send(self, **body: Message) -> int:
        self.reports += 1
        return self.reports


async def test_what_falls_sick_while_the_scheduler_is_away_is_known(tmp_path: Path) -> None:
    driver, stream = Driver(), Stream()
    readings = of(tmp_path, driver)
    node_dir = readings.attempts_dir.parent
    node_dir.mkdir(parents=True)
    sickfile.write(node_dir, [Sick(1, "GPU-1", "XID 31, of the daemon before")])
    reporter = Reporter(readings, None)
    alone = asyncio.create_task(reporter.watch_alone())
    connected = asyncio.create_task(reporter.run(stream, TERMS))  # type: ignore[arg-type]
    await eventually(lambda: stream.reports > 0)
    assert sickfile.read(node_dir) == []
    connected.cancel()
    driver.told = [replace(GPUS[0], sick="XID 79"), GPUS[1]]
    await eventually(lambda: sickfile.read(node_dir) == [Sick(0, "GPU-0", "XID 79")])
    alone.cancel()


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            # Nobody tells when a file or a count has changed.
            await asyncio.sleep(0.01)
