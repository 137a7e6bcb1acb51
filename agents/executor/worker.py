"""The Ray task that runs one worker of an attempt, on a leash held by the site actor.

The leash is a TCP connection. Orders come over it (go, stop), news go back (ready, running, ended),
and when it breaks the worker ends its process at once: so no process outlives the site actor by
more than the few seconds in which the kernel notices a silent host, on whatever node it runs.
"""

import os
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import ray

from agents.executor import processes, wire
from agents.executor.launch import (
    Ending,
    LaunchError,
    ending_of,
    environment,
    finish,
    held,
    launch,
    prepare,
)
from agents.executor.sick import refusal
from agents.executor.task_loop import run_tasks
from agents.executor.wire import Order
from scheduler.domain.reason import ReasonCode

CONNECT_TIMEOUT_S = 10.0
# How often processes that outlived their leader's SIGTERM are looked for.
STRAGGLER_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class LeashAddress:
    """Where the site actor listens, and the secret that it knows its workers by."""

    host: str
    port: int
    secret: str


class Leash:
    """The worker's end of the leash."""

    def __init__(self, address: LeashAddress) -> None:
        self.connection = socket.create_connection(
            (address.host, address.port), timeout=CONNECT_TIMEOUT_S
        )
        self.connection.settimeout(None)
        wire.keep_alive(self.connection)

    def tell(self, message: wire.Message) -> None:
        """Sends news. A broken leash is noticed by ``hear``."""
        try:
            self.connection.sendall(wire.encode(message))
        except OSError:
            return

    def hear(self) -> wire.Message | None:
        """Waits for the next order; None when the leash is broken."""
        return wire.read_blocking(self.connection)


def free_port(host: str) -> int:
    """A TCP port that is free now on this host."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@ray.remote(max_retries=0, max_calls=0)
def run_worker(order: Order, rank: int, leash_at: LeashAddress, working_dir: bytes | None) -> None:
    """Runs worker ``rank`` to its end and tells the site actor all about it.

    ``max_calls=0`` keeps Ray from throwing a GPU worker process away after each task, which would
    make the next start a hundred times slower; the user's memory goes with the user's process.
    """
    host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    leash = Leash(leash_at)
    folder = order.folder(order.nodes[rank])
    with leash.connection, held(folder, rank):
        hello = {"attempt_id": order.attempt_id, "rank": rank, "secret": leash_at.secret}
        try:
            _refuse_sick(order, rank, folder)
            prepare(folder, rank, working_dir)
            leash.tell({"kind": "ready", **hello, "host": host, "port": free_port(host)})
            ending = _run(order, rank, leash, folder)
        except LaunchError as error:
            # The first message of a leash says whose it is, even if it is also the last.
            leash.tell({"kind": "ready", **hello, "host": host, "port": 0})
            ending = error.ending
        # A full disk does not change how it ended; the node's agent closes the files later.
        with suppress(OSError):
            finish(folder, rank, ending)
        leash.tell({"kind": "ended", **asdict(ending)})


def _refuse_sick(order: Order, rank: int, folder: Path) -> None:
    """Raises LaunchError."""
    where = f"worker {rank} on {order.nodes[rank]}"
    if order.gpus and (why := refusal(folder.parent.parent, where)) is not None:
        raise LaunchError(why.code, why.message)


def _run(order: Order, rank: int, leash: Leash, folder: Path) -> Ending:
    go = leash.hear()
    if go is None or go["kind"] != "go":
        return Ending(ReasonCode.STOPPED, "stopped before it ran", ended_at_s=time.time())
    env = environment(
        order, rank, base=os.environ, master_host=go["master_host"], master_port=go["master_port"]
    )
    if order.argv is None:
        raise TypeError(f"attempt {order.attempt_id} has no command; it is no work for a worker")
    if order.tasks:
        return run_tasks(order, rank, leash.connection, env)
    process = launch(order.argv, folder, rank, env)
    started_at_s = time.time()
    leash.tell({"kind": "running", "started_at_s": started_at_s})
    try:
        told_to_stop = _supervise(order.attempt_id, rank, process, leash)
    finally:
        processes.end(order.attempt_id, rank=rank)
        exit_code = process.wait()
    ending = ending_of(order, rank, exit_code, started_at_s=started_at_s)
    return replace(ending, told_to_stop=told_to_stop)


def _supervise(attempt_id: str, rank: int, process: subprocess.Popen[bytes], leash: Leash) -> bool:
    """Returns when the process ended, the leash broke, or a stop with its grace is over; and
    whether it was still running when it was told to stop."""
    poller = select.poll()
    exit_fd = os.pidfd_open(process.pid)
    poller.register(exit_fd, select.POLLIN)
    poller.register(leash.connection, select.POLLIN)
    stop_at: float | None = None
    try:
        while stop_at is None or time.monotonic() < stop_at:
            wait_s = None if stop_at is None else max(0.0, stop_at - time.monotonic())
            ready = {fd for fd, _ in poller.poll(None if wait_s is None else wait_s * 1000)}
            if exit_fd in ready and stop_at is None:
                return False
            if leash.connection.fileno() in ready:
                order = leash.hear()
                if order is None:
                    return stop_at is not None
                asked_at = time.monotonic() + order["grace_s"]
                stop_at = asked_at if stop_at is None else min(stop_at, asked_at)
                _terminate(attempt_id, rank)
            if exit_fd in ready and stop_at is not None:
                _await_stragglers(attempt_id, rank, stop_at, leash)
                return True
        return True
    finally:
        os.close(exit_fd)


def _terminate(attempt_id: str, rank: int) -> None:
    for process in processes.find(attempt_id, rank):
        processes.send(process, signal.SIGTERM)


def _await_stragglers(attempt_id: str, rank: int, until: float, leash: Leash) -> None:
    """Leaves the rest of the grace to processes that the leader started and left behind."""
    while time.monotonic() < until and processes.find(attempt_id, rank):
        readable, _, _ = select.select([leash.connection], [], [], STRAGGLER_POLL_S)
        if not readable:
            continue
        order = leash.hear()
        if order is None:
            return
        until = min(until, time.monotonic() + order["grace_s"])


@ray.remote(num_cpus=0, max_retries=0)
def clean_up(order: Order, rank: int, ending: Ending) -> int:
    """Ends what a lost worker left on its node and closes its files; returns how many processes
    could not be ended."""
    left = processes.end(order.attempt_id, rank=rank)
    finish(order.folder(order.nodes[rank]), rank, ending)
    return len(left)


@ray.remote(num_cpus=0, max_retries=0)
def end_processes(attempt_id: str) -> int:
    """Ends an attempt's processes on this node; returns how many could not be ended."""
    return len(processes.end(attempt_id))
