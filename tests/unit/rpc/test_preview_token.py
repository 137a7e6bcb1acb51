"""What a plan token holds, what it notices, and when an answer counts as worse."""

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.rpc.preview_token import (
    PREFIX,
    VALID_FOR,
    Answer,
    TokenError,
    digest,
    objection,
    read,
    written,
)
from tests.fakes.jobs import NOW, a_spec

TOLD = Answer("qingyang", "A800", NOW + timedelta(hours=1), now=False, cost_yuan=10.0)
SLOT_S = 900.0


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    st.text("AH890B", max_size=8),
    st.integers(0, 80 * 366 * 86_400_000).map(lambda ms: NOW + timedelta(milliseconds=ms)),
    st.booleans(),
)
def test_a_token_holds_what_was_told(cluster: str, model: str, at: datetime, now: bool) -> None:
    told = Answer(cluster, model, at, now, 0.5)
    text, until_at = written(a_spec(), told, NOW)
    token = read(text)
    assert (token.told, token.until_at, token.digest) == (told, until_at, digest(a_spec()))
    assert until_at == NOW + VALID_FOR
    assert (token.planned.cluster, token.planned.start_at) == (cluster, at)


def test_a_token_is_short_and_can_be_typed_in_a_shell() -> None:
    text, _ = written(a_spec(), TOLD, NOW)
    assert len(text) < 80
    assert text.startswith(PREFIX)
    assert all(c.isalnum() or c in "._-" for c in text)


@given(st.binary(max_size=90))
def test_what_is_no_token_is_refused(data: bytes) -> None:
    with pytest.raises(TokenError, match="is no plan token"):
        read(PREFIX + base64.urlsafe_b64encode(data).decode())


@pytest.mark.parametrize("at", [6, 20, 40, -1])
def test_a_token_with_a_wrong_letter_is_refused(at: int) -> None:
    text, _ = written(a_spec(), TOLD, NOW)
    letters = [*text]
    letters[at] = "A" if letters[at] != "A" else "Q"
    with pytest.raises(TokenError):
        read("".join(letters))


def test_the_digest_is_of_what_a_plan_depends_on() -> None:
    same = a_spec(name="other", env={"A": "b"}, deadline_at=NOW, earliest_start_at=NOW)
    assert digest(same) == digest(a_spec())
    for change in ({"workers": 2}, {"max_delay_s": 60.0}, {"priority": 1}, {"tenant": "x"}):
        assert digest(a_spec(**change)) != digest(a_spec())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"start_at": TOLD.start_at + timedelta(seconds=SLOT_S)}, ""),
        ({"start_at": TOLD.start_at + timedelta(seconds=SLOT_S + 60)}, "16 minutes later"),
        ({"start_at": NOW, "now": True}, ""),
        ({"cost_yuan": 10.5}, ""),
        ({"cost_yuan": 10.51}, "0.51 yuan dearer"),
        ({"cost_yuan": 1.0}, ""),
        ({"cluster": "horinger"}, "another cluster or accelerator"),
        ({"accelerator": "H800"}, "another cluster or accelerator"),
    ],
)
def test_what_is_materially_worse_is_named(change: dict[str, Any], told: str) -> None:
    assert objection(TOLD, replace(TOLD, **change), NOW, SLOT_S) == told


def test_a_start_at_once_must_be_at_once_whenever_the_token_is_used() -> None:
    told = replace(TOLD, start_at=NOW, now=True)
    used_at = NOW + timedelta(minutes=10)
    at_once = replace(told, start_at=used_at)
    assert objection(told, at_once, used_at, SLOT_S) == ""
    soon = replace(at_once, now=False, start_at=used_at + timedelta(minutes=5))
    assert objection(told, soon, used_at, SLOT_S) == "5 minutes later"
    assert objection(told, None, used_at, SLOT_S) == "it has no place"
