"""A node's accelerators, whoever made them: what is read of each, and what it comes to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agents.collectors.base import CollectorError, Span
from agents.collectors.models import model_of
from agents.config import Accelerators

# What a device is called that no longer says what it is.
NAMELESS = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One accelerator, or one instance of a partitioned one (MIG). None where nothing is told.

    ``index`` is its place among the devices of its node, by which, or by ``id``, the environment of
    a worker names it. ``energy_j`` counts up since the driver was loaded. ``sick`` says why it must
    not be used.
    """

    index: int
    id: str
    name: str
    memory_gb: float = 0.0
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    utilisation: float | None = None
    temperature_c: float | None = None
    sick: str = ""


@dataclass(frozen=True, slots=True)
class Sick:
    """An accelerator that is not counted, and why."""

    index: int
    id: str
    reason: str


def means(name: str, one: Device | Sick) -> bool:
    """Whether a name in a worker's environment stands for an accelerator: by its index, or by the
    beginning of its id. So the vendors' runtimes read it; a number is never the beginning of an
    id, though bare UUIDs begin with digits."""
    return int(name) == one.index if name.isdecimal() else one.id.startswith(name)


@dataclass(frozen=True, slots=True)
class AcceleratorFacts:
    """Accelerators of this node that jobs may use; ``power_kw`` is the draw of one under load with
    its share of the host. ``draw_kw`` is what all of them draw now, ``load`` how busy they are on
    the average, 0 to 1, ``temperature_c`` the hottest; None where it is not told."""

    model: str
    count: int
    power_kw: float
    source: str = "declared"
    pflops: float = 0.0
    memory_gb: float = 0.0
    draw_kw: float | None = None
    load: float | None = None
    temperature_c: float | None = None
    sick: tuple[Sick, ...] = ()
    devices: tuple[Device, ...] = ()


class Driver(Protocol):
    """A vendor's driver or tool."""

    @property
    def source(self) -> str:
        """For people: what is read."""
        ...

    @property
    def draws_every_s(self) -> float:
        """How often ``draws`` may be asked."""
        ...

    def devices(self) -> Sequence[Device]:
        """All devices of the node, by index. Blocks.

        Raises:
            CollectorError: it cannot be read, or does not make sense.
        """
        ...

    def draws(self) -> Sequence[Device]:
        """The devices with what they draw, as far as that is told; what else is told of them may be
        old. Cheaper than ``devices``. Blocks. Raises CollectorError."""
        ...


class ReadAccelerators:
    """What a driver tells, with what the operator declared in its place."""

    def __init__(self, keys: Accelerators, driver: Driver) -> None:
        self.name = f"accelerators ({keys.source})"
        self._keys = keys
        self._driver = driver

    def read(self, span: Span) -> AcceleratorFacts:
        """The devices, and what they come to."""
        facts = facts_of(self._driver.devices(), self._keys)
        return replace(facts, source=self._driver.source)


class DeclaredAccelerators:
    """The accelerators of the configuration file."""

    name = "accelerators (declared)"

    def __init__(self, declared: Accelerators | None) -> None:
        self._declared = declared

    def read(self, span: Span) -> AcceleratorFacts:
        declared = self._declared
        if declared is None or not declared.count:
            power_kw = declared.gpu_power_kw if declared is not None else None
            return AcceleratorFacts("", 0, power_kw or 0.0)
        assert declared.model and declared.gpu_power_kw, "the configuration sees to it"
        each = _tflops(declared, declared.model)
        return AcceleratorFacts(
            declared.model,
            declared.count,
            declared.gpu_power_kw,
            pflops=round(declared.count * each / 1000, 4),
        )


def facts_of(devices: Sequence[Device], keys: Accelerators) -> AcceleratorFacts:
    """What the devices come to: those that are well and of the node's one model count.

    Raises:
        CollectorError: what one draws under load is neither told nor declared nor in the table.
    """
    if not devices:
        return AcceleratorFacts("", 0, 0.0)
    names = Counter(device.name for device in devices if device.name != NAMELESS)
    if not names:
        names[NAMELESS] = len(devices)
    kind = max(names, key=lambda name: names[name])
    sick = [_sick(device, kind) for device in devices if device.sick or device.name != kind]
    well = len(devices) - len(sick)
    model = keys.model or ("" if kind == NAMELESS else job_name(kind))
    if not well:
        return AcceleratorFacts(
            model, 0, keys.gpu_power_kw or 0.0, sick=tuple(sick), devices=tuple(devices)
        )
    same = [device for device in devices if device.name == kind]
    told = [device.power_w for device in devices if device.power_w is not None]
    loads = [device.utilisation for device in same if device.utilisation is not None]
    temperatures_c = [d.temperature_c for d in devices if d.temperature_c is not None]
    return AcceleratorFacts(
        model,
        well,
        _power_kw(same, kind, keys),
        pflops=round(well * _tflops(keys, kind) / 1000, 4),
        memory_gb=round(min(device.memory_gb for device in same), 1),
        draw_kw=round(sum(told) / 1000, 2) if len(told) == len(devices) else None,
        load=round(sum(loads) / len(loads), 2) if loads else None,
        temperature_c=max(temperatures_c, default=None),
        sick=tuple(sick),
        devices=tuple(devices),
    )


def job_name(told: str) -> str:
    """What jobs call a model: where the table knows it, without maker, form and memory."""
    row = model_of(told)
    return row.name if row is not None else told.removeprefix("NVIDIA ")


def withdrawn(facts: AcceleratorFacts, why: str) -> AcceleratorFacts:
    """The same node with all accelerators withdrawn: nobody knows how they are."""
    sick = tuple(Sick(device.index, device.id, why) for device in facts.devices)
    return replace(
        facts, count=0, pflops=0.0, draw_kw=None, load=None, temperature_c=None, sick=sick
    )


def load_w(device: Device, keys: Accelerators) -> float | None:
    """What one device draws under load, its share of the host left out; None where nobody knows."""
    if device.power_limit_w:
        return device.power_limit_w
    if keys.gpu_power_kw is not None:
        return max(0.0, keys.gpu_power_kw - keys.host_share_kw) * 1000
    row = model_of(device.name)
    return row.power_w if row is not None else None


def _sick(device: Device, kind: str) -> Sick:
    return Sick(
        device.index,
        device.id,
        device.sick or f"a {device.name} beside {kind}: a node's accelerators are of one model",
    )


def _power_kw(devices: Sequence[Device], kind: str, keys: Accelerators) -> float:
    if keys.gpu_power_kw is not None:
        return keys.gpu_power_kw
    loads = [load for device in devices if (load := load_w(device, keys)) is not None]
    if not loads:
        raise CollectorError(
            f"what one {kind} draws under load is neither told nor in the table of models; "
            f"set accelerators.gpu_power_kw"
        )
    return round(max(loads) / 1000 + keys.host_share_kw, 4)


def _tflops(keys: Accelerators, kind: str) -> float:
    if keys.tflops is not None:
        return keys.tflops
    row = model_of(kind)
    return row.fp16_tflops if row is not None else 0.0
