"""Whatever a collector answers or raises, the agent has a report to send."""

import asyncio
from dataclasses import fields
from datetime import UTC
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agents.collectors.accelerators import AcceleratorFacts, Device, Sick
from agents.collectors.base import CollectorError, Span
from agents.collectors.host import HostFacts
from agents.collectors.reading import Reading
from agents.collectors.readings import Readings, SiteReadings
from agents.report import Reporter
from agents.wire import Terms
from scheduler.domain.series import Quantile, Series
from tests.fakes.agent import config
from tests.fakes.clock import real_clock
from westward.v1 import node_pb2

TERMS = Terms(
    clock=real_clock(), gateways={}, report_interval_s=60.0, slot_s=900.0, horizon_s=86400.0
)

# Also lone surrogates, which names of files may hold, and no message.
texts = st.text(st.characters(exclude_categories=()), max_size=8)
numbers = st.floats() | st.integers(-(2**70), 2**70)
figures = st.none() | numbers
times = st.datetimes(timezones=st.just(UTC))
series = st.builds(
    Series,
    times,
    numbers,
    st.lists(numbers, max_size=3).map(tuple),
    texts,
    st.lists(st.builds(Quantile, numbers, st.lists(numbers, max_size=3).map(tuple)), max_size=2),
    read_at=st.none() | times,
    trouble=texts,
    measured=st.integers(-2, 5),
    from_share=st.booleans(),
)
devices = st.builds(Device, index=st.integers(), id=texts, name=texts, power_w=figures, sick=texts)
accelerators = st.builds(
    AcceleratorFacts,
    texts,
    st.integers(-5, 2**40),
    numbers,
    source=texts,
    pflops=numbers,
    memory_gb=numbers,
    draw_kw=figures,
    sick=st.lists(st.builds(Sick, st.integers(), texts, texts), max_size=3).map(tuple),
    devices=st.lists(devices, max_size=3).map(tuple),
)
hosts = st.builds(HostFacts, *[numbers for _ in fields(HostFacts)])
errors = st.builds(CollectorError, texts) | st.builds(ValueError, texts) | st.builds(OSError, texts)
anything = st.none() | texts | numbers | st.builds(dict)


class Answers:
    """A collector that answers, or raises, what it was made with."""

    name = "strange"

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def read(self, span: Span) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Session:
    """Takes one report."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        self.sent = node_pb2.Report()

    async def send(self, report: node_pb2.Report) -> int:
        self.sent = node_pb2.Report.FromString(report.SerializeToString())
        self.heard.set()
        return 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    accelerators | errors,
    hosts | errors,
    st.lists(series | errors, min_size=4, max_size=4),
    st.data(),
)
def test_any_output_of_any_collector_leaves_a_report_to_send(
    tmp_path: Path, of_cards: Any, of_host: Any, of_site: list[Any], data: st.DataObject
) -> None:
    settings = config(tmp_path, 1)
    assert settings.head is not None
    known = Readings.configured(settings)
    if data.draw(st.booleans(), label="of another kind altogether"):
        of_cards = data.draw(anything)
    answers: list[Reading[Any]] = [Reading(Answers(a)) for a in (of_cards, of_host, *of_site)]
    site = SiteReadings(settings.head, *answers[2:])
    readings = Readings(answers[0], answers[1], site, known.meter, known.attempts_dir)
    session = Session()

    async def one_report() -> None:
        reporting = asyncio.create_task(Reporter(readings, None).run(session, TERMS))  # type: ignore[arg-type]
        sent = asyncio.create_task(session.heard.wait())
        await asyncio.wait({reporting, sent}, return_when=asyncio.FIRST_COMPLETED)
        assert session.heard.is_set() and not reporting.done(), reporting.result()
        reporting.cancel()

    # Rendering thousands of errors takes longer than all else.
    with capture_logs():
        asyncio.run(one_report())
