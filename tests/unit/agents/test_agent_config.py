"""The agent's configuration: every mistake is named with its path and a way out."""

import os
import time
from datetime import date
from pathlib import Path

import pytest

from agents.check import main
from agents.collectors.readings import Readings
from agents.config import ConfigError, load

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
GOOD = """
node_id: qingyang-1
cluster: qingyang
scheduler: {address: "scheduler.example:7443", tls_ca: ca.pem}
data_dir: state
accelerators: {model: A800, count: 8, gpu_power_kw: 0.65}
head:
  province: Gansu
  price: {table: tou.csv, flat_yuan_per_kwh: 0.398}
  green: {file: green.csv}
  pue: 1.15
  grid_carbon_g_per_kwh: 480
  links: [{peer: shanghai, bandwidth_gbps: 100}]
  ray: {address: "127.0.1.1:6379"}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "agent.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    assert config.data_dir == tmp_path / "state"
    assert config.node_dir == tmp_path / "state" / "qingyang-1"
    assert config.scheduler.tls_ca == tmp_path / "ca.pem"
    assert config.head is not None
    assert config.head.price.table == tmp_path / "tou.csv"
    assert config.head.green.file == tmp_path / "green.csv"
    assert config.head.green.time_zone == "Asia/Shanghai"


def test_the_environment_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WESTWARD_AGENT_NODE_ID", "node-of-the-pod")
    monkeypatch.setenv("WESTWARD_AGENT_SCHEDULER__TOKEN", "secret")
    config = load(written(tmp_path, GOOD))
    assert config.node_id == "node-of-the-pod"
    assert config.scheduler.token == "secret"
    assert config.scheduler.address == "scheduler.example:7443"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("province:", "provinse:", "head.provinse: unknown key; did you mean 'province'?"),
        ("province:", "provinse:", "head.province: missing"),
        ("peer:", "pier:", "head.links.0.pier: unknown key; did you mean 'peer'?"),
        ("data_dir:", "zzz:", "zzz: unknown key; known here: node_id, cluster,"),
        ("count: 8", "count: -8", "accelerators.count = -8: Input should be greater"),
        ("count: 8, ", "", "accelerators: declared accelerators need count"),
        ("{model:", "{source: nvidia, model:", "count = 8: leave it out, nvidia tells it"),
        ("{model:", "{source: amd, model:", "accelerators.source = 'amd': Input should be 'decl"),
        ("table: tou.csv, ", "", "head.price: give exactly one of table, file, http, prometheus"),
        ("table: tou.csv", "table: tou.csv, file: x", "there is table and file"),
        (", flat_yuan_per_kwh: 0.398", "", "head.price: a table needs flat_yuan_per_kwh"),
        ("{file: green.csv}", "{file: g, unit: share}", "head.green: a share needs `load`"),
        (
            "{file: green.csv}",
            "{http: {url: 'http://127.0.0.1/x', values: '$..['}}",
            "head.green.http.values = '$..[': Value error, '$..[' is not a JSONPath",
        ),
        ("{file: green.csv}", "{http: {url: 'ftp://x', values: $}}", "head.green.http.url = 'ftp"),
        ("{file: green.csv}", "{http: {uri: x}}", "head.green.http.uri: unknown key; did you mean"),
        (
            "pue: 1.15",
            "pue: 1.15\n  pue_metered: {it: {file: i}}",
            "either pue, or facility and it",
        ),
        ("pue: 1.15", "pue: 0.9", "head.pue = 0.9"),
        ("pue: 1.15", "pue: cold", "head.pue = 'cold'"),
        ("gpu_power_kw: 0.65", "gpu_power_kw: .inf", "accelerators.gpu_power_kw = inf"),
        ("node_id: qingyang-1", "node_id: ../etc", "node_id = '../etc'"),
        ("example:7443", "example", "scheduler.address = 'scheduler.example'"),
        ("file: green.csv", "{file: g.csv, time_zone: Mars}", None),
        ("cluster:", "cluster: [", "not YAML"),
        ("pue: 1.15", "pue: 0b_", "agent.yaml: not YAML: invalid literal for int"),
        (
            "{table: tou.csv,",
            "{holidays: [2026-10-01, 2026-02-30], table: tou.csv,",
            "head.price.holidays.1 = '2026-02-30': Input should be a valid date",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, told: str | None) -> None:
    assert told is None or old in GOOD
    text = GOOD.replace(old, new, 1)
    if told is None:
        text = GOOD.replace("{file: green.csv}", new)
        told = "'Mars' is not a time zone"
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert told in str(caught.value)
    assert "agent.yaml" in str(caught.value)


def test_days_are_read_as_days(tmp_path: Path) -> None:
    dated = GOOD.replace("{table:", "{holidays: [2026-10-01, '2026-10-02'], table:")
    head = load(written(tmp_path, dated)).head
    assert head is not None
    assert head.price.holidays == (date(2026, 10, 1), date(2026, 10, 2))


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="not a mapping of keys"):
        load(written(tmp_path, text))


def test_the_example_of_a_metered_site_is_sound() -> None:
    site = load(EXAMPLES / "site" / "metered.yaml")
    assert site.head is not None and site.head.pue_metered is not None
    names = [reading.name for reading in Readings.configured(site).all()]
    assert names == [
        "accelerators (nvidia)",
        "host (psutil)",
        "price (http market.example)",
        "green supply (file wind-and-sun.csv)",
        "PUE (prometheus 127.0.0.1:9090 / prometheus 127.0.0.1:9090)",
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing.yaml: cannot be read"):
        load(tmp_path / "nothing.yaml")


def test_check_tells_what_each_source_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    rows = "".join(f"{hour},50\n" for hour in range(24))
    (tmp_path / "green.csv").write_text("hour,kw\n" + rows)
    os.utime(tmp_path / "green.csv", (0, time.time() - 2.4 * 86400))
    assert main(written(tmp_path, GOOD)) == 2
    told = capsys.readouterr().out
    assert "qingyang-1, head of cluster qingyang" in told
    rows_told = {line.split("  ")[0]: line for line in told.splitlines()}
    cards = rows_told["accelerators (declared)"]
    assert cards.rstrip().endswith("8 × A800, 0.65 kW each under load, 2.496 PFLOPS")
    assert "ERROR" in rows_told["price (tariff table tou.csv, Gansu)"]
    green = rows_told["green supply (file green.csv)"]
    assert "now 50, least 50, most 50 in 48 h; 2 d old; file green.csv" in green
    assert rows_told["PUE (constant)"].rstrip().endswith("now 1.15; constant")


def test_check_prints_its_lines_and_exits_with_2_when_something_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    minimal = "node_id: n1\ncluster: c1\nscheduler: {address: 'scheduler:7443'}\n"
    assert main(written(tmp_path, minimal)) == 0
    assert "accelerators (declared)  none" in capsys.readouterr().out
    assert main(written(tmp_path, minimal + "extra: 1\n")) == 2
    assert "extra: unknown key" in capsys.readouterr().out
