"""What a policy file may say, what is refused with which words, and how a change is followed."""

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from policies.rules import Rules
from policies.weights import Weights
from scheduler.config import ConfigError
from scheduler.domain.rules import ClusterRule, Maintenance, TenantRule, WaitingClass
from scheduler.policyfile.live import LiveRules
from scheduler.policyfile.load import load
from scheduler.policyfile.weights import WeightsSection
from tests.unit.repo.tree import ROOT


def written(folder: Path, text: str) -> Path:
    file = folder / "policies.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    return str(caught.value)


def test_an_empty_file_leaves_everything_as_it_is(tmp_path: Path) -> None:
    assert load(written(tmp_path, "# nothing yet\n")).rules() == Rules()


def test_every_weight_has_its_key_and_its_default() -> None:
    assert WeightsSection().model_dump() == asdict(Weights())
    assert all(field.description for field in WeightsSection.model_fields.values())


def test_the_example_says_one_of_everything() -> None:
    rules = load(ROOT / "examples" / "policies.yaml").rules()
    assert rules.weights.carbon_yuan_per_kg == 0.08
    assert rules.clusters["qingyang"] == ClusterRule(
        price_adder_yuan_per_kwh=0.015, preference_yuan_per_gpu_hour=-0.05
    )
    assert rules.moving_yuan("horinger") == 5
    assert rules.moving_yuan("qingyang") == Weights().moving_yuan
    assert rules.nongreen_yuan_per_kwh("horinger") == 0.12
    assert rules.tenants["llm-lab"] == TenantRule(
        quota_gpus=512, weight=2, nongreen_yuan_per_kwh=0.3
    )
    farm = rules.tenants["render-farm"]
    assert farm.waiting_of(9) == WaitingClass(
        from_priority=-1000, defer_yuan_per_gpu_hour=0.002, late_yuan_per_gpu_hour=1
    )
    assert farm.waiting_of(10) == WaitingClass(
        from_priority=10, defer_yuan_per_gpu_hour=0.01, late_yuan_per_gpu_hour=30
    )
    assert rules.maintenance[0] == Maintenance(
        cluster="qingyang",
        from_at=datetime(2026, 11, 30, 18, tzinfo=UTC),
        to_at=datetime(2026, 11, 30, 20, tzinfo=UTC),
        why="transformer",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("weights: {carbon_yuan: 1}", "weights.carbon_yuan = 1: no such key; did you mean carbon"),
        ("tenant: {}", "tenant = {}: no such key; did you mean tenants?"),
        ("zzz: 1", "zzz = 1: no such key of ['weights', 'forecast_q"),
        ("weights: {moving_yuan: -1}", "weights.moving_yuan = -1: input should be greater than"),
        ("weights: {moving_yuan: .inf}", "weights.moving_yuan = inf: input should be"),
        ("weights: {late_yuan_per_gpu_hour: 0}", "= 0: input should be greater than 0"),
        ("clusters: {a: {nongreen: 1}}", "clusters.a.nongreen = 1: no such key; did you mean"),
        ("tenants: {a: {quota_gpus: 1.5}}", "tenants.a.quota_gpus = 1.5: input should be a valid"),
        ("tenants: {a: {weight: 0}}", "tenants.a.weight = 0: input should be greater than 0"),
        ("tenants: {a: {waiting: [{late: 1}]}}", "waiting.0.from_priority is missing: field req"),
        (
            "tenants: {a: {waiting: [{from_priority: 1}, {from_priority: 1}]}}",
            "tenants.a: waiting has from_priority [1, 1]: name each one once",
        ),
        (
            "tenants: {a: {nongreen_yuan_per_kwh: 0.01}}",
            "tenants.a.nongreen_yuan_per_kwh = 0.01 is below weights.nongreen_yuan_per_kwh = 0.05",
        ),
        (
            "maintenance: [{cluster: a, from: 2026-11-20T10:00, to: 2026-11-20T11:00Z, why: x}]",
            "maintenance.0.from = '2026-11-20T10:00': input should have timezone",
        ),
        (
            "maintenance: [{cluster: a, from: 2026-11-20T12:00Z, to: 2026-11-20T11:00Z, why: x}]",
            "maintenance.0: to = 2026-11-20 11:00:00+00:00 is not after from",
        ),
        (
            "maintenance: [{cluster: a, node: n, accelerator: m, why: x, "
            "from: 2026-11-20T10:00Z, to: 2026-11-20T11:00Z}]",
            "maintenance.0: node = 'n' and accelerator = 'm': name one of them",
        ),
        (
            "maintenance: [{cluster: a, from: 2026-13-01T00:00:00+08:00, "
            "to: 2026-12-02T00:00:00+08:00, why: x}]",
            "maintenance.0.from = '2026-13-01T00:00:00+08:00': input should be a valid datetime",
        ),
        (
            "maintenance: [{cluster: a, from: 2026-11-20T10:00Z, to: 9999-12-31T00:00Z, why: x}]",
            "maintenance.0.to: 9999-12-31T00:00:00+00:00 is not of the years 2000 to 2199: for",
        ),
        (
            "weights: !!timestamp 2026-13-01",
            "weights = '2026-13-01': input should be a valid dictionary",
        ),
        ("weights: " + "[" * 5000, "is not YAML: "),
        ("- a\n- b", "holds ['a', 'b']; it takes keys: weights, forecast_quantile"),
        ("weights: [", "is not YAML"),
        (
            "maintenance: [{cluster: a, why: x, from: 2026-02-30T10:00:00Z, to: 2026-03-01}]",
            "maintenance.0.from = '2026-02-30T10:00:00Z': ",
        ),
        ("weights: {moving_yuan: 0b_}", "is not YAML: invalid literal"),
    ],
)
def test_a_complaint_names_key_value_and_fix(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text)


def test_all_complaints_come_at_once(tmp_path: Path) -> None:
    told = refused(tmp_path, "weights: {moving_yuan: -1}\ntenants: {a: {weight: 0}}\n")
    assert "2 thing(s) to mend" in told


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is the path right"):
        LiveRules(tmp_path / "nothing.yaml")


def test_a_change_counts_and_a_bad_one_does_not(tmp_path: Path) -> None:
    file = written(tmp_path, "weights: {moving_yuan: 2}\n")
    live = LiveRules(file)
    assert live.now().weights.moving_yuan == 2
    for n, (text, expected) in enumerate(
        [
            ("weights: {moving_yuan: 3}\n", 3),
            ("weights: {moving_yuan: no}\n", 3),
            ("maintenance: !!timestamp 2026-13-01\n", 3),
            ("", 1),
        ]
    ):
        written(tmp_path, text)
        os.utime(file, (n, n))  # a clock too coarse to tell two writes apart
        assert live.now().weights.moving_yuan == expected
    file.unlink()
    assert live.now().weights.moving_yuan == 1


def test_without_a_file_all_is_as_by_default() -> None:
    assert LiveRules(None).now() == Rules()
