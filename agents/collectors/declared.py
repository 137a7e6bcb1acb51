"""What the operator declared in the configuration, for what cannot be read."""

from dataclasses import dataclass

from agents.collectors.base import Span
from agents.config import Accelerators
from scheduler.domain.series import Series


@dataclass(frozen=True, slots=True)
class AcceleratorFacts:
    """Accelerators of this node; ``power_kw`` is the draw of one under load."""

    model: str
    count: int
    power_kw: float


class DeclaredAccelerators:
    """The accelerators of the configuration file."""

    name = "accelerators (declared)"

    def __init__(self, declared: Accelerators | None) -> None:
        self._declared = declared

    def read(self, span: Span) -> AcceleratorFacts:
        if self._declared is None:
            return AcceleratorFacts("", 0, 0.0)
        d = self._declared
        return AcceleratorFacts(d.model if d.count else "", d.count, d.gpu_power_kw)


class ConstantPue:
    """A PUE that never changes."""

    name = "PUE (constant)"

    def __init__(self, pue: float) -> None:
        self._pue = pue

    def read(self, span: Span) -> Series:
        return Series(span.start_at, max(span.reach_s, span.step_s), (self._pue,), "constant")
