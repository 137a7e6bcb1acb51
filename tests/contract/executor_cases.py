"""What every Executor must do: run against plain processes and against Ray."""

import asyncio
import io
import json
import os
import secrets
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.executor import processes
from agents.executor.base import Assignment, Executor, Observation
from scheduler.domain.job import AttemptState, Command
from scheduler.domain.reason import ReasonCode

DEADLINE_S = 60.0
NODE = "node-1"
SECOND_NODE = "node-2"


def an_assignment(*argv: str, nodes: tuple[str, ...] = (NODE,), **changes: Any) -> Assignment:
    """A small command with a fresh attempt id, unless told otherwise."""
    attempt_id = changes.pop("attempt_id", f"attempt-{secrets.token_hex(4)}")
    amounts = {"gpus": 0, "cpus": 0.5, "memory_gb": 0.1, **changes}
    return Assignment(
        attempt_id=attempt_id,
        job_id="job",
        epoch=7,
        number=1,
        work=Command(argv),
        nodes=nodes,
        **amounts,
    )


def python(code: str) -> tuple[str, ...]:
    return ("python3", "-c", code)


async def until(
    executor: Executor,
    attempt_id: str,
    holds: Callable[[Observation], bool],
    *,
    within_s: float = DEADLINE_S,
) -> Observation:
    """The first observation of an attempt for which something holds."""
    deadline = time.monotonic() + within_s
    seen: Observation | None = None
    while time.monotonic() < deadline:
        for observation in await executor.observe(1.0):
            if observation.attempt_id == attempt_id:
                seen = observation
                if holds(observation):
                    return observation
    raise TimeoutError(f"after {within_s} s, last seen: {seen}")


async def eventually(holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Waits for something that no event announces."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s")
        await asyncio.sleep(0.02)


def final(observation: Observation) -> bool:
    return observation.state.final


def running(observation: Observation) -> bool:
    return observation.state is AttemptState.RUNNING


async def run(executor: Executor, assignment: Assignment) -> Observation:
    await executor.start(assignment)
    return await until(executor, assignment.attempt_id, final)


def reason_of(observation: Observation) -> ReasonCode | None:
    return observation.reason.code if observation.reason else None


