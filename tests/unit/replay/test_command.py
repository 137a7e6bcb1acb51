"""`westward replay`, from two files to a table."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.cli import exits
from scheduler.cli.main import main

WORLD = """
start_at: 2026-07-01T00:00:00+08:00
days: 3
regions:
  shanghai: {price_yuan_per_kwh: 0.70, pue: 1.4, grid_carbon_g_per_kwh: 585}
clusters:
  qingyang:
    province: Gansu
    pools: [{model: A800, nodes: 2, gpus: 8, cpus: 64, memory_gb: 512, gpu_power_kw: 0.6}]
    price: {yuan_per_kwh: 0.398}
    green: {kw: 4.0}
    pue: 1.15
    grid_carbon_g_per_kwh: 477
    rtt_ms: {shanghai: 13}
  horinger:
    province: Inner Mongolia
    pools: [{model: A800, nodes: 1, gpus: 8, cpus: 64, memory_gb: 512, gpu_power_kw: 0.6}]
    price: {yuan_per_kwh: 0.32}
    green: {kw: 1.0}
    pue: 1.2
    grid_carbon_g_per_kwh: 685
    rtt_ms: {shanghai: 22}
"""
JOBS = "id,submitted_at,duration_s,region,gpus,max_delay_s\n" + "".join(
    f"job-{n},{n * 900},{3600 + 600 * n},shanghai,{2 ** (n % 4)},7200\n" for n in range(8)
)
POLICIES = ["--policy", "fifo", "--policy", "cheapest-now", "--policy", "skypilot"]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "world.yaml").write_text(WORLD, encoding="utf-8")
    (tmp_path / "jobs.csv").write_text(JOBS, encoding="utf-8")
    return ["--jobs", str(tmp_path / "jobs.csv"), "--world", str(tmp_path / "world.yaml")]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_reads_as_approved(
    columns: int,
    files: list[str],
    golden: Callable[[str, str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["replay", *files, *POLICIES]) == exits.OK
    golden(f"replay-{columns}.txt", capsys.readouterr().out)


def test_json_is_the_summary(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    options = ["--policy", "westward", "--gather-s", "0", "--out", str(out), "-o", "json"]
    assert main(["replay", *files, *options]) == exits.OK
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [p["policy"] for p in printed["policies"]] == ["westward"]
    assert printed["policies"][0]["unplaced_jobs"] == 0
    assert (out / "report.html").is_file()


def test_without_a_policy_all_are_compared(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", *files]) == exits.OK
    told = capsys.readouterr().out
    for policy in ("Westward", "FIFO first fit", "kube LeastAllocated", "clairvoyant bound"):
        assert policy in told


def test_an_unknown_policy_is_refused(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", *files, "--policy", "best"]) == exits.BAD_INPUT
    assert "'best' is not a policy; choose from westward" in capsys.readouterr().err


def test_what_is_wrong_with_the_files_is_told(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jobs.csv").write_text(JOBS.replace("job-3,2700,", "job-3,soon,"), encoding="utf-8")
    assert main(["replay", *files]) == exits.BAD_INPUT
    told = capsys.readouterr().err
    assert "nothing was replayed; 1 thing to mend" in told
    assert "jobs.csv:5: submitted_at: 'soon'" in told


def test_a_file_without_jobs_is_told(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "jobs.csv").write_text(JOBS.splitlines()[0] + "\n", encoding="utf-8")
    assert main(["replay", *files]) == exits.BAD_INPUT
    assert "jobs" in capsys.readouterr().err
