"""Green supply for this cluster: a forecast or a typical day, and what is supplied now."""

from dataclasses import replace

from agents.collectors.base import CollectorError, Span
from agents.collectors.feed import Bounds, feed
from agents.collectors.known import Beyond, project
from agents.source_keys import Green
from scheduler.domain.series import Quantile, Series

KW = Bounds(0, 10_000_000)
SHARE = Bounds(0, 1)


class GreenSupply:
    """Green supply in kW per step.

    Outside of what its source knows, supply is 0: green power is never promised on a guess. What is
    metered now counts in the step that holds now. A share is of the cluster's metered load, which
    is taken to stay as it was at the same time of the day before, or as it is: jobs that come later
    raise the load and with it the supply, so that it is understated, never promised twice.
    """

    def __init__(self, keys: Green) -> None:
        bounds = SHARE if keys.unit == "share" else KW
        self._forecast = feed(keys, keys.unit, bounds)
        self._actual = feed(keys.actual, keys.unit, bounds) if keys.actual is not None else None
        self._load = (
            feed(keys.load, "kw", KW) if keys.load is not None and keys.unit == "share" else None
        )
        self.name = f"green supply ({self._forecast.source})"

    def read(self, span: Span) -> Series:
        series = project(self._forecast.known(span.now_at), span, Beyond.NOTHING)
        if self._actual is not None:
            series = self._with_actual(series, span)
        if self._load is not None:
            load = project(self._load.known(span.now_at), span, Beyond.SAME_HOUR)
            series = _of_load(series, load)
        return series

    def _with_actual(self, forecast: Series, span: Span) -> Series:
        assert self._actual is not None
        try:
            known = self._actual.known(span.now_at)
            told = known.at(span.now_at)
        except CollectorError as error:
            return replace(forecast, trouble=forecast.trouble or str(error))
        if told is None:
            trouble = f"{known.source}: tells nothing of the present"
            return replace(forecast, trouble=forecast.trouble or trouble)
        quantiles = tuple(Quantile(one.q, (told[0], *one.values[1:])) for one in forecast.quantiles)
        return replace(
            forecast,
            values=(told[0], *forecast.values[1:]),
            quantiles=quantiles,
            source=f"{forecast.source}, now {known.source}",
            trouble=forecast.trouble or known.trouble,
            measured=1,
        )


def _of_load(share: Series, load: Series) -> Series:
    """A share of a load, in kW."""

    def kw(values: tuple[float, ...]) -> tuple[float, ...]:
        pairs = zip(values, load.values, strict=True)
        return tuple(round(of * load_kw, 3) for of, load_kw in pairs)

    ageing = [one for one in (share, load) if not one.standing]
    return replace(
        share,
        values=kw(share.values),
        quantiles=tuple(Quantile(one.q, kw(one.values)) for one in share.quantiles),
        source=f"{share.source} × load {load.source}",
        read_at=min((s.read_at for s in ageing if s.read_at is not None), default=share.read_at),
        trouble=share.trouble or load.trouble,
        from_share=True,
        standing=not ageing,
    )
