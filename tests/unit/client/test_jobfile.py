"""Job files: what is read, and how what is wrong is told."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.client import jobfile, units, yamltree
from scheduler.client.jobrequest import json_schema
from scheduler.client.problems import JobFileError
from westward.v1 import job_pb2

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples" / "jobs").glob("*.yaml"))
SMALL = "name: a\ntenant: t\nregion: shanghai\ncommand: python a.py\nduration: 30m\n"
FULL = """\
name: llama-sft
tenant: vision
region: shanghai
command: [python, train.py, --lr, 0.10, --flag, true]
env: {VERSION: 1.10, DEBUG: yes, WORKERS: 08}
workers: 2
per_worker: {gpus: 8, cpus: 32, memory_gb: 256.5}
accelerators: {A800: 1.0, H800: 1.8}
duration: 1h30m
earliest_start: 2026-11-20T18:00:00+08:00
deadline: +8h
max_delay: 6h
interruptible: true
max_rtt_ms: 20
min_green_share: 80%
green_matching: run
data:
  - {size_gb: 120, at: shanghai}
must_be_in: Gansu
must_not_be_in: [zhongwei]
priority: -5
max_attempts: 2
on_unreachable: wait
stop_grace: 30s
checkpoint_uri: s3://bucket/llama
checkpoint_interval: 10m
restart: 1m
array: {tasks: 500, chunk_tasks: 100, task_attempts: 3}
"""
NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


def written(folder: Path, text: str) -> Path:
    file = folder / "job.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def complaints(folder: Path, text: str) -> list[str]:
    """The problems of a file, without its name: ``line: field: message``."""
    file = written(folder, text)
    with pytest.raises(JobFileError) as caught:
        jobfile.load(file)
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def test_every_field_reaches_the_wire(tmp_path: Path) -> None:
    (document,) = jobfile.load(written(tmp_path, FULL))
    spec = document.request.to_spec(now_at=NOW, working_dir_sha256="ab")
    assert list(spec.command.argv) == ["python", "train.py", "--lr", "0.10", "--flag", "true"]
    assert dict(spec.env) == {"VERSION": "1.10", "DEBUG": "yes", "WORKERS": "08"}
    assert (spec.workers, spec.per_worker.gpus, spec.per_worker.memory_gb) == (2, 8, 256.5)
    assert [(a.model, a.relative_speed) for a in spec.accelerators] == [("A800", 1), ("H800", 1.8)]
    assert spec.expected_duration_s == 5400
    assert spec.earliest_start_at.ToDatetime(UTC) == datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
    assert spec.deadline_at.ToDatetime(UTC) == NOW + timedelta(hours=8)
    assert spec.max_delay_s == 21600
    assert spec.interruptible
    assert (spec.max_rtt_ms, spec.min_green_share) == (20, 0.8)
    assert spec.green_matching == job_pb2.GREEN_MATCHING_RUN
    assert [(d.size_gb, d.location) for d in spec.data] == [(120, "shanghai")]
    assert (list(spec.must_be_in), list(spec.must_not_be_in)) == (["Gansu"], ["zhongwei"])
    assert (spec.priority, spec.max_attempts, spec.working_dir_sha256) == (-5, 2, "ab")
    assert spec.on_unreachable == job_pb2.ON_UNREACHABLE_WAIT
    assert (spec.stop_grace_s, spec.checkpoint_interval_s, spec.restart_s) == (30, 600, 60)
    assert spec.checkpoint_uri == "s3://bucket/llama"
    array = spec.array
    assert (array.tasks, array.chunk_tasks, array.task_attempts) == (500, 100, 3)
    unset = {field.name for field in spec.DESCRIPTOR.fields} - {
        f.name for f, _ in spec.ListFields()
    }
    assert unset == {"ray"}


def test_what_is_not_said_does_not_limit(tmp_path: Path) -> None:
    (document,) = jobfile.load(written(tmp_path, SMALL))
    spec = document.request.to_spec()
    assert not spec.HasField("max_rtt_ms")
    assert not spec.HasField("min_green_share")
    assert not spec.HasField("deadline_at")
    assert list(spec.command.argv) == ["python", "a.py"]
    assert not document.request.needs_clock


def test_relative_times_need_the_schedulers_clock(tmp_path: Path) -> None:
    (document,) = jobfile.load(written(tmp_path, f"{SMALL}deadline: +4h\n"))
    assert document.request.needs_clock
    with pytest.raises(ValueError, match="now_at"):
        document.request.to_spec()


def test_a_time_after_all_calendars_is_told_with_its_field(tmp_path: Path) -> None:
    (document,) = jobfile.load(written(tmp_path, f"{SMALL}deadline: +36500d\n"))
    assert document.request.to_spec(now_at=NOW).deadline_at.ToDatetime().year == 2126
    with pytest.raises(ValueError, match=r"deadline: 36500 days, .* beyond the year 9999"):
        document.request.to_spec(now_at=NOW.replace(year=9950))


def test_one_file_may_hold_several_jobs(tmp_path: Path) -> None:
    text = f"---\n{SMALL}---\n{SMALL.replace('name: a', 'name: b')}---\n"
    jobs = jobfile.load(written(tmp_path, text))
    assert [job.request.name for job in jobs] == ["a", "b"]
    assert str(jobs[1].problem("expected_duration_s", "x")).endswith("job.yaml:12: duration: x")


def test_tenant_may_come_from_the_settings(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL.replace("tenant: t\n", ""))
    (document,) = jobfile.load(file, tenant="render")
    assert document.request.tenant == "render"


def test_working_dir_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (document,) = jobfile.load(written(tmp_path, f"{SMALL}working_dir: src\n"))
    assert document.working_dir == tmp_path / "src"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("gpuss: 1", "6: gpuss: unknown field; known here:"),
        ("dedline: +1h", "6: dedline: unknown field; did you mean 'deadline'?"),
        ("workers: -1", "6: workers: -1 should be greater than or equal to 1"),
        ("workers: many", "6: workers: 'many' should be a whole number; e.g. `workers: 2`"),
        ("workers: 1.5", "6: workers: 1.5 should be a whole number"),
        ("workers: true", "6: workers: True should be a whole number"),
        ("per_worker: {gpus: -8}", "6: per_worker.gpus: -8 should be greater than or equal to 0"),
        ("per_worker: {gpu: 8}", "6: per_worker.gpu: unknown field; did you mean 'gpus'?"),
        ("per_worker:\n  cpus: 2\n  memory: 8", "8: per_worker.memory: unknown field; did you"),
        ("per_worker: 8", "6: per_worker: 8 should be a mapping"),
        ("accelerators: {A800: -1}", "6: accelerators.A800: -1 should be greater than 0"),
        ("accelerators: [1]", "6: accelerators: 1 is not a model"),
        ("min_green_share: 1.7", "6: min_green_share: 1.7 is not a share of 0 to 1; write 0.8"),
        ("min_green_share: 80", "6: min_green_share: 80 is not a share of 0 to 1; write 80%"),
        ("min_green_share: 170%", "6: min_green_share: 1.7 is not a share"),
        ("min_green_share: lots", "6: min_green_share: 'lots' is not a share; write 0.8 or 80%"),
        ("min_green_share: .nan", "6: min_green_share: nan is not a share"),
        ("max_rtt_ms: .inf", "6: max_rtt_ms: inf should be a finite number"),
        ("max_rtt_ms: -3", "6: max_rtt_ms: -3 should be greater than 0"),
        ("max_delay: 6 hours", "6: max_delay: '6 hours' is not a duration; write 90, 45s, 30m"),
        ("max_delay: -1", "6: max_delay: -1 should be greater than or equal to 0"),
        ("deadline: tomorrow", "6: deadline: 'tomorrow' is not a time; write +4h or"),
        ("deadline: 2026-11-20T18:00", "6: deadline: '2026-11-20T18:00' has no time zone; write"),
        ("deadline: 17", "6: deadline: 17 is not a time"),
        ("deadline: +99999999999d", "6: deadline: '+99999999999d' is over 36500 days ahead; write"),
        (f"deadline: +{'9' * 400}d", "6: deadline: '+999"),
        ("earliest_start: +9000000d", "6: earliest_start: '+9000000d' is over 36500 days ahead;"),
        ("deadline: 0001-01-01T00:00+14:00", "6: deadline: '0001-01-01T00:00+14:00' lies outside"),
        ("deadline: 9999-12-31T23:59-14:00", "6: deadline: '9999-12-31T23:59-14:00' lies outside"),
        ("data: [{size_gb: -1, at: x}]", "6: data[0].size_gb: -1 should be greater than"),
        ("data: [{size_gb: 1}]", "6: data[0].at: is missing; add `at: shanghai`"),
        ("data: 7", "6: data: 7 should be a list"),
        ("interruptible: yes", "6: interruptible: 'yes' should be true or false"),
        ("priority: 5000", "6: priority: 5000 should be less than or equal to 1000"),
        ("env: {A: null}", "6: env.A: None should be text"),
        ("env: {A: [1]}", "6: env.A: [1] should be text"),
        ("working_dir: nowhere", "6: working_dir: 'nowhere' is not a directory"),
        ("ray: {entrypoint: x}", "6: ray: stands beside `command`"),
        ("name: again", "6: name: is given twice (first on line 1)"),
        ("env: &e {A: b}", "6: env: anchors (&e) are refused"),
        ("env: *e", "6: env: aliases (*e) are refused"),
        ("env: !!python/object:os.system {}", "6: env: tags (tag:yaml.org"),
        ("name: !secret x", "6: name: "),
        ("? [a]\n: b", "6: has a key that is not a word"),
        ("env: {A: b", "7: is not YAML:"),
        ("\tx: 1", "6: is not YAML:"),
    ],
)  # fmt: skip
def test_every_error_says_where_what_and_how(line: str, complaint: str, tmp_path: Path) -> None:
    (told,) = complaints(tmp_path, f"{SMALL}{line}\n")
    assert told.startswith(complaint)


def test_all_problems_of_all_documents_are_told_at_once(tmp_path: Path) -> None:
    told = complaints(tmp_path, f"{SMALL}workers: 0\npriority: 9999\n---\n{SMALL}workers: 0\n")
    assert [line.split(":")[0] for line in told] == ["6", "7", "14"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "1: has no job"),
        ("---\n", "1: has no job"),
        ("- a\n", "1: is ['a'], not a job"),
        ("hello\n", "1: is 'hello', not a job"),
        ("name: a\n", "1: tenant: is missing; add `tenant: vision`, or set WESTWARD_TENANT"),
    ],
)
def test_files_without_a_job(text: str, complaint: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, text)[0].startswith(complaint)


def test_a_job_must_run_something(tmp_path: Path) -> None:
    (told,) = complaints(tmp_path, SMALL.replace("command: python a.py\n", ""))
    assert told.startswith("1: command: nothing to run")


def test_an_unclosed_quote_in_a_command_is_told(tmp_path: Path) -> None:
    (told,) = complaints(tmp_path, SMALL.replace("python a.py", "python 'a.py"))
    assert "no closing quotation" in told


def test_a_bomb_of_aliases_is_refused_before_it_grows(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
    )
    (told,) = complaints(tmp_path, bomb)
    assert told == "1: a: anchors (&a) are refused; remove it"


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    (told,) = complaints(tmp_path, f"a: {'[' * 100_000}\n")
    assert "is nested more than 20 deep" in told


def test_a_file_of_2_mb_is_refused_unread(tmp_path: Path) -> None:
    (told,) = complaints(tmp_path, f"name: {'x' * 2_000_000}\n")
    assert told.startswith("1: is 2,000,007 bytes; a job file has at most 1,048,576")


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match="cannot be read: No such file"):
        jobfile.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: a\nregion: \xff\n")
    with pytest.raises(JobFileError, match=r"latin.yaml:2: is not UTF-8 \(byte 0xff\)"):
        jobfile.load(tmp_path / "latin.yaml")


def test_what_the_scheduler_refuses_is_found_in_the_file(tmp_path: Path) -> None:
    (document,) = jobfile.load(written(tmp_path, FULL))
    places = {
        "region": (3, "region"),
        "spec.per_worker.gpus": (7, "per_worker.gpus"),
        "data[0].location": (18, "data[0].at"),
        "deadline_at": (11, "deadline"),
        "command.argv[2]": (4, "command.argv[2]"),
        "nothing": (1, "nothing"),
    }
    for field, (line, shown) in places.items():
        problem = document.problem(field, "x")
        assert (problem.line, problem.field) == (line, shown)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_examples_are_valid_and_match_the_schema(file: Path) -> None:
    for document in jobfile.load(file, tenant="demo"):
        assert document.request.to_spec(now_at=NOW).IsInitialized()
    for value in yaml.safe_load_all(file.read_text(encoding="utf-8")):
        jsonschema.Draft202012Validator(json_schema()).validate(value)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def test_published_schema_is_what_the_code_says() -> None:
    published = ROOT / "docs" / "job.schema.json"
    assert json.loads(published.read_text(encoding="utf-8")) == json_schema(), (
        "docs/job.schema.json is old: westward job schema > docs/job.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    "text", ["gpuss: 1\n", "workers: 0\n", "min_green_share: 1.7\n", "ray: 1\n"]
)
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(yaml.safe_load(SMALL + text))


@given(st.integers(0, 10), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_durations_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = units.duration_s(f"{days}d{hours}h{minutes}m{seconds}s")
    assert total == days * 86400 + hours * 3600 + minutes * 60 + seconds


@settings(deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_read_or_refused_never_more(text: str) -> None:
    try:
        for document in yamltree.parse(text, "x"):
            assert document.line_of(()) >= 1
    except JobFileError as error:
        assert all(problem.line >= 1 for problem in error.problems)


def _means_the_same(word: str) -> bool:
    """Not 08 and 1e5: numbers in YAML 1.2, which is read, and text in 1.1, which PyYAML writes."""
    number = re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", word, re.IGNORECASE | re.ASCII)
    return number is None or yaml.safe_load(word) != word


WORDS = st.text(
    st.characters(categories=["L", "N", "P"], include_characters=" "), max_size=12
).filter(_means_the_same)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**20), 10**20) | WORDS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
        max_leaves=12,
    )
)
def test_plain_data_survives_a_round_trip(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=False)
    documents = list(yamltree.parse(text, "x"))
    assert [document.value for document in documents] == ([] if value is None else [value])
