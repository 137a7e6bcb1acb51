"""Small cases: hubs of the scenario language, jobs given in minutes from noon."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from scheduler.replay.case import ReplayCase, ReplayJob, ReplayWorld
from tests.scenario.world import NOON, REGIONS, World, spec_of


@dataclass
class CaseOf:
    """Hubs, then jobs, then ``case()``. The clock starts at noon."""

    world: World = field(default_factory=World)
    jobs: list[ReplayJob] = field(default_factory=list)

    def hub(self, name: str, **site: Any) -> "CaseOf":
        self.world.hub(name, **site)
        return self

    def job(
        self,
        name: str,
        *,
        at_minutes: float = 0.0,
        minutes: float = 60.0,
        actual_minutes: float | None = None,
        **spec: Any,
    ) -> "CaseOf":
        """``minutes`` are expected; it takes ``actual_minutes``, if given."""
        self.jobs.append(
            ReplayJob(
                id=name,
                spec=spec_of(minutes=minutes, **spec),
                submitted_at=NOON + timedelta(minutes=at_minutes),
                actual_s=(minutes if actual_minutes is None else actual_minutes) * 60,
            )
        )
        return self

    def case(self) -> ReplayCase:
        return ReplayCase(
            name="small",
            world=ReplayWorld(
                nodes=tuple(self.world.nodes), sites=self.world.sites, regions=REGIONS
            ),
            jobs=tuple(sorted(self.jobs, key=lambda job: (job.submitted_at, job.id))),
            start_at=NOON,
            slot_s=self.world.slot_s,
            horizon_slots=self.world.slots,
        )
