"""Clusters, their pools of nodes, and their prices, green supply and links over time.

- Pools hold one of three accelerator models of 0.60, 0.75 and 0.50 kW (IT) each; node counts are
  Dirichlet(3). A node has 8 accelerators, 128 cores and 1 TB.
- Tariffs are of four kinds in turn, times 0.88 to 1.12 per cluster: cheap at night, cheap at noon
  (solar), cheap after midnight (wind), and flat (hydro). Hours are of China.
- The green share of a kind is a base with a bump at 13 h (solar) and one at 2 h (wind), and noise;
  the supply in kW is that share of what the cluster draws at 60 % load, PUE included.
- PUE 1.12 to 1.32, and 0.03 more in the afternoon, less before dawn. The power cap is 85 to 100 %
  of the draw at full load; a third of the clusters have 20 % less from 18 to 21 h.
- Round trips are 12 to 60 ms, data 0.002 to 0.02 yuan/GB; chosen freely: 0.05 to 0.2 Gbps of link
  to each origin per node, at least 5; grid carbon; the height and width of the bumps' noise.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from scheduler.domain.fleet import Link, Node, Region, Rtt, Site
from scheduler.domain.series import Series

Floats = npt.NDArray[np.float64]

REGIONS = ("beijing", "shanghai", "guangzhou", "shenzhen")
# Accelerator models with the IT power of one, in kW.
MODELS_KW = {"A800": 0.60, "H800": 0.75, "Ascend910B": 0.50}
NODE_GPUS, NODE_CPUS, NODE_MEMORY_GB = 8, 128.0, 1024.0
# Series go on after the horizon, for runs that do.
AFTER_S = 48 * 3600.0
CHINA_H = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A province's kind of tariff and of green supply. Bands are local hours, end exclusive."""

    province: str
    valley: tuple[tuple[int, int], ...]
    peak: tuple[tuple[int, int], ...]
    flat_yuan_per_kwh: float
    green_base: float
    green_solar: float
    green_wind: float
    grid_carbon_g_per_kwh: float


