"""Bad specs: every fault names the field, the value and the fix."""

from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given

from scheduler.domain.job import (
    AcceleratorOption,
    Command,
    DataInput,
    GreenMatching,
    JobSpec,
    RayEntrypoint,
    WorkerShape,
)
from scheduler.domain.validation import Violation, violations
from tests.fakes.jobs import NOW, a_node, a_spec
from tests.fakes.specs import specs

NODES = (
    a_node(),
    a_node(id="qingyang-2"),
    a_node(id="zhongwei-1", cluster="zhongwei", accelerator="H800", cpus=16.0),
)


def judged(spec: JobSpec, **known: Any) -> list[Violation]:
    world: dict[str, Any] = {
        "now_at": NOW,
        "regions": {"shanghai", "beijing"},
        "places": {"qingyang", "zhongwei", "gansu", "ningxia"},
        "nodes": NODES,
    }
    return violations(spec, **{**world, **known})


def test_a_good_spec_has_no_faults() -> None:
    assert judged(a_spec()) == []


HOUR = timedelta(hours=1)
WHERE = "s3://bucket/x"
A800 = AcceleratorOption("A800")
CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "is empty; give 1 to 128 characters"),
    ({"stop_grace_s": 3601.0}, "stop_grace_s", "3601 is out of bounds; 0 to 3600"),
    ({"restart_s": -1.0, "interruptible": True}, "restart_s", "-1 is out of bounds"),
    ({"checkpoint_uri": WHERE}, "checkpoint_uri", "of use to an interruptible job only"),
    ({"checkpoint_uri": "here", "interruptible": True}, "checkpoint_uri", "'here' is no URI"),
    ({"checkpoint_uri": "file:///a\0b", "interruptible": True}, "checkpoint_uri", "is no URI"),
    ({"checkpoint_interval_s": 9.0}, "checkpoint_interval_s", "to an interruptible job only"),
    ({"interruptible": True, "work": RayEntrypoint("x")}, "interruptible", "given no signal"),
    ({"name": "x" * 129}, "name", "129 characters are over 128"),
    ({"name": "a\x1b[2J"}, "name", "control character"),
    ({"tenant": " "}, "tenant", "is empty"),
    ({"region": "shangai"}, "region", "unknown region 'shangai'; did you mean 'shanghai'? known"),
    ({"region": ""}, "region", "is empty; give a region, known: beijing, shanghai"),
    ({"work": Command(())}, "command.argv", "nothing to run"),
    ({"work": Command(("",))}, "command.argv", "nothing to run"),
    ({"work": Command(("x",) * 1025)}, "command.argv", "1025 arguments are over 1024"),
    ({"work": Command(("x" * 131_073,))}, "command.argv", "bytes are over 131072"),
    ({"work": Command(("a\0b",))}, "command.argv", "NUL"),
    ({"work": RayEntrypoint(" ")}, "ray.entrypoint", "is empty"),
    ({"env": {f"V{i}": "" for i in range(257)}}, "env", "257 variables are over 256"),
    ({"env": {"V": "x" * 65536}}, "env", "bytes are over 65536"),
    ({"env": {"1X": ""}}, "env['1X']", "is not a variable's name"),
    ({"env": {"A=B": ""}}, "env['A=B']", "is not a variable's name"),
    ({"env": {"X": "\0"}}, "env['X']", "NUL"),
    ({"working_dir_sha256": "ABC"}, "working_dir_sha256", "64 hex digits"),
    ({"workers": 0}, "workers", "0 is out of bounds; 1 to 4096"),
    ({"workers": 5000}, "workers", "5000 is out of bounds; 1 to 4096"),
    ({"per_worker": WorkerShape(-2)}, "per_worker.gpus", "-2 is out of bounds; 0 to 1024"),
    ({"per_worker": WorkerShape(0, nan)}, "per_worker.cpus", "nan is out of bounds; greater than"),
    ({"per_worker": WorkerShape(0, 1.0, -inf)}, "per_worker.memory_gb", "-inf is out of bounds"),
    ({"accelerators": (A800, A800)}, "accelerators[1].model", "'A800' is named twice"),
    (
        {"accelerators": (AcceleratorOption("A800", -1.0),)},
        "accelerators[0].relative_speed",
        "-1 is out of bounds; greater than 0, at most 1000",
    ),
    ({"expected_duration_s": 0.0}, "expected_duration_s", "0 is out of bounds; greater than 0"),
    ({"expected_duration_s": nan}, "expected_duration_s", "nan is out of bounds"),
    ({"max_delay_s": -1.0}, "max_delay_s", "-1 is out of bounds; 0 to"),
    ({"deadline_at": NOW - HOUR}, "deadline_at", "is in the past (it is 2026-06-18T02:30:00"),
    (
        {"deadline_at": NOW + HOUR, "earliest_start_at": NOW + HOUR - timedelta(minutes=1)},
        "deadline_at",
        "started at 2026-06-18T03:29:00+00:00 at the earliest, 300 s long",
    ),
    ({"max_rtt_ms": -1.0}, "max_rtt_ms", "-1 is out of bounds; 0 to 1e+06"),
    ({"max_rtt_ms": inf}, "max_rtt_ms", "inf is out of bounds"),
    ({"min_green_share": 1.7}, "min_green_share", "1.7 is not a share; 0 to 1; write 0.7 for 70 %"),
    ({"min_green_share": 80.0}, "min_green_share", "80 is not a share; 0 to 1; write 0.8 for 80"),
    ({"green_matching": GreenMatching.RUN}, "green_matching", "min_green_share holds; set that"),
    ({"min_green_share": nan}, "min_green_share", "nan is not a share; 0 to 1"),
    ({"data": (DataInput(1.0, "shanghai"),) * 65}, "data", "65 entries are over 64"),
    ({"data": (DataInput(-1.0, "gansu"),)}, "data[0].size_gb", "-1 is out of bounds; 0 to 1e+06"),
    ({"data": (DataInput(1.0, "mars"),)}, "data[0].location", "unknown region or place 'mars'"),
    ({"must_be_in": ("gansoo",)}, "must_be_in[0]", "did you mean 'gansu'?"),
    ({"must_not_be_in": ("gansu", "x")}, "must_not_be_in[1]", "unknown place 'x'"),
    (
        {"must_be_in": ("gansu",), "must_not_be_in": ("gansu",)},
        "must_not_be_in",
        "gansu must not and must hold the job",
    ),
    ({"priority": 1001}, "priority", "1001 is out of bounds; -1000 to 1000"),
    ({"max_attempts": 0}, "max_attempts", "0 is out of bounds; 1 to 100"),
    (
        {"workers": 17},
        "workers",
        "17 workers of 1 GPUs, 4 CPUs and 16 GB each exceed every cluster even when empty; "
        "the most that fit are 16, at qingyang on A800; ask for 16 or fewer",
    ),
    (
        {"per_worker": WorkerShape(9, 1.0, 1.0)},
        "workers",
        "no known node holds one worker of 9 GPUs, 1 CPUs and 1 GB even when empty",
    ),
]


