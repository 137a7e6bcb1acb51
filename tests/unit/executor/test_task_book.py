"""Which tasks of an array's chunk are given to which worker."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agents.executor.tasks import TaskBook
from agents.executor.wire import Message, Order
from scheduler.domain.arrays import Progress, count, full, holds
from scheduler.domain.reason import ReasonCode

NODE = "node-1"


def an_order(tasks: int, *, workers: int = 1, **changes: Any) -> Order:
    plain: dict[str, Any] = {
        "attempt_id": "j1-1",
        "job_id": "j1",
        "epoch": 1,
        "number": 1,
        "nodes": [NODE] * workers,
        "gpus": 0,
        "cpus": 1.0,
        "memory_gb": 1.0,
        "env": {},
        "argv": ["true"],
        "entrypoint": None,
        "archive": None,
        "data_dir": "/data",
        "cluster": "test",
        "tasks": tasks,
    }
    return Order(**{**plain, **changes})


def news(*ended: tuple[int, int, int, str], room: int = 0, **changes: Any) -> Message:
    return {"kind": "tasks", "ended": ended, "returned": [], "room": room, **changes}


def given_in(answers: list[tuple[int, Message]], rank: int = 0) -> list[tuple[int, int]]:
    [tasks] = [answer["tasks"] for other, answer in answers if other == rank]
    return list(tasks)


def test_a_worker_gets_at_most_half_of_its_share_so_that_all_end_together() -> None:
    book = TaskBook(an_order(100, workers=2))
    assert given_in(book.heard(0, news(room=1000))) == [(task, 1) for task in range(25)]
    assert len(given_in(book.heard(1, news(room=1000)), 1)) == 18
    assert given_in(book.heard(0, news(*[(t, 1, 0, "") for t in range(25)], room=3))) == [
        (43, 1),
        (44, 1),
        (45, 1),
    ]
    assert book.progress() == Progress(full(25), b"", 2)


def test_the_last_task_is_given_though_the_share_is_less() -> None:
    book = TaskBook(an_order(1, workers=4))
    assert given_in(book.heard(3, news(room=5)), 3) == [(0, 1)]


def test_who_finds_nothing_waits_and_is_told_when_all_is_over() -> None:
    book = TaskBook(an_order(2, workers=2, task_attempts=2))
    assert given_in(book.heard(0, news(room=1))) == [(0, 1)]
    assert given_in(book.heard(1, news(room=1)), 1) == [(1, 1)]
    assert book.heard(1, news((1, 1, 0, ""), room=9)) == []
    # What failed goes to the one that waits; who comes next waits in turn.
    assert given_in(book.heard(0, news((0, 1, 4, ""))), 1) == [(0, 2)]
    assert book.heard(0, news(room=9)) == []
    answers = book.heard(1, news((0, 2, 0, ""), room=9))
    over = {"kind": "tasks", "tasks": [], "over": True}
    assert sorted(answers, key=lambda answer: answer[0]) == [(0, over), (1, over)]
    assert book.over and book.ending().code is ReasonCode.OK


def test_what_is_given_back_is_given_next() -> None:
    book = TaskBook(an_order(40))
    assert len(given_in(book.heard(0, news(room=4)))) == 4
    assert book.heard(0, news(returned=[(2, 1), (3, 1)])) == []
    assert given_in(book.heard(0, news((0, 1, 0, ""), (1, 1, 0, ""), room=3))) == [
        (2, 1),
        (3, 1),
        (4, 1),
    ]


def test_the_first_that_failed_is_the_one_of_the_lowest_index() -> None:
    book = TaskBook(an_order(3, first_task=100))
    book.heard(0, news(room=1))
    book.heard(0, news((0, 1, 0, ""), room=1))
    book.heard(0, news((2, 1, 7, "late"), (1, 1, -11, ""), room=1))
    ending = book.ending()
    assert (ending.code, ending.exit_code) == (ReasonCode.TASKS_FAILED, -11)
    assert ending.message == "2 of 3 tasks failed; the first, 101: ended by SIGSEGV"


def test_a_chunk_that_was_done_before_is_over_at_once() -> None:
    book = TaskBook(an_order(9, tasks_done=full(9).hex()))
    assert book.heard(0, news(room=1)) == [(0, {"kind": "tasks", "tasks": [], "over": True})]
    assert book.progress() == Progress(full(9), b"", 0)


@given(
    tasks=st.integers(1, 60),
    workers=st.integers(1, 4),
    attempts=st.integers(1, 3),
    data=st.data(),
)
def test_every_task_ends_well_or_uses_up_its_tries(
    tasks: int, workers: int, attempts: int, data: st.DataObject
) -> None:
    book = TaskBook(an_order(tasks, workers=workers, task_attempts=attempts))
    queues: list[list[tuple[int, int]]] = [[] for _ in range(workers)]
    dismissed: set[int] = set()
    tries: dict[int, list[int]] = {task: [] for task in range(tasks)}
    answers = [answer for rank in range(workers) for answer in book.heard(rank, news(room=1))]
    while True:
        for rank, answer in answers:
            assert rank not in dismissed
            queues[rank] += answer["tasks"]
            dismissed |= {rank} if answer["over"] else set()
        busy = [rank for rank in range(workers) if queues[rank]]
        if not busy:
            break
        rank = data.draw(st.sampled_from(busy))
        task, number = queues[rank].pop(0)
        exit_code = data.draw(st.sampled_from([0, 0, 1]))
        tries[task].append(exit_code)
        assert len(tries[task]) == number
        back = queues[rank] if data.draw(st.booleans()) else []
        queues[rank] = [] if back else queues[rank]
        room = 0 if queues[rank] else data.draw(st.integers(1, 30))
        answers = book.heard(rank, news((task, number, exit_code, ""), room=room, returned=back))
    assert book.over and dismissed == set(range(workers))
    progress = book.progress()
    assert count(progress.succeeded) + count(progress.failed) == tasks
    for task, codes in tries.items():
        assert codes[:-1] == [1] * (len(codes) - 1) and len(codes) <= attempts
        assert holds(progress.succeeded, task) == (codes[-1] == 0)
        assert codes[-1] == 0 or len(codes) == attempts
