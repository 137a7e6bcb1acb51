"""Words, figures and tables that all renderings share."""

from datetime import UTC, datetime
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from westward.v1 import job_pb2

_STATE_STYLES = {
    job_pb2.JOB_STATE_PENDING: "yellow",
    job_pb2.JOB_STATE_ASSIGNED: "cyan",
    job_pb2.JOB_STATE_RUNNING: "bold cyan",
    job_pb2.JOB_STATE_UNREACHABLE: "bold red",
    job_pb2.JOB_STATE_PREEMPTING: "yellow",
    job_pb2.JOB_STATE_SUSPENDING: "magenta",
    job_pb2.JOB_STATE_SUSPENDED: "magenta",
    job_pb2.JOB_STATE_CANCELLING: "magenta",
    job_pb2.JOB_STATE_SUCCEEDED: "green",
    job_pb2.JOB_STATE_FAILED: "red",
    job_pb2.JOB_STATE_CANCELLED: "magenta",
}
# Yuan, kWh or kg that are not worth a figure: what is left of sums that should be nil.
NOTHING = 5e-7
FINAL_STATES = frozenset(
    {job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED}
)


def table(*, gap: int = 2) -> Table:
    """A table without lines, ``gap`` blanks between columns; it stays readable in a pipe."""
    return Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")


def clean(text: str) -> str:
    """Text from elsewhere without what could steer a terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "·" for c in text)


def job_state(state: job_pb2.JobState.ValueType) -> Text:
    """``running``, in its colour."""
    return Text(state_word(job_pb2.JobState.Name(state)), _STATE_STYLES.get(state, ""))


def state_word(name: str) -> str:
    """``JOB_STATE_RUNNING`` as ``running``."""
    return name.split("_STATE_", 1)[-1].rsplit("_LIFECYCLE_", 1)[-1].lower()


def local(stamp: Timestamp) -> datetime:
    """A time in the zone of whoever reads."""
    return stamp.ToDatetime(UTC).astimezone()


def zone(stamp: Timestamp) -> str:
    """The reader's zone at a time: ``UTC+08:00``."""
    text = f"{local(stamp):%z}"
    return "UTC" if text == "+0000" else f"UTC{text[:3]}:{text[3:]}"


def when(stamp: Timestamp | None, *, seconds: bool = False) -> str:
    """``11-20 12:15``; empty for an unset time."""
    if stamp is None or not (stamp.seconds or stamp.nanos):
        return ""
    return f"{local(stamp):%m-%d %H:%M:%S}" if seconds else f"{local(stamp):%m-%d %H:%M}"


def span(seconds: float) -> str:
    """``1h30m``, ``45s``, ``0.4s``."""
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = round(seconds)
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"))
    text = "".join(f"{n}{unit}" for n, unit in parts if n)
    return text + (f"{whole % 60}s" if whole % 60 and whole < 3600 else "")


def figure(value: float) -> str:
    """Two significant digits where it is small, thousands apart where it is large."""
    size = abs(value)
    if size < NOTHING:
        return "0"
    if size < 0.01:
        return f"{Decimal(f'{value:.2g}'):f}"
    digits = 3 if size < 1 else 2 if size < 100 else 1 if size < 10_000 else 0
    return f"{value:,.{digits}f}"


def percent(share: float) -> str:
    """``0.823`` as ``82 %``; what is not all does not round to all."""
    rounded = round(share * 100)
    if share < 1 and rounded == 100:
        return f"{share * 100:.1f} %" if share < 0.9995 else "99.9 %"
    return f"{rounded} %"


def reason(given: job_pb2.Reason) -> Text:
    """``LATENCY 31.2 ms > 20 ms``: the code for machines, the sentence for people."""
    code, message = clean(given.code), clean(given.message)
    if given.code == "CHOSEN" and message:
        return Text(message)
    return Text.assemble((code, "bold"), " " if message else "", message)
