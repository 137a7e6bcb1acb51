"""What is wrong with a job spec: each fault with its field, the value, the bound and the fix."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from scheduler.domain import arrays
from scheduler.domain.fleet import Node
from scheduler.domain.gangs import too_big
from scheduler.domain.job import Command, GreenMatching, JobSpec
from scheduler.domain.plausibility import NODE_RANGES

NAME_MOST = 128
ARGV_MOST = 1024
WORK_MOST_BYTES = 128 * 1024
ENV_MOST = 256
ENV_MOST_BYTES = 64 * 1024
LIST_MOST = 64
WORKERS_MOST = 4096
GPUS_MOST = 1024
# No node that claims to have more is believed.
CPUS_MOST = NODE_RANGES["cpus"].most
MEMORY_MOST_GB = NODE_RANGES["memory_gb"].most
PRIORITY_MOST = 1000
ATTEMPTS_MOST = 100
SPEED_MOST = 1000.0
# Anything positive that is smaller is a slip, and no number to divide by.
POSITIVE_LEAST = 0.001
DATA_MOST_GB = 1e6
DURATION_MOST_S = 366 * 86400.0
DEADLINE_MOST_DAYS = 36_500
RTT_MOST_MS = 1e6
STOP_GRACE_MOST_S = 3600.0
ARRAY_TASKS_MOST = 100_000
TASK_ATTEMPTS_MOST = 100
URI_MOST = 1024
SHOWN_MOST = 12
TEXT_SHOWN_MOST = 80

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_URI = re.compile(r"[a-z][a-z0-9+.-]*(::[a-z][a-z0-9+.-]*)*://[^\s\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault: where (``data[0].size_gb``), and what to do about it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a spec may refer to. Without places or nodes (nobody has reported yet) what depends
    on them is not judged."""

    now_at: datetime
    regions: Collection[str]
    places: Collection[str]
    nodes: Sequence[Node]


def violations(
    spec: JobSpec,
    *,
    now_at: datetime,
    regions: Collection[str],
    places: Collection[str],
    nodes: Sequence[Node],
) -> list[Violation]:
    """Everything that is wrong with a spec; empty for a good one.

    Args:
        regions: origin regions.
        places: clusters, and the provinces they lie in.
        nodes: all known nodes, whatever runs on them.
    """
    known = Known(now_at=now_at, regions=regions, places=places, nodes=nodes)
    return [violation for check in _CHECKS for violation in check(spec, known)]


def _names(spec: JobSpec, known: Known) -> Iterator[Violation]:
    for field, value in (("name", spec.name), ("tenant", spec.tenant)):
        yield from _name(field, value)
    if spec.region not in known.regions:
        yield Violation("region", _unknown("region", spec.region, known.regions))


def _work(spec: JobSpec, _: Known) -> Iterator[Violation]:
    if isinstance(spec.work, Command):
        field, parts = "command.argv", spec.work.argv
        if not parts or not parts[0]:
            text = "nothing to run; give command (a program and its arguments) or ray.entrypoint"
            yield Violation(field, text)
        if len(parts) > ARGV_MOST:
            text = f"{len(parts)} arguments are over {ARGV_MOST}; put them into a file"
            yield Violation(field, text)
    else:
        field, parts = "ray.entrypoint", (spec.work.entrypoint,)
        if not spec.work.entrypoint.strip():
            yield Violation(field, "is empty; give the command that starts the driver")
    size = sum(len(part.encode()) + 1 for part in parts)
    if size > WORK_MOST_BYTES:
        text = f"{size} bytes are over {WORK_MOST_BYTES}; put a script into the working directory"
        yield Violation(field, text)
    if any("\0" in part for part in parts):
        yield Violation(field, "holds a NUL character, which no program can be given; remove it")


