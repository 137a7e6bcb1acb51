"""Keeps a Ray driver, and all that it starts, within the placement group reserved for its attempt.

It runs in the user's processes and with the user's packages, so it imports nothing of ours. What
Ray (2.60) offers, that children of a captured task are captured, begins below the driver only. So
this replaces what decides where a task or an actor goes, in the driver and in Ray's workers:

- a task or actor without a scheduling strategy goes into the group, and so do its children;
- ``DEFAULT``, ``SPREAD`` and labels mean anywhere in the group, a node means a bundle on that node;
- a placement group that the driver asks for is a part of the reserved one;
- what would go elsewhere raises ValueError. What takes no resources may go where it likes;
- what runs on any node ends when Ray's head is gone.
"""

import functools
import importlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil
import ray
import ray.cloudpickle
from ray._private import worker as ray_worker
from ray.util.placement_group import PlacementGroup, placement_group_table
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

GROUP_VARIABLE = "WESTWARD_PLACEMENT_GROUP"
ATTEMPT_VARIABLE = "WESTWARD_ATTEMPT_ID"
HOOK = "worker_process_setup_hook"
# A GCS that refuses connections this often, once a second, is gone and so is the cluster.
GCS_MISSES_MAX = 3
CONNECT_TIMEOUT_S = 1.0
Bundle = Mapping[str, float]


class Capture:
    """Where tasks and actors of this process may go: ``group``."""

    def __init__(self, group: PlacementGroup) -> None:
        self.group = group
        self._node_ids: dict[int, str] | None = None

    def place(self, options: dict[str, Any]) -> None:
        """Turns the scheduling strategy of a task or an actor into one within the group."""
        strategy = options.get("scheduling_strategy")
        if isinstance(strategy, PlacementGroupSchedulingStrategy):
            asked = strategy.placement_group
            index = strategy.placement_group_bundle_index
            if asked == self.group and index >= 0:
                options["scheduling_strategy"] = self._at(self._index(asked.bundle_specs, index))
        elif strategy is None or _takes_nothing(options):
            return
        elif isinstance(strategy, NodeAffinitySchedulingStrategy):
            options["scheduling_strategy"] = self._at(self._bundle_on(strategy))
        else:
            options["scheduling_strategy"] = None

    def part(self, bundles: Sequence[Bundle]) -> PlacementGroup:
        """What a driver gets that asks for a placement group: the reserved one, seen as its own
        bundles. Parts may overlap; Ray never gives more than there is in the group.

        Raises:
            ValueError: it does not fit into what is reserved.
        """
        if pack(bundles, self.group.bundle_specs) is None:
            raise ValueError(
                f"a placement group of {list(bundles)} does not fit into what is reserved for this"
                f" job, {self.group.bundle_specs}; ask for more `workers` or more `per_worker`"
            )
        return PlacementGroup(self.group.id, [dict(bundle) for bundle in bundles])

    def check(self, asked: Any, name: str) -> None:
        """Raises ValueError for a task or actor in a group that is not ours."""
        if isinstance(asked, PlacementGroup) and not asked.is_empty and asked != self.group:
            raise ValueError(
                f"{name} names placement group {asked.id.hex()}, which is not reserved for this"
                " job; leave its scheduling strategy out, or make the group in this job"
            )

    def _index(self, bundles: Sequence[Bundle], index: int) -> int:
        places = pack(bundles, self.group.bundle_specs)
        if places is None or index >= len(places):
            raise ValueError(f"bundle {index} is not one of {list(bundles)}")
        # Many small groups, as of Ray Tune, would all fall on the first bundle.
        return -1 if len(bundles) == 1 else places[index]

    def _at(self, index: int) -> PlacementGroupSchedulingStrategy:
        return PlacementGroupSchedulingStrategy(
            self.group,
            placement_group_bundle_index=index,
            placement_group_capture_child_tasks=True,
        )

    def _bundle_on(self, strategy: NodeAffinitySchedulingStrategy) -> int:
        if self._node_ids is None:
            self._node_ids = dict(placement_group_table(self.group)["bundles_to_node_id"])
        for index, node_id in self._node_ids.items():
            if node_id == strategy.node_id:
                return int(index)
        if strategy.soft:
            return -1
        raise ValueError(
            f"Ray node {strategy.node_id} is not reserved for this job, which has"
            f" {sorted(set(self._node_ids.values()))}; leave the node affinity out"
        )


def pack(bundles: Sequence[Bundle], reserved: Sequence[Bundle]) -> list[int] | None:
    """The reserved bundle that each bundle goes into: its own number if it fits there, or else the
    first with room. None if they do not fit."""
    room = [dict(bundle) for bundle in reserved]
    places = []
    for number, bundle in enumerate(bundles):
        order = sorted(range(len(room)), key=lambda index: (index != number, index))
        fits = (
            index
            for index in order
            if all(room[index].get(name, 0) >= amount for name, amount in bundle.items())
        )
        place = next(fits, None)
        if place is None:
            return None
        for name, amount in bundle.items():
            room[place][name] = room[place].get(name, 0) - amount
        places.append(place)
    return places


