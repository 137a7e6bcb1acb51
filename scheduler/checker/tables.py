"""The nodes, what runs and what is planned, as columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.checker.view import Bools, Floats, Ints, View, amounts_of, has_of, summed
from scheduler.domain.fleet import NodeLifecycle
from scheduler.domain.job import GreenMatching, JobSpec
from scheduler.planner.plan import Placement
from scheduler.planner.snapshot import PendingJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The nodes, by their code. ``has`` are accelerators, cores and GB, (nodes, 3); the draws are
    of one accelerator and one core; ``site`` is -1 where the cluster is not known."""

    has: Floats
    gpu_kw: Floats
    cpu_kw: Floats
    pool: Ints
    site: Ints
    ready: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who is on which node: ``owner`` is a row of the table it belongs to, ``host`` the code of a
    node, -1 if it is not known."""

    owner: Ints
    host: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Running attempts: they hold what each worker needs, (attempts, 3), and draw ``kw`` of IT
    power, of which ``share`` is to be green, from slot 0 up to slot ``stop``. ``workers`` are those
    on known nodes; those on nodes of other sites draw nothing here, those on nodes that nobody has
    heard of as much as on the hungriest."""

    site: Ints
    stop: Ints
    needs: Floats
    kw: Floats
    share: Floats
    workers: Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Placements of pending jobs in pools that have ready nodes, at known sites.

    They run for ``length_s`` from ``start_s`` to ``end_s``, pauses aside, and touch the slots from
    ``first`` up to ``stop``. ``needs`` are accelerators, cores and GB of
    one worker, (runs, 3); ``kw`` is the IT power of all workers on the pool's hungriest node, of
    which ``share`` is to be green. ``given`` are the nodes of those that start now.
    """

    placements: Sequence[Placement]
    jobs: Sequence[PendingJob]
    site: Ints
    pool: Ints
    start_s: Floats
    end_s: Floats
    length_s: Floats
    first: Ints
    stop: Ints
    size: Ints
    needs: Floats
    kw: Floats
    share: Floats
    green_kwh: Floats
    given: Workers


def hosts_of(view: View) -> Hosts:
    nodes = view.nodes.values()
    return Hosts(
        has=_rows_of_3([has_of(node) for node in nodes]),
        gpu_kw=np.array([node.gpu_power_kw for node in nodes], dtype=float),
        cpu_kw=np.array([node.cpu_power_kw for node in nodes], dtype=float),
        pool=_codes(view.pool_codes[node.cluster, node.accelerator] for node in nodes),
        site=_codes(view.site_codes.get(node.cluster, -1) for node in nodes),
        ready=np.array([node.lifecycle is NodeLifecycle.READY for node in nodes], dtype=bool),
    )


def held_of(view: View, hosts: Hosts) -> Held:
    running = view.snapshot.running
    ends_s = view.seconds(attempt.expected_end_at for attempt in running)
    _, stop = view.touched(np.full(len(running), view.now_s), ends_s)
    site = _codes(view.site_codes.get(attempt.cluster, -1) for attempt in running)
    needs = _needs([attempt.spec for attempt in running])
    named = _workers(view, [attempt.nodes for attempt in running])
    known = named.host >= 0
    owner, host = named.owner[known], named.host[known]
    here = hosts.site[host] == site[owner]
    gpus_kw = needs[owner, 0] * hosts.gpu_kw[host]
    kw = np.where(gpus_kw != 0, gpus_kw, needs[owner, 1] * hosts.cpu_kw[host])
    unseen = named.owner[~known]
    unseen_kw = [view.unseen_kw(running[one]) for one in unseen.tolist()]
    drawn_kw = summed(owner[here], kw[here], len(running))
    drawn_kw += summed(unseen, np.array(unseen_kw, dtype=float), len(running))
    return Held(
        site=site,
        stop=stop,
        needs=needs,
        kw=drawn_kw,
        share=_shares([attempt.spec for attempt in running]),
        workers=Workers(owner=owner, host=host),
    )


def runs_of(view: View, placements: Sequence[Placement]) -> Runs:
    jobs = [view.jobs[placement.job_id] for placement in placements]
    specs = [job.spec for job in jobs]
    start_s = view.seconds(placement.start_at for placement in placements)
    end_s = view.seconds(placement.end_at for placement in placements)
    paused_s = [sum(pause.seconds for pause in placement.pauses) for placement in placements]
    first, stop = view.touched(start_s, end_s)
    pool = _codes(view.pool_codes[p.cluster, p.accelerator] for p in placements)
    size, needs = np.array([spec.workers for spec in specs], dtype=np.int64), _needs(specs)
    gpu_kw = np.array([own.gpu_kw for own in view.pools.values()], dtype=float)[pool]
    cpu_kw = np.array([own.cpu_kw for own in view.pools.values()], dtype=float)[pool]
    gpus = size * needs[:, 0]
    return Runs(
        placements=placements,
        jobs=jobs,
        site=_codes(view.site_codes[placement.cluster] for placement in placements),
        pool=pool,
        start_s=start_s,
        end_s=end_s,
        length_s=end_s - start_s - np.array(paused_s, dtype=float),
        first=first,
        stop=stop,
        size=size,
        needs=needs,
        kw=np.where(gpus != 0, gpus * gpu_kw, size * needs[:, 1] * cpu_kw),
        share=_shares(specs),
        green_kwh=np.array([placement.green_kwh for placement in placements], dtype=float),
        given=_workers(view, [placement.nodes for placement in placements]),
    )


def _codes(codes: Iterable[int]) -> Ints:
    return np.fromiter(codes, dtype=np.int64)


def _rows_of_3(rows: Sequence[tuple[float, float, float]]) -> Floats:
    columns = ([row[i] for row in rows] for i in range(3))
    return np.column_stack([np.array(column, dtype=float) for column in columns])


def _needs(specs: Sequence[JobSpec]) -> Floats:
    return _rows_of_3([amounts_of(spec) for spec in specs])


def _shares(specs: Sequence[JobSpec]) -> Floats:
    """Of every slot; those of runs as a whole are judged by ``by_run``."""
    return np.array(
        [
            0.0 if spec.green_matching is GreenMatching.RUN else spec.min_green_share or 0.0
            for spec in specs
        ],
        dtype=float,
    )


def _workers(view: View, named: Sequence[tuple[str, ...]]) -> Workers:
    codes = view.node_codes
    each = np.array([len(names) for names in named], dtype=np.int64)
    return Workers(
        owner=np.repeat(np.arange(len(named)), each),
        host=_codes(codes.get(name, -1) for names in named for name in names),
    )
