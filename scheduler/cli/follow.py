"""Follows jobs to their end."""

from collections import Counter
from collections.abc import Iterable, Sequence

import typer

from scheduler.cli import exits, failures
from scheduler.cli.output import Output, emit_line, show
from scheduler.cli.render import common, jobs
from scheduler.client import Client
from westward.v1 import job_pb2


def until_final(client: Client, job_ids: Sequence[str], output: Output) -> int:
    """Prints every change until all jobs have ended; the exit code says whether all succeeded.

    Ctrl-C ends the watching only.
    """
    newest: dict[str, job_pb2.Job] = {}
    try:
        for answer in client.watch(job_ids, until_final=True):
            newest[answer.job.id] = answer.job
            if output.for_people:
                show(jobs.change(answer))
            else:
                emit_line(answer)
    except KeyboardInterrupt:
        going_on([job_id for job_id in job_ids if not _over(job_id, newest.values())])
        raise typer.Exit(exits.INTERRUPTED) from None
    if output.for_people and len(newest) > 1:
        show(_summary([job.state for job in newest.values()]))
    done = all(job.state == job_pb2.JOB_STATE_SUCCEEDED for job in newest.values())
    return exits.OK if done and _named(newest.values()).issuperset(job_ids) else exits.FAILED


def _over(called: str, newest: Iterable[job_pb2.Job]) -> bool:
    """Whether a job, or all chunks of an array, were seen to end."""
    states = [job.state for job in newest if called in (job.id, job.array_id)]
    return bool(states) and common.FINAL_STATES.issuperset(states)


def _named(newest: Iterable[job_pb2.Job]) -> set[str]:
    """What may have been asked for: the ids of jobs and of their arrays."""
    return {name for job in newest for name in (job.id, job.array_id)}


def going_on(job_ids: Sequence[str]) -> None:
    """Says that what was watched goes on."""
    if not job_ids:
        return
    which = f"job {job_ids[0]} goes on" if len(job_ids) == 1 else f"{len(job_ids)} jobs go on"
    failures.note(f"Stopped watching; {which}. To end it: westward cancel {job_ids[0]}")


def _summary(states: Sequence[job_pb2.JobState.ValueType]) -> str:
    counted = Counter(common.state_word(job_pb2.JobState.Name(state)) for state in states)
    return ", ".join(f"{count} {word}" for word, count in sorted(counted.items()))