def _takes_nothing(options: Mapping[str, Any]) -> bool:
    amounts = ("num_gpus", "memory", "resources", "accelerator_type")
    return options.get("num_cpus") == 0 and not any(options.get(name) for name in amounts)


def install() -> None:
    """Captures a driver. Ray has just been imported.

    Raises:
        AttributeError: this Ray is not one that it knows.
    """
    _capture_process()
    _capture_workers()


def _capture_process() -> None:
    group_id = ray.PlacementGroupID(bytes.fromhex(os.environ[GROUP_VARIABLE]))
    capture = Capture(PlacementGroup(group_id))
    _capture_placing(capture)
    _capture_groups(capture)
    _replace(ray.init, _guarded(ray.init))
    # What Ray and its libraries ask to know whether they are in a group.
    worker_class: Any = ray_worker.Worker
    worker_class.placement_group_id = property(lambda _: capture.group.id)
    worker_class.should_capture_child_tasks_in_placement_group = property(lambda _: True)


def _capture_placing(capture: Capture) -> None:
    for kind in (ray.remote_function.RemoteFunction, ray.actor.ActorClass):
        setattr(kind, "_remote", _placed(kind._remote, capture))  # noqa: B010 - mypy forbids it
    # ``ray.util.placement_group`` is a function, which hides the module of that name.
    groups: Any = sys.modules["ray.util.placement_group"]
    configure = groups._configure_placement_group_based_on_context

    @functools.wraps(configure)
    def within(_capture: bool, *values: Any, placement_group: Any = "default") -> Any:
        capture.check(placement_group, values[-1])
        return configure(True, *values, placement_group=capture.group)

    _replace(configure, within)


def _placed(remote: Callable[..., Any], capture: Capture) -> Callable[..., Any]:
    @functools.wraps(remote)
    def place_and_call(self: Any, *args: Any, **options: Any) -> Any:
        capture.place(options)
        return remote(self, *args, **options)

    return place_and_call


def _capture_groups(capture: Capture) -> None:
    make = ray.util.placement_group
    remove = ray.util.remove_placement_group

    @functools.wraps(make)
    def part(bundles: Sequence[Bundle], *_args: Any, **_options: Any) -> PlacementGroup:
        return capture.part(bundles)

    @functools.wraps(remove)
    def keep(placement_group: PlacementGroup) -> None:
        if placement_group != capture.group:
            remove(placement_group)

    _replace(make, part)
    _replace(remove, keep)


def _capture_workers() -> None:
    """Has every Ray worker of this driver captured before it runs anything."""
    module: Any = ray_worker
    modify = module._maybe_modify_runtime_env

    @functools.wraps(modify)
    def with_hook(runtime_env: Any, skip_env_hook: bool) -> Any:
        changed = modify(runtime_env, skip_env_hook) or {}
        changed[HOOK] = _entering(changed.get(HOOK))
        return changed

    module._maybe_modify_runtime_env = with_hook
    # Workers may lack this module: they get it as a value.
    pickling: Any = ray.cloudpickle
    pickling.register_pickle_by_value(sys.modules[__name__])


def _entering(users_hook: Any) -> Callable[[], None]:
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - a string is wanted

    def enter() -> None:
        _capture_process()
        watch = functools.partial(_watch_gcs, ray.get_runtime_context().gcs_address)
        threading.Thread(target=watch, name="westward-gcs", daemon=True).start()
        # For the Python processes that a task may start.
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        if isinstance(users_hook, str):
            module, _, name = users_hook.rpartition(".")
            getattr(importlib.import_module(module), name)()
        elif users_hook is not None:
            users_hook()

    return enter


def _watch_gcs(address: str) -> None:
    """Ends the attempt on this node when the cluster's GCS is gone. Ray itself takes up to a minute
    to do so, in which the attempt may long run elsewhere."""
    host, port = address.rsplit(":", 1)
    misses = 0
    while misses < GCS_MISSES_MAX:
        try:
            with socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S) as connection:
                misses = 0
                _await_end(connection)
        except OSError:
            misses += 1
        time.sleep(1.0)  # a thread of its own; a port that listens again tells nobody
    for process in psutil.process_iter():
        # Gone, or another user's, which cannot be ours.
        with suppress(psutil.Error):
            ours = process.environ().get(ATTEMPT_VARIABLE) == os.environ[ATTEMPT_VARIABLE]
            if ours and process.pid != os.getpid():
                process.kill()
    os._exit(1)


def _await_end(connection: socket.socket) -> None:
    """Returns when the other side is gone, within about 5 s if its host is."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    with suppress(OSError):
        while connection.recv(4096):
            continue


def _guarded(init: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(init)
    def guarded(address: str | None = None, *args: Any, **options: Any) -> Any:
        if address not in (None, "auto", os.environ.get("RAY_ADDRESS")):
            raise ValueError(
                f"ray.init(address={address!r}) leads out of what is reserved for this job;"
                " leave the address out"
            )
        return init(address, *args, **options)

    return guarded


def _replace(original: Any, replacement: Any) -> None:
    """Puts a function in the place of one of Ray's, under every name that Ray knows it by."""
    for name, module in list(sys.modules.items()):
        if name == "ray" or name.startswith("ray."):
            for attribute, value in list(vars(module).items()):
                if value is original:
                    setattr(module, attribute, replacement)
