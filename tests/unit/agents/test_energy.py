"""Energy of attempts: integrals that are known, through gaps, and what is booked to whom."""

import json
import math
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.collectors.accelerators import Device
from agents.collectors.base import CollectorError
from agents.collectors.energy import GAP_MOST_S, Account, Accounts, between
from agents.collectors.meter import KEEP_EVERY_S, REMEMBERED_S, Meter
from agents.collectors.notices import tell
from agents.collectors.nvidia import Nvml
from agents.collectors.sight import ids_of, in_sight
from agents.collectors.tools import VendorTool, parse_cnmon
from agents.config import Accelerators

OUTPUTS = Path(__file__).parent / "outputs"
HOUR_S = 3600.0
# Of a step of training, and of the checkpoint that is written after so many.
STEP_S, CHECKPOINT_EVERY_S, CHECKPOINT_S = 7.3, 600.0, 45.0


def training_w(at_s: float) -> float:
    """Draw of a GPU that trains: it warms up, falls in every step's exchange, and idles while a
    checkpoint is written."""
    if at_s % CHECKPOINT_EVERY_S > CHECKPOINT_EVERY_S - CHECKPOINT_S:
        return 95.0
    warm = 1 - math.exp(-at_s / 120)
    return 90 + warm * (290 if at_s % STEP_S < 0.8 * STEP_S else 120)


def true_joules(from_s: float, to_s: float, step_s: float = 0.01) -> float:
    steps = round((to_s - from_s) / step_s)
    return sum(training_w(from_s + (i + 0.5) * step_s) * step_s for i in range(steps))


def sampled_at(every_s: float, gap_s: float, seed: int) -> list[float]:
    """Times of samples over an hour: late by up to a fifth, and one in 200 after a gap besides."""
    chance = random.Random(seed)
    times = [0.0]
    while times[-1] < HOUR_S:
        pause_s = every_s * chance.uniform(1.0, 1.2)
        if chance.random() < 0.005:
            pause_s += chance.uniform(0, gap_s)
        times.append(min(HOUR_S, times[-1] + pause_s))
    return times


def gpu(device_id: str = "GPU-0", index: int = 0, **told: float | None) -> Device:
    return Device(index=index, id=device_id, name="A800", **told)  # type: ignore[arg-type]


def booked(times: list[float], counter: bool = False, host_share_w: float = 0.0) -> Account:
    accounts = Accounts(host_share_w)
    energy_j, before_s = 0.0, 0.0
    for at_s in times:
        energy_j += true_joules(before_s, at_s, 0.05) if counter and at_s > before_s else 0.0
        before_s = at_s
        told = gpu(power_w=training_w(at_s), energy_j=energy_j if counter else None)
        accounts.sample(at_s, [told], {"a-1": ["GPU-0"]}, {"GPU-0": 400.0})
    return accounts.by_attempt["a-1"]


@pytest.mark.parametrize("gap_s", [0.0, 30.0])
def test_power_of_a_gpu_integrates_to_within_one_percent_through_gaps(gap_s: float) -> None:
    exact = true_joules(0.0, HOUR_S)
    for seed in range(5):
        account = booked(sampled_at(Nvml.draws_every_s, gap_s, seed))
        assert account.joules == pytest.approx(exact, rel=0.01)
        assert account.estimated_joules == 0


def test_power_of_tools_is_sampled_seldom_but_without_bias() -> None:
    every_s = VendorTool.draws_every_s
    errors = [booked(sampled_at(every_s, 30.0, seed)).joules for seed in range(20)]
    assert sum(errors) / len(errors) == pytest.approx(true_joules(0.0, HOUR_S), rel=0.005)


def test_a_device_that_counts_its_energy_is_exact_through_any_gap() -> None:
    account = booked([0.0, 1.0, 600.0, 601.0, 3000.0, HOUR_S], counter=True)
    assert account.joules == pytest.approx(true_joules(0.0, HOUR_S), rel=1e-3)
    assert account.estimated_joules == 0


