"""What a shell completes: commands and their options, and what the scheduler knows by name."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.cli import completion
from scheduler.cli.main import main
from tests.fakes import canned
from tests.fakes.fake_scheduler import FakeScheduler

RUNNING, *_ = canned.jobs()
Capture = pytest.CaptureFixture[str]
Tab = Callable[[str], list[str]]


@pytest.fixture
def tab(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Tab:
    """What bash is offered for the last word of a line."""

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_WESTWARD_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        assert main([]) == 0
        out, err = capsys.readouterr()
        assert not err
        return out.split()

    return complete


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("westward time", ["timeline"]),
        ("westward timeline --ho", ["--hours"]),
        ("westward jobs --state p", ["pending", "preempting"]),
        ("westward node dr", ["drain"]),
        ("westward job force-retry --y", ["--yes"]),
        ("westward clusters -o w", ["wide"]),
        ("westward jobs --cluster z", ["zhongwei"]),
        ("westward timeline --cluster q", ["qingyang"]),
        ("westward node drain qy", ["qy-1", "qy-2", "qy-3"]),
        ("westward cancel nigh", ["nightly-embeddings"]),
        ("westward job llama", ["llama-sft"]),
        ("westward job s", ["show", "suspend", "schema"]),
        (f"westward logs {RUNNING.id[:-1]}", [RUNNING.id]),
    ],
)
def test_tab_offers(line: str, offered: list[str], tab: Tab, fake: FakeScheduler) -> None:
    assert tab(line) == offered


def test_a_name_that_a_shell_would_run_is_not_offered(tab: Tab, fake: FakeScheduler) -> None:
    for n, job in enumerate(list(fake.jobs.values())[:2]):
        job.spec.name = ["evil$(touch${IFS}x)", "evil-小-2"][n]
    assert tab("westward job ev") == ["evil-小-2"]


def test_a_scheduler_that_is_away_offers_nothing_and_says_nothing(
    tab: Tab, fake: FakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "TIMEOUT_S", 0.05)
    for address in ("127.0.0.1:1", "nonsense"):
        monkeypatch.setenv("WESTWARD_ADDRESS", address)
        assert tab("westward cancel nigh") == []


def test_the_script_for_bash_can_be_sourced(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    # Whatever shell the tests are run from.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert main(["--show-completion", "bash"]) == 0
    script = tmp_path / "westward.bash"
    script.write_text(capsys.readouterr().out)
    asked = f"source {script}; complete -p westward"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert "_westward_completion" in done.stdout