def _environment(spec: JobSpec, _: Known) -> Iterator[Violation]:
    if len(spec.env) > ENV_MOST:
        yield Violation("env", f"{len(spec.env)} variables are over {ENV_MOST}; use a file")
    size = sum(len(name.encode()) + len(value.encode()) + 2 for name, value in spec.env.items())
    if size > ENV_MOST_BYTES:
        yield Violation("env", f"{size} bytes are over {ENV_MOST_BYTES}; use a file")
    for name, value in spec.env.items():
        if len(name) > NAME_MOST or not _ENV_NAME.fullmatch(name):
            text = (
                f"{_shown(name)} is not a variable's name; use letters, digits and _, "
                f"not beginning with a digit, at most {NAME_MOST}"
            )
            yield Violation(f"env[{_shown(name)}]", text)
        elif "\0" in value:
            yield Violation(f"env[{_shown(name)}]", "holds a NUL character; remove it")
    sha256 = spec.working_dir_sha256
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        text = f"{_shown(sha256)} is not a SHA-256; give the 64 hex digits that the upload answered"
        yield Violation("working_dir_sha256", text)


def _shape(spec: JobSpec, _: Known) -> Iterator[Violation]:
    worker = spec.per_worker
    yield from _number("workers", spec.workers, 1, WORKERS_MOST)
    yield from _number("per_worker.gpus", worker.gpus, 0, GPUS_MOST)
    yield from _positive("per_worker.cpus", worker.cpus, CPUS_MOST)
    yield from _positive("per_worker.memory_gb", worker.memory_gb, MEMORY_MOST_GB)
    yield from _number("priority", spec.priority, -PRIORITY_MOST, PRIORITY_MOST)
    yield from _number("max_attempts", spec.max_attempts, 1, ATTEMPTS_MOST)


def _accelerators(spec: JobSpec, _: Known) -> Iterator[Violation]:
    yield from _length("accelerators", spec.accelerators)
    seen: set[str] = set()
    for at, option in enumerate(spec.accelerators):
        field = f"accelerators[{at}]"
        yield from _name(f"{field}.model", option.model)
        yield from _positive(f"{field}.relative_speed", option.relative_speed, SPEED_MOST)
        if spec.expected_duration_s > DURATION_MOST_S * option.relative_speed > 0:
            text = (
                f"{option.relative_speed:g} makes the job longer than a year; give a faster model"
            )
            yield Violation(f"{field}.relative_speed", text)
        if option.model in seen:
            yield Violation(
                f"{field}.model", f"{_shown(option.model)} is named twice; name it once"
            )
        seen.add(option.model)


def _times(spec: JobSpec, known: Known) -> Iterator[Violation]:
    duration_s = spec.expected_duration_s
    yield from _positive("expected_duration_s", duration_s, DURATION_MOST_S)
    if spec.array is not None:
        duration_s = _chunk_duration_s(spec)
        if spec.expected_duration_s <= DURATION_MOST_S < duration_s:
            text = (
                f"the tasks of one chunk take {duration_s:g} s on {spec.workers} workers, over "
                f"{DURATION_MOST_S:g}; make the chunks smaller, or ask for more workers"
            )
            yield Violation("array.chunk_tasks", text)
    yield from _number("max_delay_s", spec.max_delay_s, 0.0, DURATION_MOST_S)
    latest_at = known.now_at + timedelta(seconds=DURATION_MOST_S)
    if spec.earliest_start_at is not None and spec.earliest_start_at > latest_at:
        text = f"{_at(spec.earliest_start_at)} is more than a year ahead; give an earlier one"
        yield Violation("earliest_start_at", text)
        return
    deadline_at = spec.deadline_at
    if deadline_at is None:
        return
    if deadline_at <= known.now_at:
        text = f"{_at(deadline_at)} is in the past (it is {_at(known.now_at)}); give a later one"
        yield Violation("deadline_at", text)
        return
    if deadline_at - known.now_at > timedelta(days=DEADLINE_MOST_DAYS):
        text = f"{_at(deadline_at)} is over {DEADLINE_MOST_DAYS} days ahead; leave it out for none"
        yield Violation("deadline_at", text)
        return
    fastest = max((option.relative_speed for option in spec.accelerators), default=1.0)
    if spec.per_worker.gpus == 0 or not fastest > 0 or not math.isfinite(fastest):
        fastest = 1.0
    duration_s /= fastest
    if not 0 < duration_s <= DURATION_MOST_S:
        return
    earliest_at = max(known.now_at, spec.earliest_start_at or known.now_at)
    ends_at = earliest_at + timedelta(seconds=duration_s)
    if ends_at > deadline_at:
        text = (
            f"{_at(deadline_at)} cannot be kept: started at {_at(earliest_at)} at the earliest, "
            f"{duration_s:g} s long, it ends at {_at(ends_at)}; give a later deadline"
        )
        yield Violation("deadline_at", text)


