"""The world of a replay from a YAML file: clusters, prices, green supply, round trips, links."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agents.collectors.base import CollectorError, Span
from agents.collectors.tariff import TariffTable
from policies.latency import SAMPLES_MIN
from scheduler.client import yamltree
from scheduler.client.problems import JobFileError, Problem, did_you_mean, shown
from scheduler.domain.fleet import Link, Node, Region, Rtt, Site
from scheduler.domain.plausibility import SITE_RANGES
from scheduler.domain.series import Series, constant
from scheduler.replay import series_csv
from scheduler.replay.case import ReplayWorld
from scheduler.replay.traces.sacct import SacctOptions
from scheduler.replay.traces.trace import ReplayInputError
from scheduler.replay.world_keys import (
    BandKeys,
    ClusterKeys,
    FileKeys,
    GreenKeys,
    PoolKeys,
    PriceKeys,
    SlurmKeys,
    WorldKeys,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldFile:
    """What a file says: the world from ``start_at`` to ``end_at``, and how to read sacct's jobs."""

    world: ReplayWorld
    start_at: datetime
    end_at: datetime
    slurm: SacctOptions | None = None


def load(path: Path) -> WorldFile:
    """Reads a world file and the files it names.

    Raises:
        ReplayInputError: with file, line, key, value and fix of every problem.
    """
    document = _document(path)
    try:
        keys = WorldKeys.model_validate(document.value)
    except ValidationError as error:
        raise ReplayInputError(
            Problem(
                document.file,
                document.line_of(_path(item)),
                yamltree.dotted(_path(item)),
                _message(item),
            )
            for item in error.errors(include_url=False)
        ) from error
    problems = list(_contradictions(document, keys))
    if problems:
        raise ReplayInputError(problems)
    return _Builder(document, keys, path.parent).build()


def _document(path: Path) -> yamltree.Document:
    try:
        documents = yamltree.read(path)
    except JobFileError as error:
        raise ReplayInputError(error.problems) from error
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        text = f"holds {len(documents)} documents that are a world; write one mapping of keys"
        raise ReplayInputError([Problem(str(path), 1, "", text)])
    return documents[0]


def _contradictions(document: yamltree.Document, keys: WorldKeys) -> list[Problem]:
    """Names that nothing in the file has."""
    found = list[Problem]()

    def known(path: yamltree.Path_, name: str, names: list[str]) -> None:
        if name not in names:
            text = f"{shown(name)} is not in this file; {did_you_mean(name, names)}"
            line = document.line_of(path)
            found.append(Problem(document.file, line, yamltree.dotted(path), text))

    regions, places = list(keys.regions), [*keys.regions, *keys.clusters]
    for name, cluster in keys.clusters.items():
        for region in cluster.rtt_ms:
            known(("clusters", name, "rtt_ms", region), region, regions)
        for at, link in enumerate(cluster.links):
            known(("clusters", name, "links", at, "peer"), link.peer, places)
    if keys.slurm is not None:
        known(("slurm", "region"), keys.slurm.region, regions)
        for partition, region in keys.slurm.partitions.items():
            known(("slurm", "partitions", partition), region, regions)
    return found