@pytest.mark.parametrize(
    ("changes", "field", "said"), CASES, ids=[f"{c[1]}: {c[2]}" for c in CASES]
)
def test_a_fault_is_named(changes: dict[str, Any], field: str, said: str) -> None:
    found = judged(a_spec(**changes))
    assert [violation.field for violation in found] == [field]
    assert said in found[0].description


@pytest.mark.parametrize(
    "changes",
    [
        {"deadline_at": NOW + timedelta(seconds=301)},  # twice as fast on an H800
        {"min_green_share": 1.0, "max_rtt_ms": 0.0},
        {"workers": 16},
        {"accelerators": (AcceleratorOption("B200"),), "workers": 4096},  # may still join
        {"per_worker": WorkerShape(0, 0.1, 0.1), "workers": 1280},
        {"data": (DataInput(0.0, "beijing"), DataInput(5.0, "zhongwei"))},
        {"work": Command(("sh", "-c", "echo a\necho b\t"))},
    ],
)
def test_what_is_just_possible_is_let_through(changes: dict[str, Any]) -> None:
    assert judged(a_spec(**changes)) == []


def test_before_anybody_has_reported_places_and_sizes_are_not_judged() -> None:
    spec = a_spec(must_be_in=("qingyang",), workers=4000, data=(DataInput(1.0, "qingyang"),))
    assert judged(spec, places=(), nodes=()) == []


def test_every_fault_is_told_at_once() -> None:
    spec = a_spec(name="", region="", workers=0, min_green_share=2.0, priority=9999)
    fields = [violation.field for violation in judged(spec)]
    assert fields == ["name", "region", "workers", "priority", "min_green_share"]


@given(spec=specs())
def test_whatever_is_sent_is_judged_in_bounded_words(spec: JobSpec) -> None:
    for violation in judged(spec):
        assert len(violation.field) < 200
        assert len(violation.description) < 500
