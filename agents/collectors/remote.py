"""Values over time from services: JSON over HTTP, and Prometheus."""

import http.client
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from zoneinfo import ZoneInfo

from agents.collectors.base import CollectorError
from agents.collectors.known import Known, stepwise
from agents.collectors.seriesfile import end_of
from agents.source_keys import Http, Prometheus

ANSWER_LIMIT_S = 2.5
ANSWER_MOST_BYTES = 8 * 1024 * 1024
ERROR_BYTES = 200
VALUES_MOST = 20_000
# What is asked of Prometheus beside the value now: a day, to repeat it for the next.
HISTORY_S = 86400
HISTORY_STEP_S = 900
# A value that was measured tells of the present for so long after its source fell silent, in real
# time; one that is asked for less often, for a few of its own intervals.
FRESH_S = 900.0
# A source that failed is asked again so soon, or sooner.
AGAIN_S = 15.0
FRESH_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: ``values[i]`` begins at ``stamps[i]``, in the power clock. ``now``: the last one
    is the value now, and there may be no other."""

    stamps: tuple[datetime, ...]
    values: tuple[float, ...]
    now: bool


Ask = Callable[[datetime], Told]


class Polled:
    """Asks at most every so often, and goes on with what was last told in between and while the
    source fails, as long as it makes sense."""

    def __init__(
        self,
        ask: Ask,
        source: str,
        every_s: float,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self._ask = ask
        self._every_s = every_s
        self._clock_s = clock_s
        self._told: Told | None = None
        self._told_s = -math.inf
        self._read_at: datetime | None = None
        self._due_s = -math.inf
        self._trouble = ""

    def known(self, now_at: datetime) -> Known:
        """What the source tells, newly asked or not.

        Raises:
            CollectorError: it has not answered yet, or its last answer was about a present that is
                over.
        """
        now_s = self._clock_s()
        if now_s >= self._due_s:
            self._refresh(now_at)
            pause_s = min(self._every_s, AGAIN_S) if self._trouble else self._every_s
            self._due_s = now_s + pause_s
        if self._told is None:
            raise CollectorError(self._trouble)
        fresh_s = max(FRESH_S, FRESH_INTERVALS * self._every_s)
        if self._told.now and now_s - self._told_s > fresh_s:
            raise CollectorError(self._trouble or f"{self.source}: no news for {fresh_s:g} s")
        known = _of_now if self._told.now else _of_times
        return replace(
            known(self._told, now_at, self.source), read_at=self._read_at, trouble=self._trouble
        )

    def _refresh(self, now_at: datetime) -> None:
        try:
            self._told = self._ask(now_at)
        except CollectorError as error:
            self._trouble = str(error)
        else:
            self._told_s, self._trouble = self._clock_s(), ""
            self._read_at = datetime.now(UTC).replace(microsecond=0)


def _of_now(told: Told, now_at: datetime, source: str) -> Known:
    """The last value holds until now and no longer; those before it are history."""
    first = min(told.stamps[0], now_at - timedelta(days=1)) if len(told.stamps) == 1 else None
    stamps = told.stamps if first is None else (first,)
    end = max(now_at, told.stamps[-1]) + timedelta(microseconds=1)
    at = stepwise(stamps, [(value,) for value in told.values], end)
    return Known(at, source, stamps[0], end, measured=True)


def _of_times(told: Told, _: datetime, source: str) -> Known:
    end = end_of(told.stamps)
    at = stepwise(told.stamps, [(value,) for value in told.values], end)
    return Known(at, source, told.stamps[0], end)


def http_json(keys: Http, time_zone: str) -> Polled:
    """A service that answers with JSON."""
    from jsonpath_ng.parser import parse  # noqa: PLC0415

    values_path, zone = parse(keys.values), ZoneInfo(time_zone)
    times_path = parse(keys.times) if keys.times is not None else None
    source = f"http {urlsplit(keys.url).netloc}"

    def ask(now_at: datetime) -> Told:
        answer = _get(keys.url, keys.token_file, source)
        values = [_number(one.value, source) for one in values_path.find(answer)]
        if not values or len(values) > VALUES_MOST:
            raise CollectorError(f"{source}: {keys.values} finds {len(values)} values")
        if times_path is None:
            if len(values) > 1:
                raise CollectorError(
                    f"{source}: {keys.values} finds {len(values)} values; give `times` for them"
                )
            return Told((now_at,), tuple(values), now=True)
        stamps = [_stamp(one.value, zone, source) for one in times_path.find(answer)]
        if len(stamps) != len(values):
            raise CollectorError(f"{source}: {len(values)} values at {len(stamps)} times")
        if any(after <= before for before, after in pairwise(stamps)):
            raise CollectorError(f"{source}: times must grow")
        return Told(tuple(stamps), tuple(values), now=False)

    return Polled(ask, source, keys.every_s)


def prometheus(keys: Prometheus) -> Polled:
    """A query, over the last day and now."""
    source = f"prometheus {urlsplit(keys.url).netloc}"

    def ask(now_at: datetime) -> Told:
        real_s = time.time()
        asked = {
            "query": keys.query,
            "start": f"{real_s - HISTORY_S:.3f}",
            "end": f"{real_s:.3f}",
            "step": HISTORY_STEP_S,
        }
        url = f"{keys.url.rstrip('/')}/api/v1/query_range?{urlencode(asked)}"
        samples = _present(_get(url, keys.token_file, source), real_s, source)
        # Prometheus goes by real time, plans by the power clock.
        stamps = tuple(now_at - timedelta(seconds=real_s - stamp_s) for stamp_s, _ in samples)
        return Told(stamps, tuple(value for _, value in samples), now=True)

    return Polled(ask, source, keys.every_s)


def _present(answer: Any, real_s: float, source: str) -> Sequence[tuple[float, float]]:
    """Seconds since the Unix epoch and value of each sample of the one series that has a value now,
    as Prometheus's HTTP API tells a matrix. Series that ended within the day, such as those of an
    exporter that moved, are left out."""
    try:
        matrix = [series["values"] for series in answer["data"]["result"]]
        told = [[(_number(at, source), float(value)) for at, value in one] for one in matrix]
    except (KeyError, TypeError, ValueError) as error:
        raise CollectorError(f"{source}: not an answer of Prometheus: {error!r}") from error
    finite = [[(at, value) for at, value in one if math.isfinite(value)] for one in told]
    now = [one for one in finite if one and real_s - one[-1][0] <= HISTORY_STEP_S / 2]
    if len(now) != 1:
        raise CollectorError(f"{source}: the query gives {len(now)} values now, not one")
    if any(after <= before for (before, _), (after, _) in pairwise(now[0])):
        raise CollectorError(f"{source}: times must grow")
    return now[0][-VALUES_MOST:]


def _get(url: str, token_file: Path | None, source: str) -> Any:
    headers = {"Accept": "application/json"}
    try:
        if token_file is not None:
            headers["Authorization"] = f"Bearer {token_file.read_text(encoding='utf-8').strip()}"
        # The configuration takes http and https alone.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=ANSWER_LIMIT_S) as answer:  # noqa: S310
            body = answer.read(ANSWER_MOST_BYTES + 1)
        if len(body) > ANSWER_MOST_BYTES:
            raise CollectorError(f"{source}: answers with more than {ANSWER_MOST_BYTES} bytes")
        return json.loads(body)
    except urllib.error.HTTPError as error:
        told = f"{source}: answers {error.code} {error.reason}{_why(error)}"
        raise CollectorError(told) from error
    except (OSError, http.client.HTTPException) as error:
        raise CollectorError(f"{source}: cannot be reached: {error}") from error
    except (ValueError, RecursionError) as error:
        raise CollectorError(f"{source}: does not answer with JSON: {error}") from error


def _why(error: urllib.error.HTTPError) -> str:
    """In the words of the source: Prometheus says what is wrong with a query."""
    try:
        words = error.read(ERROR_BYTES).decode(errors="replace").split()
    except (OSError, http.client.HTTPException):
        return ""
    return f": {' '.join(words)}" if words else ""


def _number(told: Any, source: str) -> float:
    try:
        value = float(told) if isinstance(told, int | float | str) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if isinstance(told, bool) or not math.isfinite(value):
        raise CollectorError(f"{source}: {str(told)[:80]!r} is not a number")
    return value


def _stamp(told: Any, zone: ZoneInfo, source: str) -> datetime:
    try:
        if isinstance(told, str):
            stamp = datetime.fromisoformat(told)
            return (stamp if stamp.tzinfo else stamp.replace(tzinfo=zone)).astimezone(UTC)
        return datetime.fromtimestamp(_number(told, source), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise CollectorError(f"{source}: {str(told)[:80]!r} is not a time") from error
