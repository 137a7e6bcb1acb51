"""What the head node remembers of its attempts on disk, so that none is started twice.

One ``record.json`` per attempt, in the attempt's folder, replaced as a whole at every change.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from agents.executor import wire
from agents.executor.base import Observation
from agents.executor.wire import Order
from agents.lease import boot_id

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Record:
    """An attempt: what was asked, what is known, and the site actor it may have been started in.

    ``site`` is written before the order is sent: None means that no process can exist.
    ``order`` is None for an attempt that was found in a site actor and not in our records.
    """

    order: Order | None
    observation: Observation
    site: str | None = None
    stop_grace_s: float | None = None


class Records:
    """The records of one head node. Blocking; files are small."""

    def __init__(self, data_dir: Path, node_id: str) -> None:
        self._data_dir = data_dir
        self._node_id = node_id
        self._site_file = data_dir / node_id / "site.json"

    def folder(self, attempt_id: str) -> Path:
        return wire.attempt_folder(self._data_dir, self._node_id, attempt_id)

    def load(self) -> Sequence[Record]:
        """All records. One that cannot be read is set aside and logged, not deleted."""
        records = []
        for path in sorted(self.folder("x").parent.glob("*/record.json")):
            try:
                records.append(_decode(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                aside = path.rename(path.with_suffix(".unreadable"))
                log.error("attempt record unreadable", path=str(aside), error=repr(error))
        return records

    def save(self, record: Record, *, durable: bool = False) -> None:
        """Writes a record; if ``durable``, it survives a crash of the host from here on."""
        folder = self.folder(record.observation.attempt_id)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / "record.json.part"
        with draft.open("w") as file:
            file.write(_encode(record))
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.rename(folder / "record.json")

    def save_site(self, pid: int, ticks: int) -> None:
        """Keeps which process of this host the site actor is, for a daemon that starts later and
        cannot reach it. Raises OSError."""
        self._site_file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._site_file.with_suffix(".part")
        draft.write_text(json.dumps({"boot": boot_id(), "pid": pid, "ticks": ticks}))
        draft.rename(self._site_file)

    def site_process(self) -> tuple[int, int] | None:
        """Pid and start, in ticks since boot, of the last site actor since the machine booted."""
        try:
            kept = json.loads(self._site_file.read_text())
            return (kept["pid"], kept["ticks"]) if kept["boot"] == boot_id() else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error(
                "site actor's record unreadable", path=str(self._site_file), error=repr(error)
            )
            return None

    def drop(self, attempt_id: str) -> None:
        """Removes a record and working directories; logs stay until they have been sent."""
        folder = self.folder(attempt_id)
        (folder / "record.json").unlink(missing_ok=True)
        for cwd in folder.glob("rank-*.cwd"):
            shutil.rmtree(cwd, ignore_errors=True)
        try:
            folder.rmdir()
        except OSError:
            # Logs are in it, or it is gone.
            return


def _encode(record: Record) -> str:
    return json.dumps(
        {
            "order": record.order and record.order.as_message(),
            "observation": wire.observation_message(record.observation),
            "site": record.site,
            "stop_grace_s": record.stop_grace_s,
        }
    )


def _decode(text: str) -> Record:
    stored = json.loads(text)
    return Record(
        order=stored["order"] and Order(**stored["order"]),
        observation=wire.observation_of(stored["observation"]),
        site=stored["site"],
        stop_grace_s=stored["stop_grace_s"],
    )
