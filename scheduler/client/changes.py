"""Changes of the world as people write them, e.g. ``horinger*1.3@12:00-16:00``, for ``what_if``."""

import re
from datetime import datetime, time, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from westward.v1 import what_if_pb2

_FORECAST = re.compile(
    r"(?P<cluster>.+)(?P<sign>[*=+-])(?P<value>\d+(?:\.\d+)?|\.\d+)(?P<unit>%|kW)?"
    r"(?:@(?P<begin>\d{1,2}:\d{2})-(?P<end>\d{1,2}:\d{2}))?"
)
_RTT = re.compile(r"(?P<region>[^:=]+):(?P<cluster>[^=]+)=(?P<ms>\d+(?:\.\d+)?)(?:ms)?")
_NODES = re.compile(r"(?P<cluster>.+):(?P<count>\d+)x(?P<accelerator>.*)")


def drain(text: str) -> what_if_pb2.WorldChange:
    """``qingyang``, or a node: it is emptied.

    Raises:
        ValueError: no name is there.
    """
    if not text.strip():
        raise ValueError("'' names nothing; write a cluster or a node")
    return what_if_pb2.WorldChange(drain=text.strip())


def price(text: str, now_at: datetime) -> what_if_pb2.WorldChange:
    """``horinger*1.3``, ``horinger=0.5``, ``horinger+0.1``, ``horinger-20%``, in yuan per kWh; with
    ``@12:00-16:00`` in the next such hours alone.

    Args:
        now_at: now in the scheduler's power clock, in the zone that the hours are meant in.

    Raises:
        ValueError: text of another form.
    """
    made = _forecast(text, now_at, "horinger*1.3, =0.5, +0.1 or -20%", unit="")
    return what_if_pb2.WorldChange(price=made)


def green(text: str, now_at: datetime) -> what_if_pb2.WorldChange:
    """``qingyang-40%``, ``qingyang*0.5``, ``qingyang=800``, ``qingyang+250kW``, in kW; hours and
    errors as those of ``price``."""
    made = _forecast(text, now_at, "qingyang-40%, *0.5, =800 or +250kW", unit="kW")
    return what_if_pb2.WorldChange(green=made)


def rtt(text: str) -> what_if_pb2.WorldChange:
    """``shanghai:qingyang=25``, a region, a cluster and milliseconds.

    Raises:
        ValueError: text of another form.
    """
    found = _RTT.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is no round trip; write REGION:CLUSTER=MS, shanghai:qingyang=25"
        )
    made = what_if_pb2.RttChange(
        region=found["region"], cluster=found["cluster"], ms=float(found["ms"])
    )
    return what_if_pb2.WorldChange(rtt=made)


def add_nodes(text: str) -> what_if_pb2.WorldChange:
    """``zhongwei:16xA800``, a cluster, how many nodes, and their accelerator.

    Raises:
        ValueError: text of another form.
    """
    found = _NODES.fullmatch(text.strip())
    if found is None or len(found["count"]) > 9:
        raise ValueError(
            f"{text!r} are no nodes; write CLUSTER:COUNTxACCELERATOR, zhongwei:16xA800"
        )
    made = what_if_pb2.AddedNodes(
        cluster=found["cluster"], count=int(found["count"]), accelerator=found["accelerator"]
    )
    return what_if_pb2.WorldChange(add_nodes=made)


def _forecast(text: str, now_at: datetime, forms: str, *, unit: str) -> what_if_pb2.ForecastChange:
    found = _FORECAST.fullmatch(text.strip())
    if found is None:
        told = f"{text!r} is no change; write CLUSTER and what becomes of it: {forms}"
        raise ValueError(f"{told}, and @12:00-16:00 behind it for those hours alone")
    sign, value, given = found["sign"], float(found["value"]), found["unit"] or ""
    if given not in ("", "%", unit) or (given == "%" and sign in "*="):
        raise ValueError(f"{given!r} does not go with {sign} in {text!r}; write {forms}")
    made = what_if_pb2.ForecastChange(cluster=found["cluster"])
    if given == "%":
        made.operation = what_if_pb2.OPERATION_MULTIPLY
        made.value = 1 + value / 100 if sign == "+" else 1 - value / 100
    else:
        made.operation = _OPERATIONS[sign]
        made.value = -value if sign == "-" else value
    if found["begin"]:
        begin_at, end_at = _hours(text, found["begin"], found["end"], now_at)
        made.from_at.CopyFrom(_stamp(begin_at))
        made.until_at.CopyFrom(_stamp(end_at))
    return made


_OPERATIONS = {
    "*": what_if_pb2.OPERATION_MULTIPLY,
    "=": what_if_pb2.OPERATION_SET,
    "+": what_if_pb2.OPERATION_ADD,
    "-": what_if_pb2.OPERATION_ADD,
}


def _hours(text: str, begin: str, end: str, now_at: datetime) -> tuple[datetime, datetime]:
    """The next such hours: those that have begun where they have not ended."""
    try:
        first, last = (time.fromisoformat(one.zfill(5)) for one in (begin, end))
    except ValueError as error:
        raise ValueError(f"{begin}-{end} in {text!r} are no hours; write 12:00-16:00") from error
    day = timedelta(days=1)
    begin_at = datetime.combine(now_at.date(), first, now_at.tzinfo) - day
    end_at = datetime.combine(now_at.date(), last, now_at.tzinfo) - day
    if end_at <= begin_at:
        end_at += day
    while end_at <= now_at:
        begin_at, end_at = begin_at + day, end_at + day
    return begin_at, end_at


def _stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made
