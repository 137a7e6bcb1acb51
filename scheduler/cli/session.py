"""A client from the settings, and jobs by what people call them."""

import getpass
import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

from scheduler.cli.render import common
from scheduler.client import AsyncClient, Client, ConflictError, NotFoundError, settings
from scheduler.client.problems import shown
from westward.v1 import job_pb2

# An abbreviated id is looked for among this many of the newest jobs.
_LOOKED_THROUGH = 5000
_SHOWN_MATCHES = 5


def connect() -> Client:
    """The client that the settings describe."""
    chosen = settings.load()
    token = chosen.token.get_secret_value() if chosen.token else None
    return Client(chosen.address, token=token, tls_ca=chosen.tls_ca, actor=_actor())


def _actor() -> str:
    """Who says so on this machine: people look for it, nothing rests on it."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        # A container's user may have no name.
        return f"{os.getuid()}@{socket.gethostname()}"


def connect_async() -> AsyncClient:
    """The asynchronous client that the settings describe; call it in a running event loop."""
    chosen = settings.load()
    token = chosen.token.get_secret_value() if chosen.token else None
    return AsyncClient(chosen.address, token=token, tls_ca=chosen.tls_ca)


class Target(NamedTuple):
    """A job, or an array under its own id; ``job`` is then its first chunk."""

    id: str
    job: job_pb2.Job

    @property
    def is_array(self) -> bool:
        return self.id != self.job.id


def find(client: Client, called: str) -> job_pb2.Job:
    """The job of an id, of a name that only one has, or of the unique beginning of an id.

    Raises:
        NotFoundError: there is none.
        ConflictError: there are several, or it is an array; the message lists what there is.
    """
    found = target(client, called)
    if found.is_array:
        raise ConflictError(
            f"{found.id} is an array; name one of its chunks, see `westward jobs --array {called}`",
            code="FAILED_PRECONDITION",
        )
    return found.job


def target(client: Client, called: str) -> Target:
    """As ``find``, where an array will do as well.

    Raises:
        NotFoundError: there is none.
        ConflictError: there are several; the message lists them.
    """
    if not called:
        raise NotFoundError("no job is called ''; see `westward jobs`", code="NOT_FOUND")
    try:
        return Target(called, client.get(called).job)
    except NotFoundError:
        pass
    named = (job for job in client.jobs(name_prefix=called) if job.spec.name == called)
    # Newest first, so that the first chunk of an array is what stays.
    found = {job.array_id or job.id: job for job in named} or _beginning_with(client, called)
    if not found:
        raise NotFoundError(
            f"no job has the id or name {shown(called)}; see `westward jobs`", code="NOT_FOUND"
        )
    if len(found) > 1:
        raise ConflictError(_several(called, found), code="FAILED_PRECONDITION")
    [(called_id, job)] = found.items()
    return Target(called_id, job)


def array(client: Client, called: str) -> str:
    """The id of an array, or of that which a chunk belongs to.

    Raises:
        NotFoundError: there is none.
        ConflictError: there are several, or it is no array; the message lists what there is.
    """
    found = target(client, called)
    if not found.job.array_id:
        raise ConflictError(f"job {found.id} is no array", code="FAILED_PRECONDITION")
    return found.job.array_id


def _beginning_with(client: Client, beginning: str) -> dict[str, job_pb2.Job]:
    found = {}
    for job, _ in zip(client.jobs(), range(_LOOKED_THROUGH), strict=False):
        for one in (job.id, job.array_id):
            if one.startswith(beginning):
                found[one] = job
    return found


def _several(called: str, found: Mapping[str, job_pb2.Job]) -> str:
    lines = [f"{called!r} is the name or beginning of {len(found)} jobs; give more of an id:"]
    lines += [
        f"  {one}  {common.clean(job.spec.name)}  "
        f"{common.state_word(job_pb2.JobState.Name(job.state))}  {common.when(job.created_at)}"
        for one, job in list(found.items())[:_SHOWN_MATCHES]
    ]
    if len(found) > _SHOWN_MATCHES:
        lines.append("  …")
    return "\n".join(lines)
