"""Numbers that are legal floats and no sane wish: refused, so that no round has to bear them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.job import AcceleratorOption, Command, DataInput, JobSpec, WorkerShape
from scheduler.domain.validation import violations

NOW_AT = datetime(2026, 6, 18, tzinfo=UTC)
SPEC = JobSpec(
    name="j", tenant="t", region="shanghai", work=Command(("true",)), expected_duration_s=60
)


def fields(spec: JobSpec) -> list[str]:
    found = violations(spec, now_at=NOW_AT, regions=["shanghai"], places=[], nodes=[])
    return [violation.field for violation in found]


def test_the_spec_itself_is_fine() -> None:
    assert fields(SPEC) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (replace(SPEC, earliest_start_at=NOW_AT + timedelta(days=400)), "earliest_start_at"),
        (replace(SPEC, earliest_start_at=datetime.max.replace(tzinfo=UTC)), "earliest_start_at"),
        (replace(SPEC, per_worker=WorkerShape(cpus=1e-320)), "per_worker.cpus"),
        (replace(SPEC, per_worker=WorkerShape(memory_gb=1e-9)), "per_worker.memory_gb"),
        (
            replace(SPEC, accelerators=(AcceleratorOption("A800", 1e-300),)),
            "accelerators[0].relative_speed",
        ),
        (
            replace(
                SPEC,
                expected_duration_s=300 * 86400.0,
                accelerators=(AcceleratorOption("A800", 0.5),),
            ),
            "accelerators[0].relative_speed",
        ),
        (replace(SPEC, workers=4096, per_worker=WorkerShape(cpus=1e308)), "per_worker.cpus"),
        (replace(SPEC, per_worker=WorkerShape(cpus=4097)), "per_worker.cpus"),
        (replace(SPEC, per_worker=WorkerShape(memory_gb=65537)), "per_worker.memory_gb"),
        (replace(SPEC, max_rtt_ms=1e308), "max_rtt_ms"),
        (replace(SPEC, deadline_at=NOW_AT + timedelta(days=36501)), "deadline_at"),
        (replace(SPEC, deadline_at=datetime.max.replace(tzinfo=UTC)), "deadline_at"),
        (replace(SPEC, data=(DataInput(1.0, "x" * 10**6),)), "data[0].location"),
        (replace(SPEC, must_be_in=("x" * 10**6,)), "must_be_in[0]"),
        (replace(SPEC, must_not_be_in=("",)), "must_not_be_in[0]"),
        (replace(SPEC, data=(DataInput(1e308, "shanghai"),)), "data[0].size_gb"),
    ],
)
def test_what_no_round_should_have_to_bear_is_refused(spec: JobSpec, field: str) -> None:
    assert field in fields(spec)


def test_the_most_of_everything_is_allowed() -> None:
    most = WorkerShape(gpus=1024, cpus=4096, memory_gb=65536)
    late_at = NOW_AT + timedelta(days=36500)
    assert fields(replace(SPEC, per_worker=most, max_rtt_ms=1e6, deadline_at=late_at)) == []
