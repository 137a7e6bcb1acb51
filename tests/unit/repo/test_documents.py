"""The tables and diagrams of the documents say what the code says."""

import re
from pathlib import Path

import pytest

from docs.reference import FILES, filled
from policies.latency import SAMPLES_MIN
from scheduler.domain.job import FINAL_STATES
from scheduler.domain.reason import INFRASTRUCTURE, ReasonCode
from scheduler.domain.transitions import TRANSITIONS, Event
from tests.unit.repo.tree import ROOT, files, name, text

OPERATIONS = text(ROOT / "docs" / "operations.md")
REASONS = text(ROOT / "docs" / "reasons.md")
ARCHITECTURE = text(ROOT / "docs" / "architecture.md")
POLICIES = text(ROOT / "docs" / "policies.md")
AGENTS = text(ROOT / "docs" / "agents.md")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_tables_of_keys_follow_the_loaders(file: Path) -> None:
    told = text(file)
    assert "<!-- keys: " in told or "<!-- metrics -->" in told
    assert told == filled(told), "run `python docs/reference.py`"


def test_every_reason_is_explained_in_its_order() -> None:
    section = OPERATIONS.split("\n## Reasons\n")[1].split("\n## ")[0]
    codes = re.findall(r"^\| `([A-Z_]+)` \|", REASONS, re.MULTILINE)
    assert codes == [code.value for code in ReasonCode]
    named = section.split("Failures of the infrastructure (")[1].split(")")[0]
    assert set(re.findall(r"`([A-Z_]+)`", named)) == {code.value for code in INFRASTRUCTURE}


def test_the_diagram_of_states_is_the_table_of_transitions() -> None:
    drawn = re.findall(r"^    ([A-Z]+) --> ([A-Z]+): ([A-Z_]+)$", ARCHITECTURE, re.MULTILINE)
    assert drawn
    table = {(f.value, to.value, event.value) for (f, event), (to, _) in TRANSITIONS.items()}
    assert set(drawn) <= table
    assert {event for _, _, event in drawn} == {e.value for e in Event} - {Event.SUBMIT.value}


@pytest.mark.parametrize("state", ["ASSIGNED", "UNREACHABLE"])
def test_the_words_below_the_diagram_hold(state: str) -> None:
    ends = {Event.SUCCEED, Event.FAIL_RETRY, Event.FAIL_FINAL, Event.CANCEL}
    rows = {(f.value, event): to for (f, event), (to, _) in TRANSITIONS.items()}
    assert all(rows[state, event] == rows["RUNNING", event] for event in ends)
    cancelled = {to.value for (f, _), (to, _) in TRANSITIONS.items() if f.value == "CANCELLING"}
    assert cancelled == {"CANCELLED"}
    assert "CANCELLED" in {state.value for state in FINAL_STATES}


def test_the_rooms_named_exist() -> None:
    section = ARCHITECTURE.split("\n## The rooms\n")[1].split("\n## ")[0]
    first = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    rooms = [room for cell in first for room in re.findall(r"`([^`]+)`", cell)]
    assert len(rooms) > len(first) - 1
    assert not [room for room in rooms if not (ROOT / room).exists()]


def test_the_events_that_the_documents_name_are_logged() -> None:
    section = OPERATIONS.split("\n## Logs\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)?)`", section))
    rooms = ("scheduler/", "agents/")
    sources = [text(file) for file in files(".py") if name(file).startswith(rooms)]
    assert named
    assert not {event for event in named if not any(f'"{event}"' in s for s in sources)}


def test_so_many_samples_make_a_round_trip_known() -> None:
    assert f"from {SAMPLES_MIN} fresh samples" in POLICIES
    assert f"at least\n{SAMPLES_MIN} " in AGENTS or f"at least {SAMPLES_MIN} " in AGENTS
