"""Runs a Ray driver on a leash: ``python -m agents.executor.driver_leash``.

What Ray's Jobs API starts is this. It asks the site actor whether the attempt may still run, as a
submission may arrive long after it was given up, and the site actor says yes only once. Then it
runs the user's entrypoint, and ends all of it on this host when the leash breaks.
"""

import functools
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from agents.executor import processes, wire

CONNECT_TIMEOUT_S = 10.0
PATH = Path(__file__).parent / "driver"
# How a shell tells that what it ran was ended by a signal.
SHELL_SIGNALS = 128


def command(host: str, port: int, attempt_id: str, secret: str, entrypoint: str) -> str:
    """What the Jobs API is given to run. Every node has the Python of this one."""
    words = (sys.executable, "-I", "-m", __name__, host, str(port), attempt_id, secret, entrypoint)
    return "exec " + shlex.join(words)


def exit_code_of(status: int) -> int:
    """What a shell exited with; negative if a signal has ended what it ran."""
    by_signal = status - SHELL_SIGNALS in set(signal.Signals)
    return SHELL_SIGNALS - status if by_signal else status


def main(host: str, port: str, attempt_id: str, secret: str, entrypoint: str) -> int:
    """Runs the entrypoint and exits as it does."""
    # Whoever ends this job signals its whole tree; the driver decides when that is over.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S) as leash:
        wire.keep_alive(leash)
        leash.sendall(wire.encode({"kind": "driver", "attempt_id": attempt_id, "secret": secret}))
        if wire.read_blocking(leash) is None:
            print("this attempt may no longer run; nothing was started", file=sys.stderr)
            return 1
        leash.settimeout(None)
        driver = _start(entrypoint)
        if not _supervise(driver, leash):
            processes.end(attempt_id)
        exit_code = exit_code_of(driver.wait())
        # Nobody hears it when the leash broke.
        with suppress(OSError):
            leash.sendall(wire.encode({"kind": "ended", "exit_code": exit_code}))
    return SHELL_SIGNALS - exit_code if exit_code < 0 else exit_code


def _start(entrypoint: str) -> subprocess.Popen[bytes]:
    paths = [str(PATH), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603 - running the user's entrypoint is the purpose
        ("/bin/sh", "-c", entrypoint),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        # As for the workers of a gang: the kernel ends the driver when this process dies.
        preexec_fn=functools.partial(  # noqa: PLW1509 - one system call, in a process of one thread
            processes.die_with_parent, os.getpid()
        ),
    )


def _supervise(driver: subprocess.Popen[bytes], leash: socket.socket) -> bool:
    """Returns when the driver has ended, or False when the leash broke."""
    poller = select.poll()
    exit_fd = os.pidfd_open(driver.pid)
    poller.register(exit_fd, select.POLLIN)
    poller.register(leash, select.POLLIN)
    try:
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if exit_fd in ready:
                return True
            if wire.read_blocking(leash) is None:
                return False
            _terminate(driver.pid)
    finally:
        os.close(exit_fd)


def _terminate(pid: int) -> None:
    """SIGTERM to the driver and what it has started; Ray's workers are not among them, and the
    driver may need them to save its work."""
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        if process := processes.read(member.pid):
            processes.send(process, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
