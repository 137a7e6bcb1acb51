"""Worlds from YAML: prices and supply worked out by hand, and how what is wrong is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policies.latency import measured
from scheduler.domain.job import AcceleratorOption
from scheduler.replay import world
from scheduler.replay.traces import files
from scheduler.replay.traces.trace import ReplayInputError
from scheduler.replay.world import WorldFile

ROOT = Path(__file__).parents[3]
WORLDS = ROOT / "bench" / "data" / "worlds"

SMALL = """\
start_at: 2026-03-01T00:00:00+08:00
days: 1
step_s: 1800
regions:
  shanghai: {label: 上海, price_yuan_per_kwh: 0.7}
clusters:
  qingyang:
    province: Gansu
    pools:
      - {model: A800, nodes: 2, gpus: 8, gpu_power_kw: 0.6}
      - {model: 910B, nodes: 1, gpus: 4, cpus: 32, memory_gb: 256, gpu_power_kw: 0.5}
    price:
      bands: {table: bands.csv, province: Gansu, flat_yuan_per_kwh: 0.4}
    green:
      file: {path: share.csv, column: re_pct, times: 2.5, shift_h: 24}
    pue: 1.15
    grid_carbon_g_per_kwh: 477
    power_cap_kw: 20
    rtt_ms: {shanghai: 13}
    links:
      - {peer: shanghai, bandwidth_gbps: 10, transfer_yuan_per_gb: 0.005}
