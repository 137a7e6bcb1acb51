"""Accelerators of this host that must not be used, in a file: for those who are given them here."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from agents.collectors.accelerators import Sick, means
from agents.executor.launch import ACCELERATORS_IN_SIGHT

NAME = "sick.json"


def write(node_dir: Path, sick: Iterable[Sick]) -> None:
    """Puts the file in the place of the last one, whole.

    Raises:
        OSError: it cannot be written.
    """
    told = json.dumps([[one.index, one.id, one.reason] for one in sick])
    draft = node_dir / f"{NAME}.part"
    draft.write_text(told, encoding="utf-8")
    draft.rename(node_dir / NAME)


def read(node_dir: Path) -> list[Sick]:
    """What the node's agent last wrote; nothing where it has not, or what it wrote is damaged."""
    try:
        rows = json.loads((node_dir / NAME).read_text(encoding="utf-8"))
        return [Sick(int(index), str(name), str(reason)) for index, name, reason in rows]
    except (OSError, ValueError, TypeError):
        return []


def given(environment: Mapping[str, str], node_dir: Path) -> list[Sick]:
    """The sick ones among the accelerators that a process with this environment may see."""
    told = ",".join(environment.get(name, "") for name in ACCELERATORS_IN_SIGHT).split(",")
    names = {name.strip() for name in told} - {""}
    if not names:
        return []
    return [one for one in read(node_dir) if any(means(name, one) for name in names)]