def test_what_nobody_told_is_estimated_and_marked() -> None:
    silent, talks = gpu(), gpu(power_w=100.0)
    assert between(silent, talks, 10.0, 400.0).joules == 4000.0
    assert not between(silent, talks, 10.0, 400.0).metered
    assert not between(talks, talks, GAP_MOST_S + 1, 400.0).metered
    restarted = between(gpu(power_w=100.0, energy_j=9e9), gpu(power_w=100.0, energy_j=5), 2, 400)
    assert (restarted.joules, restarted.metered) == (200.0, True)


def test_each_device_is_booked_to_who_held_it_and_the_host_with_it() -> None:
    accounts = Accounts(host_share_w=50.0)
    both = [gpu("a", 0, power_w=200.0), gpu("b", 1, power_w=300.0)]
    accounts.sample(0.0, both, {"x": ["a"]}, {})
    accounts.sample(10.0, both, {"x": ["a"], "y": ["b"]}, {})
    accounts.sample(20.0, both, {"y": ["b"]}, {})
    accounts.sample(30.0, both, {}, {})
    x, y = accounts.by_attempt["x"], accounts.by_attempt["y"]
    assert (x.joules, x.gpus) == ((200 + 50) * 20, 1)
    assert (y.joules, y.estimated_joules) == ((300 + 50) * 20, 0)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e4),
            st.none() | st.floats(0, 1e4),
            st.none() | st.floats(0, 1e9),
            st.sets(st.sampled_from("ab")),
        ),
        max_size=12,
    )
)
def test_accounts_never_shrink_and_estimates_are_part_of_them(
    steps: list[tuple[float, float | None, float | None, set[str]]],
) -> None:
    accounts, now_s, before_j = Accounts(10.0), 0.0, 0.0
    for elapsed_s, power_w, energy_j, held in steps:
        now_s += elapsed_s
        told = [gpu("a", power_w=power_w, energy_j=energy_j)]
        accounts.sample(now_s, told, {"x": sorted(held)}, {"a": 300.0, "b": 300.0})
        account = accounts.by_attempt["x"]
        assert account.joules >= before_j
        assert account.estimated_joules <= account.joules * (1 + 1e-9)
        before_j = account.joules


class Gpus:
    """A driver whose devices the test sets."""

    source = "test"
    draws_every_s = 1.0

    def __init__(self, *devices: Device) -> None:
        self.told: list[Device] | None = list(devices)

    def devices(self) -> list[Device]:
        if self.told is None:
            raise CollectorError("driver gone")
        return self.told

    draws = devices


def meter(folder: Path, driver: Gpus | None, keys: Accelerators, clock: list[float]) -> Meter:
    (folder / "attempts").mkdir(parents=True, exist_ok=True)
    seen = {"j-1": {"0"}}
    return Meter(keys, driver, node_dir=folder, look=lambda: seen, clock_s=lambda: clock[0])


def test_the_meter_books_goes_on_after_a_restart_and_forgets(tmp_path: Path) -> None:
    keys, clock = Accelerators(source="nvidia", gpu_power_kw=0.6), [0.0]
    driver = Gpus(gpu("GPU-0", 0, power_w=360.0), gpu("GPU-1", 1, power_w=10.0))
    first = meter(tmp_path, driver, keys, clock)
    for clock[0] in (0.0, 30.0, 60.0):
        first.sample()
    assert first.accounts()["j-1"].joules == 360 * 60
    assert (first.holders("GPU-0"), first.holders("GPU-1")) == (["j-1"], [])
    assert json.loads((tmp_path / "energy.json").read_text()) == {"j-1": [21600, 0, 1]}
    driver.told = None
    clock[0] += KEEP_EVERY_S
    first.sample()
    assert first.accounts()["j-1"].estimated_joules == 600 * 30, "an unread GPU draws its load"
    second = meter(tmp_path, driver, keys, clock)
    second._restore()
    assert second.accounts()["j-1"].joules == 360 * 60 + 600 * 30
    second._look = dict
    clock[0] += REMEMBERED_S + 1
    second.sample()
    assert second.accounts() == {}


