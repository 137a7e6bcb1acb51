"""What every Executor must do with a chunk of an array: run against plain processes and Ray."""

import os
import signal
from pathlib import Path

from agents.executor import processes
from agents.executor.base import Assignment, Executor, Observation
from scheduler.domain.arrays import count, full, holds
from scheduler.domain.job import ArraySpec, AttemptState
from scheduler.domain.reason import ReasonCode
from scheduler.domain.tasks import TaskRecord, parse
from tests.contract.executor_cases import (
    NODE,
    SECOND_NODE,
    an_assignment,
    eventually,
    final,
    folder_of,
    reason_of,
    run,
    until,
)

INDEX = "$WESTWARD_TASK_INDEX"


def an_array(
    script: str,
    tasks: int,
    *,
    nodes: tuple[str, ...] = (NODE, SECOND_NODE),
    first_task: int = 0,
    task_attempts: int = 1,
    tasks_done: bytes = b"",
) -> Assignment:
    """A chunk whose tasks each run a shell script."""
    array = ArraySpec(tasks=tasks, first_task=first_task, task_attempts=task_attempts)
    return an_assignment("bash", "-c", script, nodes=nodes, array=array, tasks_done=tasks_done)


def records_of(data_dir: Path, assignment: Assignment, rank: int) -> list[TaskRecord]:
    folder = folder_of(data_dir, assignment, rank)
    return list(parse((folder / f"rank-{rank}.tasks").read_bytes()))


def ran(trace: Path) -> list[int]:
    """The tasks that have written their index to a file, in ascending order."""
    return sorted(map(int, trace.read_text().split())) if trace.exists() else []


def succeeded(observation: Observation) -> int:
    return count(observation.tasks.succeeded) if observation.tasks else 0


