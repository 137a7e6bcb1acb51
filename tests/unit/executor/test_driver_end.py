"""What a Ray worker of a driver does when Ray's head dies, in a process of its own."""

import asyncio
import os
import socket
import sys

from agents.executor import driver_leash, processes
from tests.contract.executor_cases import eventually

ATTEMPT = f"head-dies-{os.getpid()}"
CODE = """
import subprocess, sys, threading
sys.path.insert(0, sys.argv[1])
import ray, westward_capture
# Not found as its descendant any more.
subprocess.run(["bash", "-c", "setsid sleep 600 &"])
westward_capture._watch_gcs(sys.argv[2])
"""


async def test_a_worker_and_what_it_started_end_with_the_gcs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gcs:
        gcs.settimeout(60.0)
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            CODE,
            str(driver_leash.PATH),
            f"127.0.0.1:{gcs.getsockname()[1]}",
            env={**os.environ, processes.ATTEMPT_VARIABLE: ATTEMPT},
        )
        connection, _ = await asyncio.to_thread(gcs.accept)
        await eventually(lambda: len(processes.find(ATTEMPT)) == 2)
    connection.close()
    async with asyncio.timeout(20.0):
        assert await worker.wait() == 1
    assert processes.find(ATTEMPT) == []