"""
BANDS = """\
province,season,effective,band,hours_local_start_inclusive,multiplier_on_flat,trust
Gansu,all,2021-01-01,peak,"7,8,18,19,20,21,22,23",1.5,
Gansu,all,2021-01-01,valley,"2,3,11,12,13,14,15,16",0.5,
Gansu,all,2021-01-01,flat,"0,1,4,5,6,9,10,17",1.0,
"""
# The world's day is 2026-02-28T16:00Z to 03-01T16:00Z; a day later is what the file must cover.
SHARE = """\
time,re_pct
2026-03-01T16:00:00Z,40
2026-03-02T01:15:00,60
2026-03-02T09:00:00Z,0
2026-03-02T16:30:00Z,0
"""


def load(folder: Path, text: str = SMALL) -> WorldFile:
    (folder / "bands.csv").write_text(BANDS, encoding="utf-8")
    if not (folder / "share.csv").exists():
        (folder / "share.csv").write_text(SHARE, encoding="utf-8")
    path = folder / "world.yaml"
    path.write_text(text, encoding="utf-8")
    return world.load(path)


def test_a_tariff_by_hand(tmp_path: Path) -> None:
    site = load(tmp_path).world.sites["qingyang"]
    assert site.price_yuan_per_kwh.step_s == 1800.0
    assert len(site.price_yuan_per_kwh.values) == 48
    by_half_hour = {
        "00:00": 0.4,
        "01:30": 0.4,
        "02:00": 0.2,
        "03:30": 0.2,
        "04:00": 0.4,
        "07:00": 0.6,
        "10:30": 0.4,
        "11:00": 0.2,
        "16:30": 0.2,
        "17:00": 0.4,
        "18:00": 0.6,
        "23:30": 0.6,
    }
    for clock, yuan in by_half_hour.items():
        at = datetime.fromisoformat(f"2026-03-01T{clock}:00+08:00")
        assert site.price_yuan_per_kwh.at(at) == pytest.approx(yuan), clock
    # 24 h at 8 × 1.5, 8 × 0.5 and 8 × 1.0 of 0.4.
    assert sum(site.price_yuan_per_kwh.values) / 2 == pytest.approx(0.4 * 24)


def test_supply_from_a_share_and_a_shift_by_hand(tmp_path: Path) -> None:
    site = load(tmp_path).world.sites["qingyang"]
    supply = dict(enumerate(site.green_supply_kw.values))
    # Half hours from 16:00Z: 40 % × 2.5 until 01:15Z, so at 01:00Z still; then 60 %, from 09:00Z 0.
    assert [supply[i] for i in (0, 18)] == [100.0, 100.0]
    assert [supply[i] for i in (19, 33)] == [150.0, 150.0]
    assert [supply[i] for i in (34, 47)] == [0.0, 0.0]


def test_nodes_sites_and_regions(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert found.start_at == datetime(2026, 2, 28, 16, tzinfo=UTC)
    assert found.end_at - found.start_at == timedelta(days=1)
    nodes = found.world.nodes
    assert [(n.accelerator, n.gpus, n.cpus) for n in nodes] == [
        ("A800", 8, 128.0),
        ("A800", 8, 128.0),
        ("910B", 4, 32.0),
    ]
    assert len({node.id for node in nodes}) == 3
    assert [node.head for node in nodes] == [True, False, False]
    site = found.world.sites["qingyang"]
    assert (site.province, site.power_cap_kw, site.grid_carbon_g_per_kwh) == ("Gansu", 20.0, 477.0)
    assert site.pue.at(found.start_at) == 1.15
    rtt = measured(site, "shanghai")  # and the rule that judges it believes it
    assert rtt is not None
    assert rtt.p95_ms == 13.0
    assert site.links[0].bandwidth_gbps == 10.0
    assert found.world.regions["shanghai"].label == "上海"
    assert found.world.regions["shanghai"].pue == 1.4


@pytest.mark.parametrize(
    ("was", "now", "where", "told"),
    [
        ("days: 1", "days: 0", (2, "days"), "0: should be greater than 0"),
        ("days: 1", "day: 1", (2, "day"), "unknown key; did you mean 'days'?"),
        ("+08:00", "", (1, "start_at"), "should have timezone info"),
        ("nodes: 2", "nodes: two", (10, "clusters.qingyang.pools[0].nodes"), "'two': should be a"),
        ("nodes: 2, gpus", "nodes: 2, gpu", (10, "clusters.qingyang.pools[0].gpu"), "'gpus'"),
        ("    pue: 1.15", "    pue: 0.9", (16, "clusters.qingyang.pue"), "0.9: should be greater"),
        (
            "province: Gansu, flat",
            "province: Hunan, flat",
            (13, "clusters.qingyang.price.bands"),
            "no rows of province 'Hunan'; it has Gansu",
        ),
        ("bands.csv", "none.csv", (13, "clusters.qingyang.price.bands"), "cannot be read"),
        (
            "bands: {table: bands.csv, province: Gansu, flat_yuan_per_kwh: 0.4}",
            "{}",
            (12, "clusters.qingyang.price"),
            "has none of them; give exactly one of yuan_per_kwh, bands, file",
        ),
        (
            "column: re_pct",
            "column: re",
            (15, "clusters.qingyang.green.file"),
            "cannot be used:",
        ),
        ("shift_h: 24", "shift_h: 0", (15, "clusters.qingyang.green.file"), "cannot be used:"),
        (
            "times: 2.5",
            "times: -1",
            (15, "clusters.qingyang.green.file"),
            "-40 at 2026-02-28T16:00:00+00:00 is not within 0 to 1e+07 kW",
        ),
        (
            "rtt_ms: {shanghai: 13}",
            "rtt_ms: {shangai: 13}",
            (19, "clusters.qingyang.rtt_ms.shangai"),
            "did you mean 'shanghai'?",
        ),
        (
            "peer: shanghai",
            "peer: tokyo",
            (21, "clusters.qingyang.links[0].peer"),
            "'tokyo' is not in this file",
        ),
        ("  shanghai: {label", "  shang hai: {label", (5, "regions.shang hai"), "should match"),
    ],
)
def test_what_is_wrong_is_told(
    tmp_path: Path, was: str, now: str, where: tuple[int, str], told: str
) -> None:
    (line, key), text = where, SMALL.replace(was, now, 1)
    assert text != SMALL
    with pytest.raises(ReplayInputError) as caught:
        load(tmp_path, text)
    problems = {problem.field: problem for problem in caught.value.problems}
    assert key in problems, problems
    assert problems[key].line == line
    assert told in problems[key].message


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("time,re_pct\n", "has no rows"),
        ("time,share\n", "no such column; known here: time, share"),
        ("time,re_pct\nsoon,1\n", "share.csv:2: time: 'soon' is not a time"),
        ("time,re_pct\n2026-03-01,x\n", "share.csv:2: re_pct: 'x' is not a number"),
        ("time,re_pct\n2026-03-02,1\n2026-03-01,1\n", "share.csv:3: time: '2026-03-01' is not aft"),
        ("time,re_pct\n2026-03-01T16:00:00,1\n", "to 2026-03-01T17:00:00+00:00, and the world ask"),
    ],
)
def test_a_file_of_values_is_told_with_its_own_lines(tmp_path: Path, rows: str, told: str) -> None:
    (tmp_path / "share.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(ReplayInputError) as caught:
        load(tmp_path)
    assert told in str(caught.value)
    assert "world.yaml:15: clusters.qingyang.green.file" in str(caught.value)


def test_a_file_that_is_no_world(tmp_path: Path) -> None:
    for text in ("", "- a\n", "a: [\n", "a: 1\n---\nb: 1\n"):
        with pytest.raises(ReplayInputError):
            load(tmp_path, text)


def test_the_shipped_hubs() -> None:
    found = world.load(WORLDS / "hubs.yaml")
    assert sum(node.gpus for node in found.world.nodes) == 1024
    # Half of the full load at the door, at the hub's green share: see SOURCE.md.
    shares = {"qingyang": 0.55, "horinger": 0.86, "guian": 0.60, "zhongwei": 0.70, "meishan": 0.8}
    for name, share in shares.items():
        site = found.world.sites[name]
        it_kw = sum(n.gpus * n.gpu_power_kw for n in found.world.nodes if n.cluster == name)
        supply = site.green_supply_kw.values
        mean_kw = sum(supply) / len(supply)
        assert mean_kw == pytest.approx(share * it_kw * site.pue.values[0] / 2, rel=2e-3), name
        assert set(site.rtt) == set(found.world.regions)


SLURM = """\
slurm:
  region: shanghai
  time_zone: Asia/Shanghai
  gres: {a100: "A800:1;910B:0.7"}
  max_delay_s: 3600
