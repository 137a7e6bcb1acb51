"""A trace from a file of any form that users have, and whether a world knows what it names."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from scheduler.client.problems import Problem, did_you_mean, shown
from scheduler.replay.case import ReplayJob
from scheduler.replay.traces import jobs_csv, sacct
from scheduler.replay.traces.trace import ReplayInputError, Trace, text_of
from scheduler.replay.world import WorldFile


def read(path: Path, world: WorldFile) -> Trace:
    """The jobs of a CSV file or of sacct's output; all of them can be told to the world.

    Raises:
        ReplayInputError: with line, column, value and fix of every problem.
    """
    if sacct.looks_like(text_of(path)):
        if world.slurm is None:
            text = "is sacct's output, and the world has no section slurm; add `slurm: {region: …}`"
            raise ReplayInputError([Problem(str(path), 1, "", text)])
        trace = sacct.read(path, world.slurm)
    else:
        trace = jobs_csv.read(path, zero_at=world.start_at)
    problems = strangers(str(path), trace.jobs, world)
    if problems:
        raise ReplayInputError(problems)
    return trace


def strangers(file: str, jobs: Iterable[ReplayJob], world: WorldFile) -> list[Problem]:
    """What the jobs name and the world does not know; each thing once, with how many name it."""
    regions, models = list(world.world.regions), {n.accelerator for n in world.world.nodes}
    places = [*regions, *world.world.sites]
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for job in jobs:
        spec = job.spec
        if spec.region not in regions:
            found["region", shown(spec.region), did_you_mean(spec.region, regions)].append(job.id)
        for item in spec.data:
            if item.location not in places:
                told = did_you_mean(item.location, places)
                found["data", shown(item.location), told].append(job.id)
        for option in spec.accelerators:
            if option.model not in models:
                told = did_you_mean(option.model, sorted(models))
                found["accelerators", shown(option.model), told].append(job.id)
        if not world.start_at <= job.submitted_at < world.end_at:
            span = f"{world.start_at.isoformat()} to {world.end_at.isoformat()}"
            told = f"the world lasts from {span}; mend its start_at and days"
            found["submitted_at", "a time outside the world", told].append(job.id)
    return [
        Problem(file, 1, column, f"{what} of {len(ids):,} job(s), first {ids[0]}: {told}")
        for (column, what, told), ids in found.items()
    ]
