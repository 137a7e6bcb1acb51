"""The demo's map: three western hubs, three eastern cities, and how far they are apart."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent

# A minute of the power clock passes in a second, so that an hour's prices fit in a minute.
SPEEDUP = 60
# A Thursday morning in Gansu, a quarter of an hour before the cheap midday hours.
STARTS_AT = datetime.fromisoformat("2026-06-18T10:45:00+08:00")


@dataclass(frozen=True)
class Host:
    """A GPU host; on this machine its accelerators are names, its processes are real."""

    node_id: str
    gpus: int
    cpus: int = 16
    memory_gb: int = 32


@dataclass(frozen=True)
class Hub:
    """A western hub. Prices to the door in yuan/kWh, carbon in g/kWh."""

    name: str
    province: str
    hosts: tuple[Host, ...]
    accelerator: str
    gpu_power_kw: float
    flat_yuan_per_kwh: float
    pue: float
    grid_carbon_g_per_kwh: float
    power_cap_kw: float
    dashboard: bool = False


@dataclass(frozen=True)
class City:
    """An eastern origin, what energy costs there, and the round trip to each hub in ms."""

    name: str
    label: str
    price_yuan_per_kwh: float
    grid_carbon_g_per_kwh: float
    rtt_ms: dict[str, float]


HUBS = (
    Hub(
        name="qingyang",
        province="Gansu",
        hosts=(Host("qy-1", 8), Host("qy-2", 8)),
        accelerator="A800",
        gpu_power_kw=0.60,
        flat_yuan_per_kwh=0.398,
        pue=1.15,
        grid_carbon_g_per_kwh=477,
        power_cap_kw=16,
    ),
    Hub(
        name="horinger",
        province="Inner Mongolia",
        hosts=(Host("ho-1", 8),),
        accelerator="H800",
        gpu_power_kw=0.75,
        flat_yuan_per_kwh=0.32,
        pue=1.20,
        grid_carbon_g_per_kwh=685,
        power_cap_kw=8,
    ),
    Hub(
        name="zhongwei",
        province="Ningxia",
        hosts=(Host("zw-1", 8),),
        accelerator="Ascend910B",
        gpu_power_kw=0.50,
        flat_yuan_per_kwh=0.36,
        pue=1.15,
        grid_carbon_g_per_kwh=642,
        power_cap_kw=8,
        dashboard=True,
    ),
)
CITIES = (
    City("shanghai", "上海", 0.70, 585, {"qingyang": 13, "horinger": 22, "zhongwei": 18}),
    City("beijing", "北京", 0.68, 558, {"qingyang": 12, "horinger": 4, "zhongwei": 16}),
    City("shenzhen", "深圳", 0.72, 440, {"qingyang": 15, "horinger": 30, "zhongwei": 21}),
)
# Of a data centre in an eastern city.
EAST_PUE = 1.4


def scheduler_config(ports: dict[str, int], folder: Path) -> dict[str, object]:
    """The scheduler's configuration file."""
    return {
        "listen": f"127.0.0.1:{ports['scheduler']}",
        "database_url": f"sqlite:///{folder / 'westward.db'}",
        "report_interval_s": 2,
        "round_interval_s": 5,
        "clock": {"speedup": SPEEDUP, "starts_at": STARTS_AT.isoformat()},
        "regions": {
            city.name: {
                "gateway": f"127.0.0.1:{ports[city.name]}",
                "label": city.label,
                "price_yuan_per_kwh": city.price_yuan_per_kwh,
                "pue": EAST_PUE,
                "grid_carbon_g_per_kwh": city.grid_carbon_g_per_kwh,
            }
            for city in CITIES
        },
    }


def agent_config(
    hub: Hub, host: Host, *, scheduler: str, ray: dict[str, str] | None, folder: Path
) -> dict[str, object]:
    """One host's agent configuration; ``ray`` says where the cluster's Ray is, on its head."""
    config: dict[str, object] = {
        "node_id": host.node_id,
        "cluster": hub.name,
        "scheduler": {"address": scheduler},
        "data_dir": str(folder / "data" / hub.name),
        "accelerators": {
            "model": hub.accelerator,
            "count": host.gpus,
            "gpu_power_kw": hub.gpu_power_kw,
        },
        "host": {"cpus": host.cpus, "memory_gb": host.memory_gb},
    }
    if ray is not None:
        config["head"] = {
            "province": hub.province,
            "price": {
                "table": str(HERE / "data" / "tariffs.csv"),
                "flat_yuan_per_kwh": hub.flat_yuan_per_kwh,
            },
            "green": {"file": str(HERE / "data" / f"green-{hub.name}.csv")},
            "pue": hub.pue,
            "grid_carbon_g_per_kwh": hub.grid_carbon_g_per_kwh,
            "power_cap_kw": hub.power_cap_kw,
            "links": [
                {"peer": city.name, "bandwidth_gbps": 10, "transfer_yuan_per_gb": 0.002}
                for city in CITIES
            ],
            "ray": ray,
        }
    return config