class ArrayContract:
    """Subclasses give the fixtures ``executor`` and ``data_dir``."""

    async def test_every_task_runs_once_and_knows_its_index(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        trace = tmp_path / "trace"
        assignment = an_array(f"echo {INDEX} >> {trace}", 300, first_task=1000)
        seen = await run(executor, assignment)
        assert (seen.state, seen.exit_code) == (AttemptState.SUCCEEDED, 0), seen
        assert reason_of(seen) is ReasonCode.OK
        assert seen.tasks and (seen.tasks.succeeded, seen.tasks.failed) == (full(300), b"")
        assert ran(trace) == list(range(1000, 1300))

    async def test_records_tell_where_each_task_wrote(
        self, executor: Executor, data_dir: Path
    ) -> None:
        assignment = an_array(f"echo out {INDEX}; echo err {INDEX} >&2; exit 0", 40)
        await run(executor, assignment)
        told = set()
        for rank in range(2):
            folder = folder_of(data_dir, assignment, rank)
            out = (folder / f"rank-{rank}.stdout").read_text()
            err = (folder / f"rank-{rank}.stderr").read_text()
            records = records_of(data_dir, assignment, rank)
            for begun, ended in zip(records[::2], records[1::2], strict=True):
                assert (begun.index, begun.number, begun.end) == (ended.index, 1, None)
                assert ended.end is not None and ended.end.exit_code == 0
                assert begun.at_s <= ended.at_s
                assert out[slice(*ended.end.stdout)] == f"out {ended.index}\n"
                assert err[slice(*ended.end.stderr)] == f"err {ended.index}\n"
                told.add(ended.index)
        assert told == set(range(40))

    async def test_tasks_that_are_done_do_not_run_again(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        trace = tmp_path / "trace"
        done = bytes([0b10101010, 0b1])
        seen = await run(executor, an_array(f"echo {INDEX} >> {trace}", 20, tasks_done=done))
        assert seen.tasks and seen.tasks.succeeded == full(20)
        assert ran(trace) == [task for task in range(20) if not holds(done, task)]
        every = an_array(f"echo {INDEX} >> {trace}", 20, tasks_done=full(20))
        seen = await run(executor, every)
        assert seen.state is AttemptState.SUCCEEDED
        assert len(ran(trace)) == 15

    async def test_a_task_is_tried_again(self, executor: Executor, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        script = f"echo {INDEX} >> {trace}; [ {INDEX} != 7 ] || [ $WESTWARD_TASK_ATTEMPT = 3 ]"
        seen = await run(executor, an_array(script, 10, task_attempts=3))
        assert seen.state is AttemptState.SUCCEEDED, seen
        assert ran(trace) == [0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 9]

    async def test_failed_tasks_fail_the_attempt_when_all_are_over(
        self, executor: Executor
    ) -> None:
        script = f"echo log of {INDEX} >&2; case {INDEX} in 1[37]) exit 3;; 118) kill -9 $$;; esac"
        seen = await run(executor, an_array(script, 120, first_task=10, task_attempts=2))
        assert (seen.state, seen.exit_code) == (AttemptState.FAILED, 3)
        assert seen.reason and seen.reason.code is ReasonCode.TASKS_FAILED
        assert seen.reason.message == (
            "3 of 120 tasks failed; the first, 13: exit code 3; last line of stderr: log of 13"
        )
        assert seen.tasks and succeeded(seen) == 117
        assert [task for task in range(120) if holds(seen.tasks.failed, task)] == [3, 7, 108]

    async def test_an_array_of_a_command_that_is_not_there(self, executor: Executor) -> None:
        array = ArraySpec(tasks=10_000)
        seen = await run(executor, an_assignment("no-such-program", array=array))
        assert (seen.state, reason_of(seen)) == (
            AttemptState.FAILED,
            ReasonCode.COMMAND_NOT_FOUND,
        )

    async def test_what_a_task_leaves_behind_ends_with_it(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        pid = tmp_path / "pid"
        script = f"if [ {INDEX} = 0 ]; then setsid sleep 600 & echo $! > {pid}; exit; fi"
        script += f"; ! kill -0 $(cat {pid})"
        seen = await run(executor, an_array(script, 2, nodes=(NODE,)))
        assert seen.state is AttemptState.SUCCEEDED, seen

    async def test_nothing_waits_behind_a_long_task(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        # Task 50 ends when all others have, so that none of them may be kept behind it.
        trace = tmp_path / "trace"
        trace.touch()
        wait = f"until [ $(wc -l < {trace}) = 199 ]; do sleep 0.05; done"
        script = f"[ {INDEX} != 50 ] || {{ {wait}; }}; echo {INDEX} >> {trace}"
        seen = await run(executor, an_array(script, 200))
        assert seen.state is AttemptState.SUCCEEDED, seen
        assert ran(trace) == list(range(200))

    async def test_stopping_an_array_keeps_what_is_done(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        trace = tmp_path / "trace"
        hold = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
        script = f"[ {INDEX} -lt 20 ] || {{ {hold}; }}; echo {INDEX} >> {trace}"
        assignment = an_array(script, 100)
        await executor.start(assignment)
        told = await until(executor, assignment.attempt_id, lambda seen: succeeded(seen) == 20)
        assert told.state is AttemptState.RUNNING
        await until(
            executor,
            assignment.attempt_id,
            lambda seen: seen.tasks is not None and seen.tasks.running == 2,
        )
        await executor.stop(assignment.attempt_id, grace_s=20.0)
        seen = await until(executor, assignment.attempt_id, final, within_s=10.0)
        assert (seen.state, reason_of(seen)) == (AttemptState.STOPPED, ReasonCode.STOPPED)
        assert seen.tasks and (succeeded(seen), seen.tasks.failed) == (20, b"")
        assert ran(trace) == list(range(20))
        assert processes.find(assignment.attempt_id) == []

    async def test_a_task_that_does_not_listen_is_killed(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        up = tmp_path / "up"
        assignment = an_array(f"trap '' TERM; touch {up}; sleep 600; sleep 600", 5)
        await executor.start(assignment)
        await eventually(up.exists, within_s=60.0)
        await executor.stop(assignment.attempt_id, grace_s=0.5)
        seen = await until(executor, assignment.attempt_id, final, within_s=10.0)
        assert (seen.state, reason_of(seen)) == (AttemptState.STOPPED, ReasonCode.STOPPED)
        assert processes.find(assignment.attempt_id) == []

    async def test_tasks_end_with_their_worker(self, executor: Executor, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        draft = f"{pids}.$WESTWARD_TASK_INDEX"
        script = f"echo $PPID > {draft}; mv {draft} {pids}; exec setsid sleep 600"
        assignment = an_array(script, 5, nodes=(NODE,))
        await executor.start(assignment)
        await eventually(pids.exists, within_s=60.0)
        os.kill(int(pids.read_text()), signal.SIGKILL)
        await eventually(lambda: processes.find(assignment.attempt_id) == [], within_s=20.0)
        seen = await until(executor, assignment.attempt_id, final)
        assert (seen.state, reason_of(seen)) == (AttemptState.FAILED, ReasonCode.WORKER_LOST)
