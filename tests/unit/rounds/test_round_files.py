"""Rounds in files, and what planning them again tells."""

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scheduler.cli.main import main
from scheduler.planner.budget import Budget
from scheduler.planner.plan import Plan
from scheduler.planner.snapshot import PlannedStart
from scheduler.rounds.again import identical, plan_again
from scheduler.rounds.file import from_bytes, to_bytes
from scheduler.rounds.record import RecordedRound, failed, objection, recorded
from scheduler.rounds.thought import think
from tests.scenario.world import NOON, World

RUN = [sys.executable, "-c", "from scheduler.cli.main import main; raise SystemExit(main())"]
Capture = pytest.CaptureFixture[str]


def a_round() -> RecordedRound:
    """Three hubs, jobs of several kinds, some of which wait; planned for real."""
    world = World(previous={"late-0": PlannedStart("qingyang", "A800", NOON + timedelta(hours=2))})
    world.hub("qingyang", nodes=2, price=[0.5] * 4 + [0.2] * 20)
    world.hub("horinger", gpus=4, green_kw=[0.0, 3.0] * 12).hub("zhongwei", model="910B")
    world.job("now", count=12, gpus=2, minutes=45).job("gang", gpus=8, workers=2, minutes=90)
    world.job("late", count=5, gpus=4, minutes=30, delay_minutes=120, priority=2)
    world.busy("zhongwei-0", minutes=20, gpus=3)
    snapshot = world.snapshot()
    return recorded(12, snapshot, Budget(), think(snapshot, Budget()).plan)


@pytest.fixture(scope="module")
def made() -> RecordedRound:
    return a_round()


@pytest.fixture
def file(made: RecordedRound, tmp_path: Path) -> Path:
    path = tmp_path / "round.json.gz"
    path.write_bytes(to_bytes(made))
    return path


def test_a_file_holds_the_whole_round(made: RecordedRound, file: Path) -> None:
    assert from_bytes(file.read_bytes()) == made
    assert made.plan is not None
    assert made.plan.now > 0 and made.plan.later + made.plan.unplaced > 0


def test_another_process_plans_the_same(file: Path) -> None:
    """Where the order of sets is another."""
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([*RUN, "rounds", "replay", str(file), "-o", "json"], env=env,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["identical"]
    assert told["recorded"]["sha256"] == told["replayed"]["sha256"]


def test_another_plan_is_told_and_is_1(
    made: RecordedRound, tmp_path: Path, capsys: Capture
) -> None:
    """The plan of a world in which energy cost another price."""
    site = made.snapshot.sites["qingyang"]
    dearer = replace(site, price_yuan_per_kwh=replace(site.price_yuan_per_kwh, values=(0.6,)))
    sites = {**made.snapshot.sites, "qingyang": dearer}
    other = replace(made, software="0.0.1", snapshot=replace(made.snapshot, sites=sites))
    path = tmp_path / "other.json.gz"
    path.write_bytes(to_bytes(other))
    assert main(["rounds", "replay", str(path)]) == 1
    told = capsys.readouterr().out
    assert "Not the same plan. Another version of Westward may well plan otherwise." in told


def damaged(data: bytes, how: str) -> bytes:
    if how == "cut":
        return data[: len(data) // 2]
    text = gzip.decompress(data)
    changed = {
        "no round": b'{"jobs": []}',
        "of a later format": text.replace(b"[1,", b"[2,", 1),
        "another shape": text.replace(b'"slot_s":900.0', b'"slot_s":"soon"'),
    }
    return gzip.compress(changed[how])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("cut", "not a whole gzip file"),
        ("no round", "is it a round, and of this version?"),
        ("of a later format", "its format is '2', this software reads 1"),
        ("another shape", "snapshot.slot_s: Input should be a valid number"),
    ],
)
def test_what_is_no_round_is_refused_with_what_is_wrong(
    file: Path, how: str, told: str, capsys: Capture
) -> None:
    file.write_bytes(damaged(file.read_bytes(), how))
    assert main(["rounds", "replay", str(file)]) == 2
    assert told in capsys.readouterr().err
    assert main(["rounds", "replay", str(file.with_name("nothing"))]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_a_round_that_fails_fails_alike(
    made: RecordedRound, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ArithmeticError("cannot convert float infinity to integer")
    broke = recorded(3, made.snapshot, made.budget, None, failed(error))
    assert not identical(broke, plan_again(broke)), "it does no longer"

    def breaks(*_: object) -> Plan:
        raise error

    monkeypatch.setattr("scheduler.rounds.again.think", breaks)
    again = plan_again(from_bytes(to_bytes(broke)))
    assert identical(broke, again)
    assert "ArithmeticError: cannot convert" in again.failure


def test_an_objection_tells_the_first_and_how_many() -> None:
    assert objection([]) == ""
    assert objection(["a is full"]) == "the plan breaks a rule: a is full"
    assert objection(["a", "b", "c"]) == "the plan breaks a rule: a (and 2 more)"
