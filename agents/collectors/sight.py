"""Which attempts hold which accelerators of this host: what Ray lets their processes see."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.collectors.accelerators import Device, means
from agents.executor.launch import ACCELERATORS_IN_SIGHT
from agents.executor.processes import ATTEMPT_VARIABLE, PROC

NODE_VARIABLE = "WESTWARD_NODE_ID"


def in_sight(node_id: str, proc: Path = PROC) -> dict[str, set[str]]:
    """Names of accelerators (an index or an id, as the vendor's runtime takes them) by attempt, of
    the living processes of this node's attempts. Linux only; other users' processes are not ours.
    """
    seen: dict[str, set[str]] = {}
    for environment in _environments(proc):
        attempt_id = environment.get(ATTEMPT_VARIABLE)
        if attempt_id is None or environment.get(NODE_VARIABLE, node_id) != node_id:
            continue
        names = seen.setdefault(attempt_id, set())
        for variable in ACCELERATORS_IN_SIGHT:
            told = environment.get(variable, "").split(",")
            names.update(name.strip() for name in told if name.strip())
    return seen


def _environments(proc: Path) -> Iterator[dict[str, str]]:
    mine = os.getuid()
    for entry in os.scandir(proc):
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != mine:
                continue
            told = (proc / entry.name / "environ").read_bytes()
        except OSError:
            # Gone, or not ours to see.
            continue
        if ATTEMPT_VARIABLE.encode() in told:
            pairs = (item.partition("=") for item in told.decode(errors="replace").split("\0"))
            yield {name: value for name, _, value in pairs}


def ids_of(names: Sequence[str] | set[str], devices: Sequence[Device]) -> list[str]:
    """Ids of the devices that are meant by names; a name that fits none is kept as it is."""
    found: dict[str, None] = {}
    for name in sorted(names):
        meant = [device.id for device in devices if means(name, device)]
        for device_id in meant or [name]:
            found[device_id] = None
    return list(found)