"""
SACCT = (
    "JobID|Submit|Start|Elapsed|AllocTRES\n"
    "7|2026-03-01T10:00:00|2026-03-01T10:00:00|01:00:00|cpu=8,gres/gpu:a100=1,node=1\n"
)


def test_a_trace_of_either_form(tmp_path: Path) -> None:
    place = load(tmp_path, SMALL + SLURM)
    (tmp_path / "sacct.txt").write_text(SACCT, encoding="utf-8")
    (job,) = files.read(tmp_path / "sacct.txt", place).jobs
    assert job.submitted_at == datetime(2026, 3, 1, 2, tzinfo=UTC)
    assert job.spec.accelerators == (AcceleratorOption("A800", 1.0), AcceleratorOption("910B", 0.7))
    text = "id,submitted_at,duration_s,region\na,60,600,shanghai\n"
    (tmp_path / "jobs.csv").write_text(text, encoding="utf-8")
    (job,) = files.read(tmp_path / "jobs.csv", place).jobs
    assert job.submitted_at == place.start_at + timedelta(seconds=60)


def test_saccts_output_needs_to_know_where_its_jobs_come_from(tmp_path: Path) -> None:
    (tmp_path / "sacct.txt").write_text(SACCT, encoding="utf-8")
    with pytest.raises(ReplayInputError, match="has no section slurm"):
        files.read(tmp_path / "sacct.txt", load(tmp_path))


def test_what_jobs_name_and_the_world_does_not_know_is_told_once(tmp_path: Path) -> None:
    text = (
        "id,submitted_at,duration_s,region,accelerators,data\n"
        "a,0,60,shangai,A800,\n"
        "b,0,60,shangai,H200,5@mars\n"
        "c,90000,60,shanghai,,\n"
    )
    (tmp_path / "jobs.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ReplayInputError) as caught:
        files.read(tmp_path / "jobs.csv", load(tmp_path))
    told = {problem.field: problem.message for problem in caught.value.problems}
    assert "'shangai' of 2 job(s), first a: did you mean 'shanghai'?" in told["region"]
    assert "'H200' of 1 job(s), first b" in told["accelerators"]
    assert "'mars' of 1 job(s), first b" in told["data"]
    assert "a time outside the world of 1 job(s), first c" in told["submitted_at"]
