"""Jobs with measured speeds: lengths and speeds by hand, and what the shipped trace holds."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduler.replay.traces import philly
from scheduler.replay.traces.trace import ReplayInputError, Trace

DATA = Path(__file__).parents[3] / "bench" / "data" / "gavel"
START_AT = datetime(2022, 7, 4, tzinfo=UTC)
MODELS = {"v100": "A800", "p100": "910B", "k80": "MLU370"}
SPEEDS = """\
gpu,job_type,scale_factor,steps_per_s
v100,LM,1,10
p100,LM,1,5
k80,LM,1,0
v100,LM,8,40
p100,LM,8,30
k80,LM,8,4
v100,A3C,1,2
"""
TRACE = """\
vc,job_type,total_steps,arrival_s,num_gpus,duration_s_on_v100
x,LM,1000,60.0,1,100
x,LM,1000,50.0,8,25
x,LM,1000,70.0,16,
x,A3C,10,80.0,4,
y,A3C,10,90.0,1,5
x,LM,1000,95.0,12,
"""


def read(folder: Path, trace: str = TRACE, speeds: str = SPEEDS) -> Trace:
    (folder / "trace.csv").write_text(trace, encoding="utf-8")
    (folder / "speeds.csv").write_text(speeds, encoding="utf-8")
    return philly.read(
        folder / "trace.csv",
        folder / "speeds.csv",
        start_at=START_AT,
        region="beijing",
        models=MODELS,
    )


def test_lengths_and_speeds_by_hand(tmp_path: Path) -> None:
    trace = read(tmp_path)
    assert trace.skipped == {"no speed measured for its type and size": 1}
    eight, one, sixteen, actor, twelve = trace.jobs
    assert one.actual_s == one.spec.expected_duration_s == 100.0
    speeds = {o.model: o.relative_speed for o in one.spec.accelerators}
    assert speeds == {"A800": 1.0, "910B": 0.5}  # it does not fit on a K80
    assert eight.actual_s == 25.0
    speeds = {o.model: o.relative_speed for o in eight.spec.accelerators}
    assert speeds == {"A800": 1.0, "910B": 0.75, "MLU370": 0.1}
    # Twice eight run twice as fast as eight.
    assert sixteen.actual_s == 12.5
    assert (sixteen.spec.workers, sixteen.spec.per_worker.gpus) == (2, 8)
    assert (twelve.spec.workers, twelve.spec.per_worker.gpus) == (3, 4)
    assert twelve.actual_s == pytest.approx(25 * 8 / 12)
    assert (actor.spec.tenant, actor.actual_s) == ("y", 5.0)
    assert [o.model for o in actor.spec.accelerators] == ["A800"]


def test_the_shipped_trace() -> None:
    trace = philly.read(
        DATA / "philly_vc_traces_seed0.csv.gz",
        DATA / "isolated_throughputs.csv",
        start_at=START_AT,
        region="beijing",
        models=MODELS,
    )
    assert len(trace.jobs) + sum(trace.skipped.values()) == 15_264
    assert len(trace.jobs) == 13_983
    assert all(job.spec.speed_on("A800") == 1.0 for job in trace.jobs)


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReplayInputError, match=r"trace.csv:1: vc: is missing; the columns are"):
        read(tmp_path, trace="a,b\n")
    with pytest.raises(ReplayInputError, match=r"speeds.csv:2: steps_per_s: 'x' is not a number"):
        read(tmp_path, speeds=SPEEDS.replace(",10\n", ",x\n"))
    with pytest.raises(ReplayInputError, match=r"trace.csv:2: arrival_s: 'x' is not a number"):
        read(tmp_path, trace=TRACE.replace("60.0", "x"))
