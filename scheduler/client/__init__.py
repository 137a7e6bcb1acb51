"""The Python client library: typed, synchronous and asynchronous.

from pathlib import Path
from scheduler.client import Client, jobfile

with Client("127.0.0.1:7443") as client:
    for document in jobfile.load(Path("train.yaml")):
        job = client.submit(client.prepare(document)).job
        for change in client.watch([job.id], until_final=True):
            print(change.job.state, change.job.reason.message)
"""

from scheduler.client.aio import AsyncClient
from scheduler.client.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
    SchedulerError,
    UnreachableError,
    Violation,
    WestwardError,
)
from scheduler.client.problems import JobFileError
from scheduler.client.sync import Client
from scheduler.client.workdir import WorkingDirError

__all__ = [
    "AsyncClient",
    "Client",
    "ConflictError",
    "InvalidRequestError",
    "JobFileError",
    "NotFoundError",
    "RefusedError",
    "SchedulerError",
    "UnreachableError",
    "Violation",
    "WestwardError",
    "WorkingDirError",
]