def _chunk_duration_s(spec: JobSpec) -> float:
    """Of an array's longest chunk; that of one task where the figures make no sense."""
    assert spec.array is not None
    tasks = min(spec.array.tasks, spec.array.chunk_tasks)
    if tasks < 1 or spec.workers < 1:
        return spec.expected_duration_s
    return arrays.chunk_duration_s(spec, tasks)


def _stopping(spec: JobSpec, _: Known) -> Iterator[Violation]:
    yield from _number("stop_grace_s", spec.stop_grace_s, 0.0, STOP_GRACE_MOST_S)
    yield from _number("checkpoint_interval_s", spec.checkpoint_interval_s, 0.0, DURATION_MOST_S)
    yield from _number("restart_s", spec.restart_s, 0.0, DURATION_MOST_S)
    uri = spec.checkpoint_uri
    if uri is not None and (len(uri) > URI_MOST or not _URI.fullmatch(uri)):
        text = f"{_shown(uri)} is no URI; write s3://bucket/path, or file:///path of a shared disk"
        yield Violation("checkpoint_uri", text)
    if not spec.interruptible:
        for field in ("checkpoint_uri", "checkpoint_interval_s", "restart_s"):
            if getattr(spec, field):
                text = "is of use to an interruptible job only; set interruptible, or drop it"
                yield Violation(field, text)
    if spec.interruptible and not isinstance(spec.work, Command):
        text = "a Ray driver is given no signal to save its work by; use command, or drop it"
        yield Violation("interruptible", text)


