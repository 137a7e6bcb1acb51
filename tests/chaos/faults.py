"""What is done to the parts of a chaos run. Each kind is drawn from a seeded chance."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from agents.executor import processes
from tests.chaos import stepped
from tests.chaos.parts import Part
from tests.chaos.stage import LEASE_TTL_S, Stage
from tests.chaos.way import DOWN, UP

PIECE_BYTES = 4096
# A scheduler or an agent is up and connected after 2 to 5 s.
REST_S = 8.0
STEP_MOST_S = 90.0


class MissedError(Exception):
    """There was nothing there to do it to."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as drawn. ``target`` suffers one at a time; ``act`` returns when it is healed, and
    the next one comes ``rest_s`` later at the earliest: what never runs shows nothing.

    Raises (``act``):
        MissedError: nothing was done.
    """

    target: str
    told: str
    act: Callable[[], Awaitable[None]]
    rest_s: float = 0.0


Draw = Callable[[Stage, Random], Fault]


def _pause_s(chance: Random, short_s: float) -> float:
    """Mostly short; every fifth outlasts the lease and its margin."""
    return LEASE_TTL_S + 4 if chance.random() < 0.2 else chance.uniform(0, short_s)


def _killed(part: Part, pause_s: float) -> Fault:
    return Fault(part.name, f"back in {pause_s:.1f} s", lambda: part.kill(pause_s), REST_S)


def _suspended(part: Part, pause_s: float) -> Fault:
    return Fault(part.name, f"for {pause_s:.1f} s", lambda: part.suspend(pause_s), REST_S)


def scheduler_killed(stage: Stage, chance: Random) -> Fault:
    return _killed(stage.scheduler, _pause_s(chance, 3))


def agent_killed(stage: Stage, chance: Random) -> Fault:
    return _killed(chance.choice(chance.choice(stage.hubs).agents), _pause_s(chance, 4))


def gateway_killed(stage: Stage, chance: Random) -> Fault:
    return _killed(stage.gateway, chance.uniform(0, 5))


def scheduler_suspended(stage: Stage, chance: Random) -> Fault:
    return _suspended(stage.scheduler, _pause_s(chance, 3))


def agent_suspended(stage: Stage, chance: Random) -> Fault:
    return _suspended(chance.choice(chance.choice(stage.hubs).agents), _pause_s(chance, 3))


def bridge_killed(stage: Stage, chance: Random) -> Fault:
    hub = chance.choice(stage.hubs)

    async def act() -> None:
        _kill(hub.agent.children("agents.executor.bridge"))

    return Fault(hub.agent.name, hub.name, act)


def site_killed(stage: Stage, chance: Random) -> Fault:
    hub = chance.choice(stage.hubs)

    async def act() -> None:
        _kill(await hub.ray.site())

    return Fault(f"ray-{hub.name}", hub.name, act)


def ray_worker_killed(stage: Stage, chance: Random) -> Fault:
    hub, which = chance.choice(stage.hubs), chance.random()

    async def act() -> None:
        _kill(_one(await hub.ray.workers(), which))

    return Fault(f"ray-{hub.name}", hub.name, act)


def ray_daemon_killed(stage: Stage, chance: Random) -> Fault:
    """One server of Ray's head dies, and after a while the others are ended and all come back."""
    hub, word = chance.choice(stage.hubs), chance.choice(["raylet", "gcs_server"])
    pause_s = chance.uniform(1, LEASE_TTL_S + 4)

    async def act() -> None:
        _kill(await hub.ray.daemon(word))
        await asyncio.sleep(pause_s)
        await hub.ray.kill(0.0)

    return Fault(f"ray-{hub.name}", f"{word} of {hub.name}, back in {pause_s:.1f} s", act)


def _one(found: list[psutil.Process], which: float) -> list[psutil.Process]:
    return found[int(which * len(found)) :][:1]


def _kill(found: list[psutil.Process]) -> None:
    if not found:
        raise MissedError
    for process in found:
        try:
            process.kill()
        except psutil.NoSuchProcess as error:
            raise MissedError from error


def ray_head_killed(stage: Stage, chance: Random) -> Fault:
    hub = chance.choice(stage.hubs)
    pause_s = chance.uniform(0, 5)
    told = f"{hub.name}, back in {pause_s:.1f} s"
    return Fault(f"ray-{hub.name}", told, lambda: hub.ray.kill(pause_s))


