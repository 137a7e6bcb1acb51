"""What a site's operator declares and may meter beside it: PUE, and the carbon of the grid."""

from collections.abc import Callable
from dataclasses import replace

from agents.collectors.base import CollectorError, Span
from agents.collectors.feed import Bounds, feed
from agents.collectors.known import Beyond, project
from agents.source_keys import Feed, MeteredPue
from scheduler.domain.series import Series

KW = Bounds(0, 10_000_000)
PUE = Bounds(1, 3)
CARBON_G_PER_KWH = Bounds(0, 2000)
CONSTANT = "constant"


def constant(value: float, span: Span) -> Series:
    """A value that never changes, over the whole span."""
    return Series(span.start_at, max(span.reach_s, span.step_s), (value,), CONSTANT)


class Declared:
    """A value that never changes."""

    def __init__(self, what: str, value: float) -> None:
        self.name = f"{what} (constant)"
        self._value = value

    def read(self, span: Span) -> Series:
        return constant(self._value, span)


class Metered:
    """A value that is read, and the declared one while it cannot be; ``trouble`` says so."""

    def __init__(
        self, what: str, source: str, read: Callable[[Span], Series], declared: float
    ) -> None:
        self.name = f"{what} ({source})"
        self._read = read
        self._declared = declared

    def read(self, span: Span) -> Series:
        try:
            return self._read(span)
        except CollectorError as error:
            return replace(constant(self._declared, span), trouble=str(error))


def carbon(keys: Feed, declared_g_per_kwh: float) -> Metered:
    """Carbon of the energy that is not green, in g/kWh; days to come are as the last one known."""
    source = feed(keys, "g_per_kwh", CARBON_G_PER_KWH)

    def read(span: Span) -> Series:
        return project(source.known(span.now_at), span, Beyond.SAME_HOUR)

    return Metered("grid carbon", source.source, read, declared_g_per_kwh)


def pue(keys: MeteredPue, declared: float) -> Metered:
    """Facility kW / IT kW; it stays as it is now."""
    if keys.pue is not None:
        quotient = feed(keys.pue, "pue", PUE)

        def read(span: Span) -> Series:
            return project(quotient.known(span.now_at), span, Beyond.HOLD)

        return Metered("PUE", quotient.source, read, declared)
    assert keys.facility is not None and keys.it is not None, "both meters or the quotient"
    facility, it = feed(keys.facility, "kw", KW), feed(keys.it, "kw", KW)

    def divided(span: Span) -> Series:
        door_kw = project(facility.known(span.now_at), span, Beyond.HOLD)
        it_kw = project(it.known(span.now_at), span, Beyond.HOLD)
        value = door_kw.values[0] / it_kw.values[0] if it_kw.values[0] > 0 else 0.0
        if not PUE.least <= value <= PUE.most:
            raise CollectorError(
                f"{facility.source} / {it.source}: {door_kw.values[0]:g} kW / "
                f"{it_kw.values[0]:g} kW is no PUE of {PUE.least:g} to {PUE.most:g}; are the "
                f"meters the right way round?"
            )
        return Series(
            span.start_at,
            max(span.reach_s, span.step_s),
            (round(value, 4),),
            f"{facility.source} / {it.source}",
            read_at=min(filter(None, (door_kw.read_at, it_kw.read_at)), default=None),
            trouble=door_kw.trouble or it_kw.trouble,
            measured=1,
        )

    return Metered("PUE", f"{facility.source} / {it.source}", divided, declared)