def _array(spec: JobSpec, _: Known) -> Iterator[Violation]:
    array = spec.array
    if array is None:
        return
    yield from _number("array.tasks", array.tasks, 1, ARRAY_TASKS_MOST)
    yield from _number("array.chunk_tasks", array.chunk_tasks, 1, ARRAY_TASKS_MOST)
    if array.chunk_tasks >= 1 and arrays.chunk_count(spec) > arrays.CHUNKS_MOST:
        least = -(-array.tasks // arrays.CHUNKS_MOST)
        text = (
            f"{array.chunk_tasks} would make {arrays.chunk_count(spec)} chunks, over "
            f"{arrays.CHUNKS_MOST}; at least {least}"
        )
        yield Violation("array.chunk_tasks", text)
    yield from _number("array.task_attempts", array.task_attempts, 1, TASK_ATTEMPTS_MOST)
    if array.first_task:
        yield Violation("array.first_task", "is the scheduler's to set; drop it")
    if not isinstance(spec.work, Command):
        yield Violation("array", "needs a command; a Ray driver makes tasks of its own")
    if spec.interruptible:
        text = "an array keeps its finished tasks whatever happens; drop interruptible"
        yield Violation("interruptible", text)


def _limits(spec: JobSpec, _: Known) -> Iterator[Violation]:
    if spec.max_rtt_ms is not None:
        yield from _number("max_rtt_ms", spec.max_rtt_ms, 0.0, RTT_MOST_MS)
    share = spec.min_green_share
    if share is not None and not 0 <= share <= 1:
        text = f"{share:g} is not a share; 0 to 1"
        if 1 < share <= 100:
            guess = share if share >= 2 else share % 1 * 100
            text += f"; write {guess / 100:g} for {guess:g} %"
        yield Violation("min_green_share", text)
    if spec.green_matching is GreenMatching.RUN and not share:
        text = "run says over what time min_green_share holds; set that, or drop this"
        yield Violation("green_matching", text)


def _places(spec: JobSpec, known: Known) -> Iterator[Violation]:
    yield from _length("data", spec.data)
    for at, item in enumerate(spec.data):
        yield from _number(f"data[{at}].size_gb", item.size_gb, 0.0, DATA_MOST_GB)
        somewhere = {*known.regions, *known.places}
        if not known.places:
            yield from _name(f"data[{at}].location", item.location)
        elif item.location not in somewhere:
            text = _unknown("region or place", item.location, somewhere)
            yield Violation(f"data[{at}].location", text)
    for field, wanted in (
        ("must_be_in", spec.must_be_in),
        ("must_not_be_in", spec.must_not_be_in),
    ):
        yield from _length(field, wanted)
        for at, place in enumerate(wanted):
            if not known.places:
                yield from _name(f"{field}[{at}]", place)
            elif place not in known.places:
                yield Violation(f"{field}[{at}]", _unknown("place", place, known.places))
    both = sorted({*spec.must_be_in} & {*spec.must_not_be_in})
    if both:
        text = f"{_listed(both)} must not and must hold the job; remove it from one of the lists"
        yield Violation("must_not_be_in", text)


def _gang(spec: JobSpec, known: Known) -> Iterator[Violation]:
    if any(_shape(spec, known)):
        return  # sizes that are wrong in themselves
    if objection := too_big(spec, known.nodes):
        yield Violation("workers", objection)


Check = Callable[[JobSpec, Known], Iterator[Violation]]
_CHECKS: tuple[Check, ...] = (
    _names,
    _work,
    _environment,
    _shape,
    _accelerators,
    _times,
    _stopping,
    _array,
    _limits,
    _places,
    _gang,
)


def _name(field: str, value: str) -> Iterator[Violation]:
    if not value.strip():
        yield Violation(field, f"is empty; give 1 to {NAME_MOST} characters")
    elif len(value) > NAME_MOST:
        text = f"{len(value)} characters are over {NAME_MOST}; shorten {_shown(value)}"
        yield Violation(field, text)
    elif _CONTROL.search(value):
        yield Violation(field, f"{_shown(value)} holds a control character; remove it")


def _number(field: str, value: float, least: float, most: float) -> Iterator[Violation]:
    if math.isfinite(value) and least <= value <= most:
        return
    yield Violation(field, f"{value:g} is out of bounds; {least:g} to {most:g}")


def _positive(field: str, value: float, most: float) -> Iterator[Violation]:
    if math.isfinite(value) and POSITIVE_LEAST <= value <= most:
        return
    bound = f"at least {POSITIVE_LEAST:g}" if value > 0 else "greater than 0"
    yield Violation(field, f"{value:g} is out of bounds; {bound}, at most {most:g}")


def _length(field: str, values: Sequence[object]) -> Iterator[Violation]:
    if len(values) > LIST_MOST:
        yield Violation(field, f"{len(values)} entries are over {LIST_MOST}; name fewer")


def _unknown(kind: str, value: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if not value:
        return f"is empty; give a {kind}, known: {_listed(names)}"
    close = get_close_matches(value.lower(), names, 1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {kind} {_shown(value)}; {guess}known: {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - SHOWN_MOST} more" if len(names) > SHOWN_MOST else ""
    return ", ".join(names[:SHOWN_MOST]) + more


def _shown(value: str) -> str:
    return repr(value if len(value) <= TEXT_SHOWN_MOST else value[:TEXT_SHOWN_MOST] + "…")


def _at(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds")
