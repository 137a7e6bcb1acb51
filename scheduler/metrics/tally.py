"""Counts what happens as it happens, so that a scrape has nothing to look through."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scheduler.domain.explanation import Saving
from scheduler.domain.fleet import Node
from scheduler.domain.job import Attempt, AttemptState, Job, JobState
from scheduler.domain.round import PlacementRecord, RoundRecord
from scheduler.domain.transitions import Step
from scheduler.state.load import worker_kw

J_PER_KWH = 3.6e6
WEST, ORIGIN = "west", "origin"


@dataclass(slots=True)
class _Held:
    """What a job is counted with. ``it_mw`` are milliwatts, whole ones, so that what was added is
    gone when it is taken away; None until all its nodes are known."""

    job: Job
    attempt: Attempt | None
    it_mw: int | None = 0


@dataclass(frozen=True, slots=True)
class _Run:
    """What the run of an attempt is to save, and how long it takes."""

    saving: Saving
    run_s: float


class Tally:
    """Listens to the job book and to the planning loop. Lives on the event loop."""

    def __init__(self, active: Mapping[str, Job], node: Callable[[str], Node | None]) -> None:
        """``node`` is what one has told of itself, None until it has."""
        self._node = node
        self._held: dict[str, _Held] = {}
        # Jobs of which not all nodes are known: after a restart agents take a moment to report.
        self._unknown: set[str] = set()
        self._runs: dict[str, _Run] = {}
        self.jobs: Counter[JobState] = Counter()
        self.attempts: Counter[AttemptState] = Counter()
        self.leases: Counter[str] = Counter()
        self.busy_gpus: Counter[str] = Counter()
        self._it_mw: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.jobs_ended: Counter[JobState] = Counter()
        self.attempts_ended: Counter[tuple[AttemptState, str]] = Counter()
        self.yuan = {WEST: 0.0, ORIGIN: 0.0}
        self.carbon_g = {WEST: 0.0, ORIGIN: 0.0}
        self.energy_j = {WEST: 0.0, ORIGIN: 0.0}
        self.rounds: Counter[str] = Counter()
        self.rounds_failed = self.placed_jobs = self.moved = self.kept = 0
        self.stage_s: dict[str, float] = {}
        self.interruptions: Counter[str] = Counter()
        self.gap = 0.0
        for job in active.values():
            self._enter(job)

    def on_step(self, step: Step) -> None:
        """Takes in a change of a job."""
        job = step.job
        self.events[step.event.event] += 1
        before = self._leave(job.id)
        if before is not None and before.attempt is not None:
            attempts = (a for a in job.attempts if a.id == before.attempt.id and a.state.final)
            for attempt in attempts:
                code = attempt.reason.code.value if attempt.reason else ""
                self.attempts_ended[attempt.state, code] += 1
                self._settle(job, attempt)
        if job.state.final:
            self.jobs_ended[job.state] += 1
        else:
            self._enter(job)

    def made(self, record: RoundRecord) -> None:
        """Takes in a round."""
        self.rounds[kind(record)] += 1
        self.placed_jobs += record.placed
        self.moved += record.moved
        self.kept += record.kept
        self.interruptions.update(record.interruptions)
        for name, ms in record.stages:
            self.stage_s[name] = self.stage_s.get(name, 0.0) + ms / 1000
        if not record.quick:
            self.gap = record.gap

    def placed(self, placements: Sequence[PlacementRecord]) -> None:
        """Keeps what runs that begin are to save, until they end."""
        for placement in placements:
            if placement.attempt_id is not None and placement.saving is not None:
                run_s = (placement.end_at - placement.start_at).total_seconds()
                self._runs[placement.attempt_id] = _Run(placement.saving, run_s)

    def failed(self, round_id: int, why: str) -> None:
        """Takes in a round that came to nothing."""
        self.rounds_failed += 1

    def it_watts(self) -> dict[str, float]:
        """By cluster, the draw of the attempts there, PUE left out."""
        for job_id in list(self._unknown):
            held = self._held[job_id]
            if (it_mw := self._draw_mw(held.job, held.attempt)) is not None and held.attempt:
                held.it_mw = it_mw
                self._it_mw[held.attempt.cluster] += it_mw
                self._unknown.discard(job_id)
        return {cluster: it_mw / 1000 for cluster, it_mw in self._it_mw.items()}

    def _enter(self, job: Job) -> None:
        self.jobs[job.state] += 1
        attempt = job.attempt
        if attempt is None or attempt.state.final:
            self._held[job.id] = _Held(job, None)
            return
        held = self._held[job.id] = _Held(job, attempt, self._draw_mw(job, attempt))
        self.attempts[attempt.state] += 1
        self.leases[attempt.cluster] += 1
        self.busy_gpus[attempt.cluster] += job.spec.gpus
        if held.it_mw is None:
            self._unknown.add(job.id)
        else:
            self._it_mw[attempt.cluster] += held.it_mw

    def _leave(self, job_id: str) -> _Held | None:
        held = self._held.pop(job_id, None)
        if held is None:
            return None
        self.jobs[held.job.state] -= 1
        if held.attempt is not None:
            self.attempts[held.attempt.state] -= 1
            self.leases[held.attempt.cluster] -= 1
            self.busy_gpus[held.attempt.cluster] -= held.job.spec.gpus
            self._it_mw[held.attempt.cluster] -= held.it_mw or 0
            self._unknown.discard(job_id)
        return held

    def _draw_mw(self, job: Job, attempt: Attempt | None) -> int | None:
        nodes: Iterable[Node | None] = map(self._node, attempt.nodes if attempt else ())
        kw = 0.0
        for node in nodes:
            if node is None:
                return None
            kw += worker_kw(job.spec.per_worker, node)
        return round(kw * 1e6)

    def _settle(self, job: Job, attempt: Attempt) -> None:
        """Counts a run that has ended: the whole of one that succeeded, of others the part of which
        the work was kept."""
        run = self._runs.pop(attempt.id, None)
        if run is None:
            return
        share = 1.0
        if attempt.state is not AttemptState.SUCCEEDED:
            work_s = run.run_s * (job.spec.speed_on(attempt.accelerator) or 1.0)
            share = min(attempt.kept_s / work_s, 1.0) if work_s > 0 else 0.0
        saving = run.saving
        pairs = (
            (self.yuan, saving.yuan, saving.origin_yuan, 1.0),
            (self.carbon_g, saving.carbon_kg, saving.origin_carbon_kg, 1000.0),
            (self.energy_j, saving.kwh, saving.origin_kwh, J_PER_KWH),
        )
        for counter, west, origin, unit in pairs:
            # A price may be below nothing, a counter may not go down.
            counter[WEST] += max(west, 0.0) * unit * share
            counter[ORIGIN] += max(origin, 0.0) * unit * share


def kind(record: RoundRecord) -> str:
    """The label of a round."""
    return "quick" if record.quick else "whole"
