"""Jobs: the list, one in full, and one line per change."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import arrays, common
from scheduler.cli.render.noted import Noted, short
from westward.v1 import job_pb2

_SHORT_NAME = 18
_SHORT_NODES = 16
_SAYS_NOTHING = frozenset({"OK", "CHOSEN"})


def listing(jobs: Sequence[job_pb2.Job], *, wide: bool = False) -> RenderableType:
    """One row per job."""
    if not jobs:
        return Text("No jobs match.")
    notes = [_why(job) for job in jobs]
    tasks = any(job.HasField("tasks") for job in jobs)

    def build(noted: bool) -> Table:
        table = common.table()
        # Tasks take the room of the start where there is little.
        starts = noted or wide or not tasks
        heads = ["TENANT", "REGION", "NEEDS", "SUBMITTED"] if wide else []
        heads = ["JOB", "NAME", *(["TASKS"] * tasks), *heads, "STATE", "WHERE"]
        for head in (*heads, *(["START"] * starts), *(["WHY"] * noted)):
            table.add_column(head, no_wrap=True)
        for job, why in zip(jobs, notes, strict=True):
            more = (job.spec.tenant, job.spec.region, needs(job.spec), common.when(job.created_at))
            table.add_row(
                job.id,
                title(job, None if noted else _SHORT_NAME),
                *([arrays.done(job.tasks, brief=not noted)] if tasks else ()),
                *(more if wide else ()),
                common.job_state(job.state),
                where(job),
                *([start(job)] if starts else ()),
                *([why] * noted),
            )
        return table

    return Noted(build, notes)


def array(chunks: Sequence[job_pb2.Job]) -> RenderableType:
    """A whole array: how far it has come, and its chunks."""
    first = chunks[0]
    name = Text(f"{first.array_id}  {common.clean(first.spec.name)}")
    return Group(name, arrays.progress(arrays.total(chunks)), Text(), listing(chunks))


def detail(answer: job_pb2.GetResponse) -> RenderableType:
    """One job: what it asks for, what became of it, its attempts and its events."""
    job = answer.job
    parts: list[RenderableType] = [_facts(job)]
    if job.attempts:
        parts += [Text(), _attempts(job.attempts)]
    if answer.events:
        parts += [Text(), _events(answer.events)]
    return Group(*parts)


def change(answer: job_pb2.WatchResponse) -> Text:
    """One line: time, job, state, where, why."""
    job, event = answer.job, answer.event
    at = event.at if answer.HasField("event") else job.updated_at
    place = where(job)
    return Text.assemble(
        (f"{common.when(at, seconds=True)}  ", "dim"),
        f"{job.id}  {title(job)}  ",
        common.job_state(job.state),
        f"  {place}" if place else "",
        f"  {common.clean(job.reason.message)}" if job.reason.message else "",
    )


def needs(spec: job_pb2.JobSpec) -> str:
    """``2 × 8 A800|H800``, ``4 cpus``."""
    shape = spec.per_worker
    models = "|".join(common.clean(option.model) for option in spec.accelerators)
    each = f"{shape.gpus} {models or 'gpu'}" if shape.gpus else f"{shape.cpus or 1:g} cpu"
    return f"{spec.workers} × {each}" if spec.workers > 1 else each


def title(job: job_pb2.Job, most: int | None = None) -> str:
    """The name, of at most so many characters, and of a chunk its tasks: ``sweep [0-999]``."""
    name = common.clean(job.spec.name)
    which = f" {arrays.indices(job.spec.array)}" if job.spec.HasField("array") else ""
    return (name if most is None else short(name, max(8, most - len(which)))) + which


def where(job: job_pb2.Job) -> str:
    """The cluster, or ``→ cluster`` while it is only planned."""
    if job.state == job_pb2.JOB_STATE_PENDING:
        return f"→ {job.planned_cluster}" if job.planned_cluster else ""
    return job.attempts[-1].cluster if job.attempts else ""


def start(job: job_pb2.Job) -> str:
    """When it started, or ``~`` when the last round would start it."""
    if job.state == job_pb2.JOB_STATE_PENDING:
        planned = common.when(job.planned_start_at)
        return f"~{planned}" if planned else ""
    return common.when(job.attempts[-1].started_at) if job.attempts else ""


def _why(job: job_pb2.Job) -> Text:
    return Text() if job.reason.code in _SAYS_NOTHING else common.reason(job.reason)


def _facts(job: job_pb2.Job) -> Table:
    spec = job.spec
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("Job", f"{job.id}  {title(job)}")
    if job.array_id:
        grid.add_row("Array", job.array_id)
    grid.add_row("State", Text.assemble(common.job_state(job.state), "  ", _why(job)))
    if place := where(job):
        grid.add_row("Where", f"{place}  {start(job)}".rstrip())
    grid.add_row("From", f"{common.clean(spec.region)}, tenant {common.clean(spec.tenant)}")
    grid.add_row("Runs", common.clean(_work(spec)))
    grid.add_row("Needs", f"{_full_needs(spec)}, for about {common.span(spec.expected_duration_s)}")
    if job.HasField("tasks"):
        grid.add_row("Tasks", arrays.counted(job.tasks))
    if progress := _progress(job):
        grid.add_row("Work", progress)
    if limits := _limits(spec):
        grid.add_row("Limits", ", ".join(limits))
    if energy := _energy(job):
        grid.add_row("Energy", energy)
    grid.add_row(
        "Submitted", f"{common.when(job.created_at, seconds=True)} {common.zone(job.created_at)}"
    )
    return grid


def _progress(job: job_pb2.Job) -> str:
    """What stops have kept and lost; empty for a job that was never stopped."""
    lost_s = sum(attempt.lost_s for attempt in job.attempts)
    succeeded = job.state == job_pb2.JOB_STATE_SUCCEEDED
    if not lost_s and (succeeded or not job.done_s):
        return ""
    lost_kwh = sum(attempt.lost_kwh for attempt in job.attempts)
    lost = f", {common.span(lost_s)} and {lost_kwh:.2g} kWh lost" if lost_s else ""
    whole = common.span(job.spec.expected_duration_s)
    return f"{common.span(job.done_s)} of {whole} kept by ended attempts{lost}"


def _energy(job: job_pb2.Job) -> str:
    """What the nodes of its attempts have metered; empty where none has."""
    metered = [attempt for attempt in job.attempts if attempt.HasField("used_kwh")]
    if not metered:
        return ""
    estimated_kwh = sum(attempt.estimated_kwh for attempt in metered)
    used_kwh = sum(attempt.used_kwh for attempt in metered)
    told = f"{used_kwh:.4g} kWh before PUE"
    if estimated_kwh:
        return f"{told}, {estimated_kwh:.4g} of it estimated"
    # Of nothing nobody knows how it would have been read.
    return f"{told}, metered" if used_kwh else told


def _kwh(attempt: job_pb2.Attempt) -> str:
    """With ``~`` where a part of it is estimated; empty where nothing was told."""
    if not attempt.HasField("used_kwh"):
        return ""
    return f"{'~' if attempt.estimated_kwh else ''}{attempt.used_kwh:.4g}"


def _work(spec: job_pb2.JobSpec) -> str:
    if spec.WhichOneof("work") == "ray":
        return f"{spec.ray.entrypoint}  (Ray driver)"
    return " ".join(spec.command.argv)


def _full_needs(spec: job_pb2.JobSpec) -> str:
    shape = spec.per_worker
    each = f"{shape.cpus or 1:g} cpus, {shape.memory_gb or 1:g} GB"
    if not shape.gpus:
        return f"{spec.workers or 1} × ({each})"
    models = " or ".join(
        f"{common.clean(o.model)} (speed {o.relative_speed or 1:g})" for o in spec.accelerators
    )
    return f"{spec.workers or 1} × ({shape.gpus} × {models or 'any accelerator'}, {each})"


def _limits(spec: job_pb2.JobSpec) -> list[str]:
    said = []
    if spec.HasField("max_rtt_ms"):
        said.append(f"rtt ≤ {spec.max_rtt_ms:g} ms")
    if spec.HasField("min_green_share"):
        run = spec.green_matching == job_pb2.GREEN_MATCHING_RUN
        over = " over the run" if run else ""
        said.append(f"green ≥ {common.percent(spec.min_green_share)}{over}")
    if spec.HasField("earliest_start_at"):
        said.append(f"not before {common.when(spec.earliest_start_at)}")
    if spec.HasField("deadline_at"):
        said.append(f"done by {common.when(spec.deadline_at)}")
    if spec.max_delay_s:
        said.append(f"may wait {common.span(spec.max_delay_s)}")
    if spec.interruptible:
        said.append("interruptible")
    if spec.on_unreachable == job_pb2.ON_UNREACHABLE_WAIT:
        said.append("waits for a silent cluster")
    said += [f"{d.size_gb:g} GB from {common.clean(d.location)}" for d in spec.data]
    if spec.must_be_in:
        said.append(f"in {common.clean(' or '.join(spec.must_be_in))}")
    if spec.must_not_be_in:
        said.append(f"not in {common.clean(' or '.join(spec.must_not_be_in))}")
    if spec.priority:
        said.append(f"priority {spec.priority}")
    return said


def _attempts(attempts: Sequence[job_pb2.Attempt]) -> RenderableType:
    notes = [Text(common.clean(attempt.reason.message)) for attempt in attempts]
    used = any(attempt.HasField("used_kwh") for attempt in attempts)

    def build(noted: bool) -> Table:
        table = common.table()
        for head in ("#", "STATE", "CLUSTER", "NODES", "STARTED", "ENDED", "EXIT"):
            table.add_column(head, no_wrap=True)
        if used:
            table.add_column("kWh", no_wrap=True, justify="right")
        if noted:
            table.add_column("WHY", no_wrap=True)
        for attempt, why in zip(attempts, notes, strict=True):
            nodes = ", ".join(dict.fromkeys(worker.node_id for worker in attempt.workers))
            table.add_row(
                str(attempt.number),
                common.state_word(job_pb2.AttemptState.Name(attempt.state)),
                " ".join(part for part in (attempt.cluster, attempt.accelerator) if part),
                nodes if noted else short(nodes, _SHORT_NODES),
                common.when(attempt.started_at, seconds=True),
                common.when(attempt.ended_at, seconds=True),
                str(attempt.exit_code) if attempt.HasField("exit_code") else "",
                *([_kwh(attempt)] * used),
                *([why] * noted),
            )
        return table

    return Group(Text("Attempts", "bold"), Noted(build, notes, indent=3))


def _events(events: Sequence[job_pb2.JobEvent]) -> RenderableType:
    table = common.table()
    for head in ("TIME", "ACTOR", "EVENT", "STATE"):
        table.add_column(head, no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for event in events:
        table.add_row(
            common.when(event.at, seconds=True),
            common.clean(event.actor),
            event.event.lower().replace("_", " "),
            common.job_state(event.to_state),
            common.clean(event.reason.message),
        )
    return Group(Text("Events", "bold"), table)