VALLEY_YUAN_PER_KWH, PEAK_YUAN_PER_KWH = 0.25, 0.60
KINDS = (
    Kind(
        province="Guizhou",
        valley=((23, 24), (0, 7)),
        peak=((8, 11), (17, 21)),
        flat_yuan_per_kwh=0.40,
        green_base=0.20,
        green_solar=0.25,
        green_wind=0.10,
        grid_carbon_g_per_kwh=550.0,
    ),
    Kind(
        province="Ningxia",
        valley=((10, 16),),
        peak=((6, 8), (18, 23)),
        flat_yuan_per_kwh=0.40,
        green_base=0.15,
        green_solar=0.70,
        green_wind=0.05,
        grid_carbon_g_per_kwh=640.0,
    ),
    Kind(
        province="Inner Mongolia",
        valley=((0, 8),),
        peak=((17, 22),),
        flat_yuan_per_kwh=0.40,
        green_base=0.25,
        green_solar=0.15,
        green_wind=0.45,
        grid_carbon_g_per_kwh=690.0,
    ),
    Kind(
        province="Sichuan",
        valley=(),
        peak=(),
        flat_yuan_per_kwh=0.38,
        green_base=0.65,
        green_solar=0.05,
        green_wind=0.05,
        grid_carbon_g_per_kwh=180.0,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Sites by cluster, the nodes of all, and the same by pool."""

    nodes: tuple[Node, ...]
    pools: tuple[tuple[Node, ...], ...]
    sites: dict[str, Site]
    regions: dict[str, Region]
    power_caps_kw: dict[str, Series]


def draw_fleet(
    rng: np.random.Generator,
    *,
    now_at: datetime,
    nodes: int,
    clusters: int,
    pools: int,
    horizon_s: float,
    slot_s: float,
) -> Fleet:
    """Draws all clusters.

    Args:
        pools: from ``clusters`` to twice as many: some clusters have two accelerator models.
    """
    names = [f"hub{c:02d}" for c in range(clusters)]
    counts = _node_counts(rng, nodes, pools)
    second = set(rng.permutation(clusters)[: pools - clusters].tolist())
    models, at = list(MODELS_KW), 0
    made: list[tuple[Node, ...]] = []
    steps = int((horizon_s + AFTER_S) // slot_s)
    time = Timeline(start_at=now_at, step_s=slot_s, steps=steps)
    sites, caps = {}, {}
    for c, name in enumerate(names):
        first = int(rng.integers(len(models)))
        own = [models[first]]
        if c in second:
            own.append(models[(first + int(rng.integers(1, len(models)))) % len(models)])
        here = [_pool(name, model, int(counts[at + i]), i == 0) for i, model in enumerate(own)]
        at += len(own)
        made += here
        full_kw = sum(node.gpus * node.gpu_power_kw for pool in here for node in pool)
        kind = KINDS[c % len(KINDS)]
        sites[name], caps[name] = _site(
            rng, name, kind, time, full_kw=full_kw, nodes=sum(map(len, here))
        )
    return Fleet(
        nodes=tuple(node for pool in made for node in pool),
        pools=tuple(made),
        sites=sites,
        regions={name: _region(name) for name in REGIONS},
        power_caps_kw=caps,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The steps of all series."""

    start_at: datetime
    step_s: float
    steps: int

    @property
    def local_h(self) -> Floats:
        """The hour of the day in China at the beginning of each step."""
        first = self.start_at + timedelta(hours=CHINA_H)
        first_h = first.hour + first.minute / 60
        return np.asarray((first_h + np.arange(self.steps) * self.step_s / 3600) % 24)

    def series(self, values: Floats, source: str) -> Series:
        return Series(self.start_at, self.step_s, tuple(values.tolist()), source)


def _node_counts(rng: np.random.Generator, nodes: int, pools: int) -> npt.NDArray[np.int64]:
    """Dirichlet(3), each pool with one node at least; the largest remainders make up the sum."""
    shares = rng.dirichlet(np.full(pools, 3.0)) * (nodes - pools)
    counts = np.floor(shares).astype(np.int64)
    short = nodes - pools - int(counts.sum())
    counts[np.argsort(counts - shares, kind="stable")[:short]] += 1
    return np.asarray(counts + 1)


def _pool(cluster: str, model: str, count: int, head: bool) -> tuple[Node, ...]:
    return tuple(
        Node(
            id=f"{cluster}-{model}-{n}",
            cluster=cluster,
            head=head and n == 0,
            accelerator=model,
            gpus=NODE_GPUS,
            cpus=NODE_CPUS,
            memory_gb=NODE_MEMORY_GB,
            gpu_power_kw=MODELS_KW[model],
            cpu_power_kw=0.005,
        )
        for n in range(count)
    )


def _site(
    rng: np.random.Generator, name: str, kind: Kind, time: Timeline, *, full_kw: float, nodes: int
) -> tuple[Site, Series]:
    """One cluster, and its power cap over time."""
    hour = time.local_h
    mean_pue = rng.uniform(1.15, 1.29)
    pue = mean_pue + 0.03 * np.sin((hour - 9) / 24 * 2 * np.pi)
    price = _tariff(kind, hour) * rng.uniform(0.88, 1.12)
    share = kind.green_base + kind.green_solar * _bump(hour, 13, 3)
    share += kind.green_wind * _bump(hour, 2, 4) + rng.normal(0.0, 0.05, time.steps)
    green_kw = np.clip(share, 0.0, 1.0) * 0.6 * full_kw * pue
    cap_kw = rng.uniform(0.85, 1.0) * full_kw * mean_pue
    lowered = rng.random() < 1 / 3
    caps_kw = np.where(lowered & (hour >= 18) & (hour < 21), 0.8 * cap_kw, cap_kw)
    rtt_ms = rng.uniform(12.0, 60.0, len(REGIONS))
    gbps = np.maximum(rng.uniform(0.05, 0.2, len(REGIONS)) * nodes, 5.0)
    yuan_per_gb = rng.uniform(0.002, 0.02, len(REGIONS))
    site = Site(
        cluster=name,
        province=kind.province,
        price_yuan_per_kwh=time.series(price, "synthetic tariff"),
        green_supply_kw=time.series(green_kw, "synthetic green supply"),
        pue=time.series(pue, "synthetic PUE"),
        grid_carbon_g_per_kwh=kind.grid_carbon_g_per_kwh,
        power_cap_kw=float(cap_kw),
        links=tuple(
            Link(region, float(gbps[r]), float(yuan_per_gb[r])) for r, region in enumerate(REGIONS)
        ),
        rtt={region: _rtt(region, float(rtt_ms[r])) for r, region in enumerate(REGIONS)},
    )
    return site, time.series(caps_kw, "synthetic power cap")


def _tariff(kind: Kind, hour: Floats) -> Floats:
    price = np.full(len(hour), kind.flat_yuan_per_kwh)
    for bands, yuan in ((kind.valley, VALLEY_YUAN_PER_KWH), (kind.peak, PEAK_YUAN_PER_KWH)):
        for low, high in bands:
            price[(hour >= low) & (hour < high)] = yuan
    return price


def _bump(hour: Floats, peak_h: float, width_h: float) -> Floats:
    """A bell of height 1 over the day, its standard deviation ``width_h``."""
    apart_h = (hour - peak_h + 12) % 24 - 12
    return np.asarray(np.exp(-0.5 * (apart_h / width_h) ** 2))


def _rtt(region: str, p95_ms: float) -> Rtt:
    return Rtt(region, 0.9 * p95_ms, p95_ms, 1.1 * p95_ms, 0.0, 100)


def _region(name: str) -> Region:
    return Region(
        name=name, gateway="", price_yuan_per_kwh=0.7, pue=1.5, grid_carbon_g_per_kwh=580.0
    )
