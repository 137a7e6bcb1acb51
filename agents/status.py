"""What the daemon last saw and sent, in a file beside its data, for `westward agent status`."""

import asyncio
import fcntl
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.json_format import MessageToDict
from pydantic import BaseModel, ValidationError

from agents.check import Read, read_of
from agents.collectors.readings import Readings
from agents.config import AgentConfig, ConfigError, load
from agents.latency import Prober
from agents.link import Link
from agents.report import Reporter

log = structlog.get_logger()

# Held by the daemon of a node while it lives.
LOCK = "agent.lock"
FILE = "status.json"
EVERY_S = 5.0


class Written(BaseModel):
    """The file. ``why`` is empty while connected; ``sent`` is the last report, in which only what
    had changed was told, and ``sent_bytes`` its size before compression."""

    written_at: datetime
    node_id: str
    cluster: str
    scheduler: str
    since_at: datetime
    why: str
    sent_bytes: int
    sent: dict[str, Any]
    reads: list[Read]
    rtt: dict[str, str]
    rejected: list[tuple[str, str, str]]


class Status:
    """Writes the file every few seconds, whether the scheduler is there or not."""

    def __init__(
        self,
        config: AgentConfig,
        link: Link,
        readings: Readings,
        reporter: Reporter,
        prober: Prober,
    ) -> None:
        self._config = config
        self._link = link
        self._readings = readings
        self._reporter = reporter
        self._prober = prober

    async def run(self) -> None:
        """Runs until cancelled; a full disk ends nothing."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                write(self.now(), self._config.node_dir)
            except OSError as error:
                log.warning("status_not_written", error=str(error))

    def now(self) -> Written:
        """What there is to tell."""
        session = self._link.session
        report = session.report if session is not None else None
        return Written(
            written_at=datetime.now(UTC),
            node_id=self._config.node_id,
            cluster=self._config.cluster,
            scheduler=self._config.scheduler.address,
            since_at=self._link.since_at,
            why=self._link.why,
            sent_bytes=report.ByteSize() if report is not None else 0,
            sent=MessageToDict(report) if report is not None else {},
            reads=[read_of(r.name, r.value, r.error) for r in self._readings.all()],
            rtt={
                region: f"p50 {rtt.p50_ms:.2f}, p95 {rtt.p95_ms:.2f}, p99 {rtt.p99_ms:.2f} ms, "
                f"jitter {rtt.jitter_ms:.2f} ms, loss {rtt.loss:.2%} of {rtt.loss_samples}"
                for region, rtt in self._prober.measured().items()
            },
            rejected=sorted(self._reporter.rejected),
        )


def write(status: Written, node_dir: Path) -> None:
    """Puts the file in the place of the last one, whole.

    Raises:
        OSError: it cannot be written.
    """
    partial = node_dir / f"{FILE}.partial"
    partial.write_text(status.model_dump_json(), encoding="utf-8")
    partial.replace(node_dir / FILE)


def lives(node_dir: Path) -> bool:
    """Whether a daemon runs on a node's folder."""
    try:
        with (node_dir / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def told(status: Written, *, alive: bool, now_at: datetime) -> list[str]:
    """The status for people, a line for each thing."""
    age_s = (now_at - status.written_at).total_seconds()
    since = f"{status.since_at.astimezone():%Y-%m-%d %H:%M:%S}"
    life = f"runs; as of {age_s:.0f} s ago" if alive else f"does not run; {age_s:.0f} s ago it said"
    way = f"away since {since}: {status.why}" if status.why else f"connected since {since}"
    lines = [
        f"{status.node_id} of cluster {status.cluster}: {life}",
        f"scheduler  {status.scheduler}: {way}",
    ]
    for read in status.reads:
        trouble = f"{'; ' if read.told else ''}ERROR {read.trouble}" if read.trouble else ""
        lines.append(f"saw        {read.name}: {read.told}{trouble}")
    lines += [f"way        {region}: {text}" for region, text in sorted(status.rtt.items())]
    if status.sent:
        report = json.dumps(status.sent.get("report", {}), ensure_ascii=False)
        lines.append(
            f"sent       {status.sent_bytes} bytes at {status.sent.get('sentAt')}: {report}"
        )
    lines += [f"refused    {field} = {value}: {reason}" for field, value, reason in status.rejected]
    return lines


def main(config_path: Path) -> int:
    """Prints the status; answers the exit code: 0 while the daemon runs and the scheduler hears it,
    1 when not, 2 for a bad configuration."""
    try:
        config = load(config_path)
        text = (config.node_dir / FILE).read_text(encoding="utf-8")
        status = Written.model_validate_json(text)
    except ConfigError as error:
        print(error)
        return 2
    except (OSError, ValidationError) as error:
        print(f"{config.node_dir}: no agent has told its status there ({error})")
        return 1
    alive = lives(config.node_dir)
    print("\n".join(told(status, alive=alive, now_at=datetime.now(UTC))))
    return 0 if alive and not status.why else 1