def ray_node_killed(stage: Stage, chance: Random) -> Fault:
    """A node that is not the head's, with all of Ray on it."""
    hub = chance.choice(stage.hubs)
    pause_s = chance.uniform(0, 8)

    async def act() -> None:
        if not hub.others:
            raise MissedError
        await hub.ray.kill_last(pause_s)

    return Fault(f"ray-{hub.name}", f"{hub.name}, back in {pause_s:.1f} s", act)


def clock_stepped(stage: Stage, chance: Random) -> Fault:
    """The wall clock of a scheduler or an agent jumps, and after a while back to what is true."""
    part = chance.choice([stage.scheduler, *(a for hub in stage.hubs for a in hub.agents)])
    off_s, pause_s = chance.choice([-1, 1]) * chance.uniform(1, STEP_MOST_S), chance.uniform(0, 10)

    async def act() -> None:
        stepped.write(part.clock, off_s)
        await asyncio.sleep(pause_s)
        stepped.write(part.clock, 0.0)

    told = f"{part.name} by {off_s:+.0f} s for {pause_s:.1f} s"
    return Fault(f"clock-{part.name}", told, act)


def job_process_killed(stage: Stage, chance: Random) -> Fault:
    which = chance.random()

    async def act() -> None:
        found = await asyncio.to_thread(processes.find_marked, [stage.marker])
        _kill(_one([psutil.Process(p.pid) for p in found], which))

    return Fault("jobs", "one of those that run", act)


def way_cut(stage: Stage, chance: Random) -> Fault:
    hub = chance.choice(stage.hubs)

    async def act() -> None:
        hub.way.cut()

    return Fault(f"way-{hub.name}", hub.name, act)


def way_partitioned(stage: Stage, chance: Random) -> Fault:
    hub = chance.choice(stage.hubs)
    directions = chance.choice([(UP, DOWN), (UP,), (DOWN,)])
    pause_s = _pause_s(chance, 3)
    cut = chance.random() < 0.5

    async def act() -> None:
        hub.way.hold(*directions)
        await asyncio.sleep(pause_s)
        if cut:
            hub.way.cut()
        hub.way.heal()

    after = "then cut" if cut else "then all arrives"
    told = f"{hub.name} {' and '.join(directions)} for {pause_s:.1f} s, {after}"
    return Fault(f"way-{hub.name}", told, act)


def way_delayed(stage: Stage, chance: Random) -> Fault:
    hub = chance.choice(stage.hubs)
    delay_s, pause_s = chance.uniform(0.02, 1.5), chance.uniform(1, 4)

    async def act() -> None:
        hub.way.delay_s = delay_s
        await asyncio.sleep(pause_s)
        hub.way.heal()

    told = f"{hub.name} by {delay_s * 1000:.0f} ms for {pause_s:.1f} s"
    return Fault(f"way-{hub.name}", told, act)


def way_repeats(stage: Stage, chance: Random) -> Fault:
    hub = chance.choice(stage.hubs)

    async def act() -> None:
        hub.way.repeat()

    return Fault(f"way-{hub.name}", f"{hub.name}, one piece", act)


def disk_full(stage: Stage, chance: Random) -> Fault:
    pause_s = chance.uniform(0.5, 4)

    async def act() -> None:
        if stage.disk is None:
            raise MissedError
        filler = stage.disk / "filler"
        try:
            await asyncio.to_thread(_fill, filler)
            await asyncio.sleep(pause_s)
        finally:
            filler.unlink(missing_ok=True)

    return Fault("disk", f"for {pause_s:.1f} s", act)


def _fill(file: Path) -> None:
    """Writes until there is no room for another byte; others may write at the same time."""
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(PIECE_BYTES))


# How often each is drawn. Ray's head takes both cores for a quarter of a minute to come back.
KINDS: dict[str, tuple[Draw, float]] = {
    "scheduler killed": (scheduler_killed, 7),
    "scheduler suspended": (scheduler_suspended, 4),
    "database's disk full": (disk_full, 4),
    "agent killed": (agent_killed, 9),
    "agent suspended": (agent_suspended, 6),
    "bridge killed": (bridge_killed, 6),
    "site actor killed": (site_killed, 2),
    "ray worker killed": (ray_worker_killed, 8),
    "ray daemon killed": (ray_daemon_killed, 0.7),
    "ray head killed": (ray_head_killed, 0.7),
    "ray node killed": (ray_node_killed, 1.5),
    "clock stepped": (clock_stepped, 8),
    "job process killed": (job_process_killed, 10),
    "gateway killed": (gateway_killed, 3),
    "stream cut": (way_cut, 14),
    "stream partitioned": (way_partitioned, 12),
    "stream delayed": (way_delayed, 8),
    "stream repeats": (way_repeats, 6),
}
