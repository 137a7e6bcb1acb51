"""Which jobs are planned together after a round has failed."""

from hypothesis import given
from hypothesis import strategies as st

from scheduler.planning.suspects import PAUSE_MOST_S, Suspects

ALL = [f"j{i}" for i in range(8)]


def choose(suspects: Suspects, waiting: list[str], now_s: float) -> list[str]:
    """The jobs of the next round, as the loop has it."""
    apart = suspects.choose(len(waiting), now_s)
    return [i for i in waiting if (i in apart if apart else i not in suspects.suspected)]


def test_without_faults_all_are_planned_together() -> None:
    suspects = Suspects()
    for _ in range(3):
        assert choose(suspects, ALL, 0.0) == ALL
        assert not suspects.passed()
    assert suspects.due_s == float("inf")


def test_a_failed_round_is_tried_again_in_halves_and_newcomers_go_between() -> None:
    suspects = Suspects()
    choose(suspects, ALL, 0.0)
    pause_s = suspects.failed(ALL, 0.0)
    assert suspects.due_s == pause_s
    assert choose(suspects, [*ALL, "new"], 0.0) == ["new"], "the halves are not due yet"
    suspects.passed()
    assert choose(suspects, [*ALL, "new"], 1.0) == ALL[:4]
    suspects.passed()
    assert choose(suspects, [*ALL, "new"], 1.0) == [*ALL[:4], "new"], "both take turns"
    suspects.passed()
    assert choose(suspects, [*ALL, "new"], 1.0) == ALL[4:]


def test_a_lone_culprit_is_tried_ever_more_rarely_but_never_given_up() -> None:
    suspects, now_s, pauses_s = Suspects(), 0.0, []
    for _ in range(40):
        assert choose(suspects, ["bad"], now_s) == ["bad"]
        pauses_s.append(suspects.failed(["bad"], now_s))
        assert choose(suspects, ["bad"], now_s) == []
        now_s = suspects.due_s
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[-1] == PAUSE_MOST_S


def test_a_lone_culprit_that_passes_clears_all() -> None:
    suspects = Suspects()
    choose(suspects, ["a", "b"], 0.0)
    suspects.failed(["a", "b"], 0.0)
    for now_s in (1.0, 2.0):
        suspects.failed(choose(suspects, ["a", "b"], now_s), now_s)
    assert len(choose(suspects, ["a", "b"], 100.0)) == 1
    assert suspects.passed()
    assert choose(suspects, ["a", "b"], 100.0) == ["a", "b"]


def test_jobs_that_no_longer_wait_are_forgotten() -> None:
    suspects = Suspects()
    choose(suspects, ALL, 0.0)
    suspects.failed(ALL, 0.0)
    for job_id in ALL:
        suspects.forget(job_id)
    assert choose(suspects, [], 1.0) == []
    assert suspects.due_s == float("inf")


@given(bad=st.sets(st.sampled_from(ALL)), together=st.booleans())
def test_all_but_the_culprits_are_planned_soon(bad: set[str], together: bool) -> None:
    """Whether each culprit breaks the planner by itself, or only all of them together."""
    suspects, now_s, waiting = Suspects(), 0.0, list(ALL)
    for _ in range(64):
        chosen = choose(suspects, waiting, now_s)
        breaks = bad and bad <= set(chosen) if together else bad & set(chosen)
        if chosen and breaks:
            suspects.failed(chosen, now_s)
        elif chosen:
            suspects.passed()
            waiting = [job_id for job_id in waiting if job_id not in chosen]
            for job_id in chosen:
                suspects.forget(job_id)
        now_s = max(now_s + 0.01, min(suspects.due_s, now_s + 1.0))
    assert set(waiting) <= bad
    assert not together or len(bad) < 2 or not waiting
