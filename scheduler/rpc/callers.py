"""Who asks, as callers state it: nothing proves it, and nothing is allowed or refused by it."""

from typing import Any
from urllib.parse import unquote

from scheduler.rpc.convert_nodes import text

HEADER = "westward-actor"
# Characters of it that are kept.
ACTOR_MOST = 64
# So that nobody passes for a part of the scheduler: those have other names.
PREFIX = "user/"


def actor(context: Any, unnamed: str = "user") -> str:
    """``user/`` and the name that the caller states; ``unnamed`` where it states none."""
    told = dict(context.invocation_metadata() or ()).get(HEADER, "")
    raw = told.decode(errors="replace") if isinstance(told, bytes) else told
    name = text(unquote(raw[: 9 * ACTOR_MOST]).strip(), ACTOR_MOST)
    return f"{PREFIX}{name}" if name else unnamed
