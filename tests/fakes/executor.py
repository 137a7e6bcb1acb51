"""An executor in memory: attempts run until the test says otherwise."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from agents.executor.base import Assignment, Observation
from agents.lease import Lease
from agents.waiting import wait
from scheduler.domain.job import AttemptState
from scheduler.domain.reason import Reason, ReasonCode


class MemoryExecutor:
    """Records what it was asked; ``stubborn`` attempts end only when the test ends them."""

    def __init__(self) -> None:
        self.assignments: dict[str, Assignment] = {}
        self.attempts: dict[str, Observation] = {}
        self.starts: list[str] = []
        self.stops: list[tuple[str, float | None]] = []
        self.leases: list[Lease] = []
        self.stubborn: set[str] = set()
        self.closed = False
        self._changed = asyncio.Event()
        self._changed.set()

    async def start(self, assignment: Assignment) -> None:
        attempt_id = assignment.attempt_id
        if attempt_id in self.attempts:
            return
        self.starts.append(attempt_id)
        self.assignments[attempt_id] = assignment
        self._see(
            Observation(
                attempt_id=attempt_id,
                epoch=assignment.epoch,
                state=AttemptState.RUNNING,
                started_at_s=1_000_000.0,
                outlives_lease=assignment.outlives_lease,
            )
        )

    async def stop(self, attempt_id: str, *, grace_s: float | None = None) -> None:
        self.stops.append((attempt_id, grace_s))
        known = self.attempts.get(attempt_id)
        if known and not known.state.final and attempt_id not in self.stubborn:
            self.end(attempt_id, AttemptState.STOPPED, Reason(ReasonCode.STOPPED, "told to"))

    def hold(self, lease: Lease) -> None:
        self.leases.append(lease)

    def not_serving(self) -> str:
        return ""

    async def observe(self, timeout_s: float) -> Sequence[Observation]:
        await wait(self._changed, timeout_s)
        self._changed.clear()
        return list(self.attempts.values())

    async def forget(self, attempt_id: str) -> None:
        self.attempts.pop(attempt_id, None)
        self._changed.set()

    async def close(self) -> None:
        self.closed = True

    def end(self, attempt_id: str, state: AttemptState, reason: Reason) -> None:
        known = self.attempts[attempt_id]
        ended = replace(known, state=state, ended_at_s=1_000_010.0, exit_code=0, reason=reason)
        self._see(ended)

    def live(self) -> set[str]:
        return {a for a, o in self.attempts.items() if not o.state.final}

    def _see(self, observation: Observation) -> None:
        self.attempts[observation.attempt_id] = observation
        self._changed.set()
