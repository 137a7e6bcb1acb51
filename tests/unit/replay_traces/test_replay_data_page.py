"""The page on a replay's data: its examples are read as they stand, and nothing is left out."""

import re
from pathlib import Path

from pydantic import BaseModel

from scheduler.replay import world, world_keys
from scheduler.replay.traces import files, jobs_csv, sacct

PAGE = (Path(__file__).parents[3] / "docs" / "replay-data.md").read_text(encoding="utf-8")
TARIFFS = (
    "province,season,hours_local_start_inclusive,multiplier_on_flat\n"
    f'Gansu,all,"{",".join(map(str, range(24)))}",1\n'
)
WIND = "time,kw\n" + "".join(f"2026-{month:02}-01,{month}\n" for month in range(5, 9))


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found.group(1)


def test_the_examples_are_read(tmp_path: Path) -> None:
    (tmp_path / "tariffs.csv").write_text(TARIFFS, encoding="utf-8")
    (tmp_path / "wind.csv").write_text(WIND, encoding="utf-8")
    (tmp_path / "world.yaml").write_text(example("yaml"), encoding="utf-8")
    (tmp_path / "jobs.csv").write_text(example("csv"), encoding="utf-8")
    jobs = files.read(tmp_path / "jobs.csv", world.load(tmp_path / "world.yaml")).jobs
    assert [job.spec.gpus for job in jobs] == [32, 1]


def test_every_column_is_explained() -> None:
    table = PAGE.split("## Jobs from Slurm")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(jobs_csv.COLUMNS)


def test_the_command_prints_every_field_that_is_read() -> None:
    assert sacct.COMMAND.split("--format=")[1] in example("sh")


def test_every_key_of_a_world_is_named() -> None:
    section = PAGE.split("## The world")[1]
    models = [
        kind
        for kind in vars(world_keys).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]
    keys = {name for kind in models for name in kind.model_fields}
    missing = {key for key in keys if not re.search(rf"\b{key}\b", section)}
    assert not missing