@pytest.mark.parametrize("kept", ["", "[]", '{"a": 1}', '{"a": [1, "x", 2]}', "\0"])
def test_spoilt_accounts_on_disk_are_left_aside(tmp_path: Path, kept: str) -> None:
    one = meter(tmp_path, None, Accelerators(model="A800", count=8, gpu_power_kw=0.6), [0.0])
    (tmp_path / "energy.json").write_text(kept)
    one._restore()
    assert one.accounts() == {}


def test_declared_accelerators_are_estimated_whole(tmp_path: Path) -> None:
    keys, clock = Accelerators(model="A800", count=8, gpu_power_kw=0.6, host_share_kw=0.1), [0.0]
    one = meter(tmp_path, None, keys, clock)
    for clock[0] in (0.0, 100.0):
        one.sample()
    account = one.accounts()["j-1"]
    assert account.joules == pytest.approx(600 * 100)
    assert account.estimated_joules == pytest.approx(500 * 100)


@contextmanager
def process(**environment: str) -> Iterator[None]:
    kept = {name: os.environ[name] for name in ("PATH",)}
    with subprocess.Popen(["sleep", "60"], env=kept | environment) as sleeping:
        try:
            yield
        finally:
            sleeping.kill()


def test_attempts_are_seen_by_what_ray_lets_their_processes_see() -> None:
    mine = {"WESTWARD_ATTEMPT_ID": "sight-1", "WESTWARD_NODE_ID": "n1"}
    with (
        process(**mine, CUDA_VISIBLE_DEVICES="2,3"),
        process(**mine, ASCEND_RT_VISIBLE_DEVICES=" 5 "),
        process(WESTWARD_ATTEMPT_ID="sight-2", CUDA_VISIBLE_DEVICES=""),
        process(WESTWARD_ATTEMPT_ID="sight-3", WESTWARD_NODE_ID="n2", CUDA_VISIBLE_DEVICES="0"),
    ):
        seen = in_sight("n1")
    assert {name: seen[name] for name in sorted(seen) if name.startswith("sight-")} == {
        "sight-1": {"2", "3", "5"},
        "sight-2": set(),
    }


def test_accelerators_are_meant_by_index_or_id() -> None:
    devices = [gpu("GPU-aa", 0), gpu("GPU-ab", 1), gpu("MIG-x", 2), gpu("MIG-y", 2)]
    assert ids_of({"1", "GPU-aa"}, devices) == ["GPU-ab", "GPU-aa"]
    assert ids_of({"MIG-y"}, devices) == ["MIG-y"]
    assert ids_of({"7"}, devices) == ["7"]


def test_an_index_means_no_id_that_begins_with_its_digits() -> None:
    """Cambricon's ids are bare UUIDs: of one device two holders would each be charged."""
    devices = parse_cnmon((OUTPUTS / "cnmon-info.txt").read_text())
    ids = ["11223344-5566-0000-0000-000000000000", "11223344-5566-0000-0000-000000000001"]
    assert [ids_of({name}, devices) for name in ("0", "1")] == [ids[:1], ids[1:]]
    assert ids_of({ids[1]}, devices) == ids[1:]


def test_an_attempt_is_told_in_what_it_prints(tmp_path: Path) -> None:
    folder = tmp_path / "j-1"
    folder.mkdir()
    (folder / "rank-0.stderr").write_text("half a line")
    (folder / "rank-1.stdout").write_text("")
    tell(tmp_path, "j-1", "accelerator GPU-2 is sick")
    tell(tmp_path, "gone-1", "nobody")
    assert (folder / "rank-0.stderr").read_text() == (
        "half a line\n[westward: accelerator GPU-2 is sick]\n"
    )
    assert (folder / "rank-1.stdout").read_text() == ""