def title_of(pid: int) -> str:
    """The command line of a process; empty when it has ended since it was found."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def folder_of(data_dir: Path, assignment: Assignment, rank: int = 0) -> Path:
    return data_dir / assignment.nodes[rank] / "attempts" / assignment.attempt_id


def an_archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755
            tar.addfile(member, io.BytesIO(content))
    return path


class ExecutorContract:
    """Subclasses give the fixtures ``executor`` and ``data_dir``."""

    async def test_success_is_observed_with_times_and_output(
        self, executor: Executor, data_dir: Path
    ) -> None:
        assignment = an_assignment("sh", "-c", "echo out; echo err >&2")
        before_s = time.time()
        seen = await run(executor, assignment)
        assert (seen.state, seen.exit_code, seen.epoch) == (AttemptState.SUCCEEDED, 0, 7)
        assert reason_of(seen) is ReasonCode.OK
        assert seen.started_at_s is not None and seen.ended_at_s is not None
        assert before_s <= seen.started_at_s <= seen.ended_at_s <= time.time()
        folder = folder_of(data_dir, assignment)
        assert (folder / "rank-0.stdout").read_text() == "out\n"
        assert (folder / "rank-0.stderr").read_text() == "err\n"
        assert json.loads((folder / "rank-0.done").read_text())["exit_code"] == 0

    async def test_exit_code_and_last_line_of_stderr_come_back(self, executor: Executor) -> None:
        seen = await run(executor, an_assignment("sh", "-c", "echo no disk >&2; exit 3"))
        assert (seen.state, seen.exit_code) == (AttemptState.FAILED, 3)
        assert reason_of(seen) is ReasonCode.NONZERO_EXIT
        assert seen.reason and "exit code 3" in seen.reason.message
        assert "no disk" in seen.reason.message

    async def test_a_signal_that_was_not_ours_is_killed(self, executor: Executor) -> None:
        seen = await run(executor, an_assignment("sh", "-c", "kill -SEGV $$"))
        assert (seen.state, seen.exit_code) == (AttemptState.FAILED, -11)
        assert reason_of(seen) is ReasonCode.KILLED
        assert seen.reason and "SIGSEGV" in seen.reason.message

    async def test_a_command_that_is_not_there(self, executor: Executor) -> None:
        seen = await run(executor, an_assignment("no-such-program"))
        assert (seen.state, seen.exit_code) == (AttemptState.FAILED, None)
        assert reason_of(seen) is ReasonCode.COMMAND_NOT_FOUND
        assert seen.reason and "no-such-program" in seen.reason.message

    async def test_starting_twice_runs_once(self, executor: Executor, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        assignment = an_assignment("sh", "-c", f"echo ran >> {trace}")
        await asyncio.gather(executor.start(assignment), executor.start(assignment))
        await until(executor, assignment.attempt_id, final)
        await executor.start(assignment)
        await run(executor, an_assignment("true"))
        assert trace.read_text() == "ran\n"

    async def test_workers_are_told_who_they_are(self, executor: Executor, data_dir: Path) -> None:
        assignment = an_assignment(
            *python("import json, os; print(json.dumps(dict(os.environ)))"),
            nodes=(NODE, SECOND_NODE, SECOND_NODE),
            env={"MINE": "yes", "RANK": "99"},
        )
        seen = await run(executor, assignment)
        assert seen.state is AttemptState.SUCCEEDED, seen
        told = [
            json.loads((folder_of(data_dir, assignment, rank) / f"rank-{rank}.stdout").read_text())
            for rank in range(3)
        ]
        assert [env["RANK"] for env in told] == ["0", "1", "2"]
        assert [env["LOCAL_RANK"] for env in told] == ["0", "0", "1"]
        assert [env["NODE_RANK"] for env in told] == ["0", "1", "1"]
        assert [env["WESTWARD_NODE_ID"] for env in told] == [NODE, SECOND_NODE, SECOND_NODE]
        assert {env["WORLD_SIZE"] for env in told} == {"3"}
        assert {env["WESTWARD_ATTEMPT_ID"] for env in told} == {assignment.attempt_id}
        assert len({(env["MASTER_ADDR"], env["MASTER_PORT"]) for env in told}) == 1
        assert all(env["MINE"] == "yes" for env in told)
        assert not any(name.startswith("RAY_") for env in told for name in env)
        # Having asked for no accelerator, they see none, whatever the host has.
        assert {env["CUDA_VISIBLE_DEVICES"] for env in told} == {""}

    async def test_the_working_directory_is_there_and_gone_afterwards(
        self, executor: Executor, data_dir: Path, tmp_path: Path
    ) -> None:
        archive = an_archive(
            tmp_path / "w.tar.gz", {"run.sh": b"#!/bin/sh\ncat data/x\n", "data/x": b"hello"}
        )
        assignment = an_assignment("./run.sh", nodes=(NODE, SECOND_NODE), working_dir=archive)
        seen = await run(executor, assignment)
        assert seen.state is AttemptState.SUCCEEDED, seen
        for rank in range(2):
            folder = folder_of(data_dir, assignment, rank)
            assert (folder / f"rank-{rank}.stdout").read_bytes() == b"hello"
            assert not (folder / f"rank-{rank}.cwd").exists()

    async def test_an_archive_that_leads_outside_is_refused(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        archive = an_archive(tmp_path / "w.tar.gz", {"../../../../evil": b"x"})
        seen = await run(executor, an_assignment("true", working_dir=archive))
        assert seen.state is AttemptState.FAILED
        assert reason_of(seen) is ReasonCode.WORKING_DIR
        assert seen.reason and "evil" in seen.reason.message

    async def test_stop_asks_first(self, executor: Executor, data_dir: Path) -> None:
        assignment = an_assignment(
            "bash", "-c", "trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done"
        )
        await executor.start(assignment)
        out = folder_of(data_dir, assignment) / "rank-0.stdout"
        await eventually(lambda: out.exists() and "up" in out.read_text(), within_s=DEADLINE_S)
        await executor.stop(assignment.attempt_id, grace_s=20.0)
        seen = await until(executor, assignment.attempt_id, final, within_s=10.0)
        assert out.read_text() == "up\nsaved\n"
        # To exit with 0 when told to stop is to have saved one's work, not to have finished it.
        assert (seen.state, seen.exit_code) == (AttemptState.STOPPED, 0)

    async def test_a_stop_leaves_the_time_that_the_assignment_grants(
        self, executor: Executor, data_dir: Path
    ) -> None:
        assignment = an_assignment(
            "bash",
            "-c",
            "trap 'sleep 1.5; echo $WESTWARD_CHECKPOINT_URI; exit 3' TERM; echo up;"
            " while :; do sleep 0.05; done",
            stop_grace_s=20.0,
            checkpoint_uri="s3://bucket/job",
        )
        await executor.start(assignment)
        out = folder_of(data_dir, assignment) / "rank-0.stdout"
        await eventually(lambda: out.exists() and "up" in out.read_text(), within_s=DEADLINE_S)
        await executor.stop(assignment.attempt_id)
        seen = await until(executor, assignment.attempt_id, final, within_s=15.0)
        assert out.read_text() == "up\ns3://bucket/job\n"
        assert (seen.state, seen.exit_code) == (AttemptState.STOPPED, 3)

    async def test_stop_ends_what_does_not_listen_and_what_ran_away(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        pid_file = tmp_path / "pid"
        assignment = an_assignment(
            "bash",
            "-c",
            f"trap '' TERM; setsid bash -c 'trap \"\" TERM; echo $$ > {pid_file}; sleep 600' &"
            " sleep 600; sleep 600",
        )
        await executor.start(assignment)
        await eventually(lambda: pid_file.exists() and pid_file.read_text() != "", within_s=60.0)
        asked_at = time.monotonic()
        await executor.stop(assignment.attempt_id, grace_s=0.5)
        await executor.stop(assignment.attempt_id, grace_s=60.0)
        seen = await until(executor, assignment.attempt_id, final)
        assert (seen.state, reason_of(seen)) == (AttemptState.STOPPED, ReasonCode.STOPPED)
        assert seen.exit_code == -signal.SIGKILL
        assert 0.4 <= time.monotonic() - asked_at < 5.0
        assert processes.find(assignment.attempt_id) == []
        assert processes.read(int(pid_file.read_text())) is None

    async def test_children_left_behind_end_with_their_leader(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        pid_file = tmp_path / "pid"
        assignment = an_assignment("sh", "-c", f"setsid sleep 600 & echo $! > {pid_file}")
        seen = await run(executor, assignment)
        assert seen.state is AttemptState.SUCCEEDED
        assert processes.find(assignment.attempt_id) == []

    async def test_one_failing_worker_ends_the_gang(self, executor: Executor) -> None:
        assignment = an_assignment(
            "bash", "-c", "if [ $RANK = 1 ]; then exit 9; fi; sleep 600", nodes=(NODE, SECOND_NODE)
        )
        asked_at = time.monotonic()
        seen = await run(executor, assignment)
        assert (seen.state, seen.exit_code) == (AttemptState.FAILED, 9)
        assert seen.reason and "worker 1" in seen.reason.message
        assert time.monotonic() - asked_at < 30.0
        assert processes.find(assignment.attempt_id) == []

    async def test_a_stop_right_behind_its_start_is_not_lost(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        await run(executor, an_assignment("true"))
        # What takes a while to be read must not be overtaken.
        shipped = an_archive(tmp_path / "w.tar.gz", {"data": os.urandom(20_000_000)})
        assignment = an_assignment("sleep", "600", working_dir=shipped)
        await executor.start(assignment)
        await executor.stop(assignment.attempt_id, grace_s=1.0)
        seen = await until(executor, assignment.attempt_id, final, within_s=10.0)
        assert (seen.state, reason_of(seen)) == (AttemptState.STOPPED, ReasonCode.STOPPED)
        assert processes.find(assignment.attempt_id) == []

    async def test_unknown_attempts_are_no_error(self, executor: Executor) -> None:
        await executor.stop("never-seen", grace_s=1.0)
        await executor.forget("never-seen")
        assert "never-seen" not in {seen.attempt_id for seen in await executor.observe(0.01)}

    async def test_only_finished_attempts_are_forgotten(self, executor: Executor) -> None:
        assignment = an_assignment("sleep", "600")
        await executor.start(assignment)
        await until(executor, assignment.attempt_id, running)
        await executor.forget(assignment.attempt_id)
        await executor.stop(assignment.attempt_id, grace_s=0.0)
        await until(executor, assignment.attempt_id, final)
        await executor.forget(assignment.attempt_id)
        assert assignment.attempt_id not in {
            seen.attempt_id for seen in await executor.observe(0.01)
        }

    async def test_a_change_is_seen_promptly(self, executor: Executor) -> None:
        await run(executor, an_assignment("true"))
        lateness_ms = []
        for _ in range(5):
            seen = await run(executor, an_assignment("sleep", "0.2"))
            lateness_ms.append((time.time() - (seen.ended_at_s or 0.0)) * 1000)
        assert sorted(lateness_ms)[0] < 100.0, lateness_ms

    async def test_logs_outlive_forgetting(self, executor: Executor, data_dir: Path) -> None:
        assignment = an_assignment("echo", "kept")
        await run(executor, assignment)
        await executor.forget(assignment.attempt_id)
        folder = folder_of(data_dir, assignment)
        assert (folder / "rank-0.stdout").read_text() == "kept\n"
