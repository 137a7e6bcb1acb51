"""What a shell completes from the scheduler: jobs, clusters and nodes by their names.

Whoever presses Tab waits: a scheduler that does not answer at once completes nothing, and says
nothing, for a shell would show it in the middle of what is being typed.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Annotated, TypeVar

import typer

from scheduler.cli import session
from scheduler.client import Client, requests

TIMEOUT_S = 1.0
JOBS_LOOKED_AT = 200
# A shell may put what it is offered on the command line as it is, and tenants choose their names.
HARMLESS = re.compile(r"[\w@:+./-]+")
Answer = TypeVar("Answer")


def jobs(incomplete: str) -> list[str]:
    """Names and ids of the newest jobs; ids only where something is typed that begins so."""

    def names(client: Client) -> Iterator[str]:
        page = _quick(client, requests.list_page(page_size=JOBS_LOOKED_AT)).jobs
        yield from (job.spec.name for job in page)
        if incomplete:
            yield from (one for job in page for one in (job.id, job.array_id))

    return _beginning(incomplete, names)


def clusters(incomplete: str) -> list[str]:
    """Names of clusters."""
    return _beginning(
        incomplete, lambda client: (c.name for c in _quick(client, requests.clusters()).clusters)
    )


def nodes(incomplete: str) -> list[str]:
    """Ids of hosts."""
    return _beginning(incomplete, lambda c: (n.id for n in _quick(c, requests.nodes()).nodes))


JobArgument = Annotated[
    str,
    typer.Argument(metavar="JOB", help="Its id, name, or start of the id.", autocompletion=jobs),
]
NodeArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE", help="Its id, as `westward nodes` has it.", autocompletion=nodes
    ),
]
ClusterOption = Annotated[str, typer.Option(help="Only on this cluster.", autocompletion=clusters)]


def _quick(client: Client, call: requests.Call[Answer]) -> Answer:
    return client.call(replace(call, timeout_s=TIMEOUT_S))


def _beginning(incomplete: str, ask: Callable[[Client], Iterable[str]]) -> list[str]:
    try:
        with session.connect() as client:
            harmless = filter(HARMLESS.fullmatch, ask(client))
            fitting = (name for name in harmless if name.startswith(incomplete))
            return list(islice(dict.fromkeys(fitting), JOBS_LOOKED_AT))
    except Exception:
        # Whatever is wrong, from settings to the scheduler, is told by the command itself.
        return []
