"""What goes wrong in a story, when, and for how long: drawn from its seed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

# No fault begins or lasts after this.
LAST_S = 75.0
FAULTS_MOST = 9


def schedule(world: "World") -> None:
    """Sets the timers of all faults of a story."""
    for _ in range(world.chance.randint(2, FAULTS_MOST)):
        fault = world.chance.choice(KINDS)
        at_s = world.chance.uniform(1.0, LAST_S - 5.0)
        world.loop.call_later(at_s, fault, world)


def heal(world: "World") -> None:
    """Everything is whole again, and stays so."""
    now_s = world.loop.time()
    for name, way in world.ways.items():
        way.harsh = 0.0
        way.cut_until_s = now_s
        way.stalled_until_s = {"agent": now_s, "scheduler": now_s}
        world.sites[name].lease_file.broken = False
        world.sites[name].start_ray()
        world.start_agent(name)
    world.disk.full_until_s = now_s
    world.start_scheduler()


def _note(world: "World", what: str) -> None:
    world.story.faults.append(f"{world.loop.time():.1f} s: {what}")


def _site(world: "World") -> str:
    return world.chance.choice(list(world.sites))


def stall(world: "World") -> None:
    """Packets of one direction, or both, wait for a while and then all arrive."""
    name = _site(world)
    sides = world.chance.choice([("agent",), ("scheduler",), ("agent", "scheduler")])
    for side in sides:
        lasts_s = world.chance.uniform(0.5, 25)
        world.ways[name].stalled_until_s[side] = world.loop.time() + lasts_s
        _note(world, f"messages to the {side} ({name}) stall for {lasts_s:.1f} s")


def lopsided(world: "World") -> None:
    """Old answers still reach the agent while nothing that it says arrives any more."""
    name, lasts_s = _site(world), world.chance.uniform(2, 10)
    way, now_s = world.ways[name], world.loop.time()
    way.stalled_until_s = {"agent": now_s + lasts_s, "scheduler": now_s + lasts_s + 25}
    _note(world, f"{name} hears for {lasts_s:.1f} s nothing, then old answers, and is not heard")


def cut(world: "World") -> None:
    """The connection breaks, and no other can be made for a while."""
    name = _site(world)
    lasts_s = world.chance.choice([0.1, world.chance.uniform(0, 40)])
    world.ways[name].cut_until_s = world.loop.time() + lasts_s
    world.ways[name].break_streams()
    _note(world, f"{name} is cut off for {lasts_s:.1f} s")


def scheduler_dies(world: "World") -> None:
    """kill -9, and a start a while later."""
    lasts_s = world.chance.choice([0.2, world.chance.uniform(0, 30)])
    world.kill_scheduler()
    world.loop.call_later(lasts_s, world.start_scheduler)
    _note(world, f"the scheduler dies for {lasts_s:.1f} s")


def agent_dies(world: "World") -> None:
    """kill -9 of the daemon on a head node; what it started goes on."""
    name = _site(world)
    lasts_s = world.chance.choice([0.2, world.chance.uniform(0, 40)])
    world.kill_agent(name)
    world.loop.call_later(lasts_s, world.start_agent, name)
    _note(world, f"the agent of {name} dies for {lasts_s:.1f} s")


def ray_dies(world: "World") -> None:
    """Ray's head, and the site actor with it."""
    name, lasts_s = _site(world), world.chance.uniform(0, 20)
    world.sites[name].lose_ray()
    world.loop.call_later(lasts_s, world.sites[name].start_ray)
    _note(world, f"Ray of {name} dies for {lasts_s:.1f} s")


def reboot(world: "World") -> None:
    """The site loses its power."""
    name, lasts_s = _site(world), world.chance.uniform(2, 40)
    world.kill_agent(name)
    world.sites[name].reboot()
    world.loop.call_later(lasts_s, world.sites[name].start_ray)
    world.loop.call_later(lasts_s, world.start_agent, name)
    _note(world, f"{name} is without power for {lasts_s:.1f} s")


def disk_full(world: "World") -> None:
    """The scheduler's database refuses every write."""
    lasts_s = world.chance.uniform(0.1, 15)
    world.disk.full_until_s = world.loop.time() + lasts_s
    _note(world, f"the scheduler's disk is full for {lasts_s:.1f} s")


def harsh(world: "World") -> None:
    """Single messages are lost, doubled and overtaken."""
    name, lasts_s = _site(world), world.chance.uniform(5, 30)
    way = world.ways[name]
    way.harsh = 0.3
    world.loop.call_later(lasts_s, setattr, way, "harsh", 0.0)
    _note(world, f"the way of {name} is harsh for {lasts_s:.1f} s")


def lease_not_kept(world: "World") -> None:
    """The head node cannot write its lease."""
    name, lasts_s = _site(world), world.chance.uniform(5, 30)
    file = world.sites[name].lease_file
    file.broken = True
    world.loop.call_later(lasts_s, setattr, file, "broken", False)
    _note(world, f"{name} cannot keep its lease for {lasts_s:.1f} s")


# Each as often as it is named.
KINDS: tuple[Callable[["World"], None], ...] = (
    *(stall, stall, cut, cut, lopsided, lopsided),
    *(scheduler_dies, agent_dies, ray_dies, reboot, disk_full, harsh, lease_not_kept),
)