class _Builder:
    """Turns keys into values; a file that a key names is told with that key's line."""

    def __init__(self, document: yamltree.Document, keys: WorldKeys, folder: Path) -> None:
        self._document = document
        self._keys = keys
        self._folder = folder
        self._start_at = keys.start_at.astimezone(UTC)
        self._end_at = self._start_at + timedelta(days=keys.days)
        steps = max(1, -int(-keys.days * 86400 // keys.step_s))
        self._times = [self._start_at + timedelta(seconds=i * keys.step_s) for i in range(steps)]

    def build(self) -> WorldFile:
        keys = self._keys
        clusters = keys.clusters.items()
        world = ReplayWorld(
            nodes=tuple(node for name, cluster in clusters for node in _nodes(name, cluster.pools)),
            sites={name: self._site(name, cluster) for name, cluster in clusters},
            regions={
                name: Region(
                    name=name,
                    gateway="",
                    price_yuan_per_kwh=region.price_yuan_per_kwh,
                    pue=region.pue,
                    grid_carbon_g_per_kwh=region.grid_carbon_g_per_kwh,
                    label=region.label,
                )
                for name, region in keys.regions.items()
            },
        )
        return WorldFile(
            world=world,
            start_at=self._start_at,
            end_at=self._end_at,
            slurm=_sacct_options(keys.slurm) if keys.slurm else None,
        )

    def _site(self, name: str, keys: ClusterKeys) -> Site:
        return Site(
            cluster=name,
            province=keys.province,
            price_yuan_per_kwh=self._price(("clusters", name, "price"), keys.price),
            green_supply_kw=self._green(("clusters", name, "green"), keys.green),
            pue=constant(keys.pue, self._start_at),
            grid_carbon_g_per_kwh=keys.grid_carbon_g_per_kwh,
            power_cap_kw=keys.power_cap_kw,
            links=tuple(
                Link(link.peer, link.bandwidth_gbps, link.transfer_yuan_per_gb)
                for link in keys.links
            ),
            rtt={
                # Given, not measured: as good as the fewest samples that are believed.
                region: Rtt(region, ms, ms, ms, loss=0.0, samples=SAMPLES_MIN)
                for region, ms in keys.rtt_ms.items()
            },
        )

    def _price(self, at: yamltree.Path_, keys: PriceKeys) -> Series:
        if keys.file is not None:
            return self._from_file((*at, "file"), keys.file, "price_yuan_per_kwh")
        if keys.bands is not None:
            return self._from_bands((*at, "bands"), keys.bands)
        assert keys.yuan_per_kwh is not None
        return constant(keys.yuan_per_kwh, self._start_at)

    def _green(self, at: yamltree.Path_, keys: GreenKeys) -> Series:
        if keys.file is not None:
            return self._from_file((*at, "file"), keys.file, "green_supply_kw")
        assert keys.kw is not None
        return constant(keys.kw, self._start_at)

    def _from_bands(self, at: yamltree.Path_, keys: BandKeys) -> Series:
        table = TariffTable(
            self._folder / keys.table,
            province=keys.province,
            flat_yuan_per_kwh=keys.flat_yuan_per_kwh,
            time_zone=keys.time_zone,
        )
        span = Span(self._start_at, self._keys.step_s, self._keys.days * 86400)
        return self._told(at, lambda: table.read(span))

    def _from_file(self, at: yamltree.Path_, keys: FileKeys, quantity: str) -> Series:
        found = keys.model_copy(update={"path": self._folder / keys.path})
        values = self._told(at, lambda: series_csv.sample(found, self._times))
        for when, value in zip(self._times, values, strict=True):
            objection = SITE_RANGES[quantity].objection(value)
            if objection:
                text = f"{value:g} at {when.isoformat()} is {objection}; mend the file or `times`"
                raise ReplayInputError([self._problem(at, text)])
        return Series(self._start_at, self._keys.step_s, tuple(values), f"file {keys.path.name}")

    def _told(self, at: yamltree.Path_, read: Callable[[], T]) -> T:
        """What a file holds, or where in the world it is named if that cannot be had."""
        try:
            return read()
        except CollectorError as error:
            raise ReplayInputError([self._problem(at, str(error))]) from error
        except JobFileError as error:
            raise ReplayInputError(
                [self._problem(at, "cannot be used:"), *error.problems]
            ) from error

    def _problem(self, at: yamltree.Path_, text: str) -> Problem:
        line = self._document.line_of(at)
        return Problem(self._document.file, line, yamltree.dotted(at), text)


def _nodes(cluster: str, pools: tuple[PoolKeys, ...]) -> list[Node]:
    return [
        Node(
            id=f"{cluster}-{at}-{number}",
            cluster=cluster,
            head=at == 0 and number == 0,
            accelerator=pool.model,
            gpus=pool.gpus,
            cpus=pool.cpus,
            memory_gb=pool.memory_gb,
            gpu_power_kw=pool.gpu_power_kw,
            cpu_power_kw=pool.cpu_power_kw,
        )
        for at, pool in enumerate(pools)
        for number in range(pool.nodes)
    ]


def _sacct_options(keys: SlurmKeys) -> SacctOptions:
    return SacctOptions(
        region=keys.region,
        time_zone=ZoneInfo(keys.time_zone),
        partitions=keys.partitions,
        gres=keys.models(),
        max_delay_s=keys.max_delay_s,
        interruptible=keys.interruptible,
    )


def _path(item: ErrorDetails) -> yamltree.Path_:
    """Where it stands; pydantic marks a faulty name of a mapping by ``[key]``."""
    return tuple(part for part in item["loc"] if part != "[key]")


def _message(item: ErrorDetails) -> str:
    path, value = _path(item), item["input"]
    if item["type"] == "extra_forbidden":
        model = _model_at(path[:-1])
        return f"unknown key; {did_you_mean(str(path[-1]), model.model_fields if model else ())}"
    if item["type"] == "missing":
        return "is missing; add it"
    if item["type"] == "value_error":
        return item["msg"].removeprefix("Value error, ")
    return f"{shown(value)}: {item['msg'].removeprefix('Input ')}"


def _model_at(path: yamltree.Path_) -> type[BaseModel] | None:
    """The section at a path; names of a mapping and places of a list lead to what they hold."""
    model: type[BaseModel] = WorldKeys
    for part in path:
        info = model.model_fields.get(str(part))
        if info is None:
            continue
        inner = [
            kind
            for kind in (info.annotation, *get_args(info.annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if not inner:
            return None
        model = inner[0]
    return model
