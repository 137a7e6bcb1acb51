"""Arrays: how far they have come, their chunks, and their tasks."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from scheduler.cli.render import common
from scheduler.client.jobrequest import Array
from westward.v1 import job_pb2

_BAR_COLUMNS = 20
_STATE_STYLES = {
    job_pb2.TASK_STATE_PENDING: "yellow",
    job_pb2.TASK_STATE_RUNNING: "bold cyan",
    job_pb2.TASK_STATE_SUCCEEDED: "green",
    job_pb2.TASK_STATE_FAILED: "red",
    job_pb2.TASK_STATE_UNFINISHED: "red",
}


def size(array: Array) -> str:
    """``5000 tasks in 5 chunks``."""
    chunks = -(-array.tasks // array.chunk_tasks)
    return f"{array.tasks} tasks in {chunks} chunk{'s' if chunks > 1 else ''}"


def indices(array: job_pb2.ArraySpec) -> str:
    """``[1000-1999]``: the first and the last task of a chunk."""
    return f"[{array.first_task}-{array.first_task + array.tasks - 1}]"


def done(counts: job_pb2.TaskCounts, *, brief: bool = False) -> str:
    """``412/1000``, and ``3 failed`` where some have; empty for none."""
    failed = f", {counts.failed} failed" if counts.failed and not brief else ""
    return f"{counts.succeeded}/{counts.total}{failed}" if counts.total else ""


def counted(counts: job_pb2.TaskCounts) -> str:
    """``412 of 1000 succeeded, 3 failed, 8 running, 577 pending``."""
    ended = counts.succeeded + counts.failed + counts.unfinished
    parts = (
        (counts.failed, "failed"),
        (counts.unfinished, "unfinished"),
        (counts.running, "running"),
        (max(0, counts.total - ended - counts.running), "pending"),
    )
    said = [f"{number} {word}" for number, word in parts if number]
    return ", ".join([f"{counts.succeeded} of {counts.total} succeeded", *said])


def total(chunks: Sequence[job_pb2.Job]) -> job_pb2.TaskCounts:
    """Of the whole array."""
    return job_pb2.TaskCounts(
        total=sum(job.tasks.total for job in chunks),
        running=sum(job.tasks.running for job in chunks),
        succeeded=sum(job.tasks.succeeded for job in chunks),
        failed=sum(job.tasks.failed for job in chunks),
        unfinished=sum(job.tasks.unfinished for job in chunks),
    )


def progress(counts: job_pb2.TaskCounts) -> Text:
    """One line with a bar: what has succeeded, what has failed, what is left."""
    green = counts.succeeded * _BAR_COLUMNS // max(1, counts.total)
    red = -(-counts.failed * _BAR_COLUMNS // max(1, counts.total))
    return Text.assemble(
        ("━" * green, "green"),
        ("━" * red, "red"),
        ("─" * (_BAR_COLUMNS - green - red), "dim"),
        f"  {counted(counts)}",
    )


def tasks(listed: Sequence[job_pb2.Task]) -> RenderableType:
    """One row per task."""
    if not listed:
        return Text("No tasks match.")
    table = common.table()
    for head in ("TASK", "STATE", "TRIES", "EXIT", "NODE", "STARTED", "TOOK"):
        numbers = head in {"TASK", "TRIES", "EXIT"}
        table.add_column(head, no_wrap=True, justify="right" if numbers else "left")
    for task in listed:
        word = common.state_word(job_pb2.TaskState.Name(task.state))
        table.add_row(
            str(task.index),
            Text(word, _STATE_STYLES.get(task.state, "")),
            str(task.tries),
            str(task.exit_code) if task.HasField("exit_code") else "",
            common.clean(task.node_id),
            common.when(task.started_at, seconds=True),
            _took(task),
        )
    return table


def _took(task: job_pb2.Task) -> str:
    if not (task.HasField("started_at") and task.HasField("ended_at")):
        return ""
    took_s = task.ended_at.ToNanoseconds() - task.started_at.ToNanoseconds()
    return common.span(max(0.0, took_s / 1e9))
