"""NVIDIA's accelerators, through NVML (nvidia-ml-py).

Not yet run on hardware: the tests play NVML's functions.
"""

import threading
from dataclasses import dataclass, replace
from typing import Any

from agents.collectors.accelerators import NAMELESS, Device
from agents.collectors.base import CollectorError

# XIDs that a program brings about, not a sick accelerator: 13 graphics engine exception, 31 memory
# page fault, 43 stopped processing, 45 preemptive cleanup, 68 video processor exception, 109
# context switch timeout. The others withdraw it. (NVIDIA, "XID Errors"; NVIDIA's device plugin for
# Kubernetes leaves the same aside.)
PROGRAMS_XIDS = frozenset({13, 31, 43, 45, 68, 109})
# At one reading; what is left waits for the next.
EVENTS_MOST = 256


@dataclass(frozen=True, slots=True)
class _Metered:
    """A device, the handle of the GPU that its draw is asked of, and its part of that."""

    device: Device
    handle: Any
    part: float


class Nvml:
    """Reads every device anew each time. A device that was told of by a critical XID stays sick
    until the agent is started anew: an operator does that after mending it."""

    draws_every_s = 1.0

    def __init__(self, nvml: Any = None) -> None:
        """``nvml`` stands for the module pynvml in tests."""
        self._nvml = nvml
        self._lock = threading.Lock()
        self._driver = ""
        self._events: Any = None
        self._xids: dict[str, int] = {}
        self._known: list[_Metered] = []

    @property
    def source(self) -> str:
        return f"NVML, driver {self._driver}" if self._driver else "NVML"

    def devices(self) -> list[Device]:
        """All GPUs; of a partitioned one its instances. Blocks."""
        with self._lock:
            nvml = self._opened()
            try:
                count = nvml.nvmlDeviceGetCount()
                handles = [self._ask("DeviceGetHandleByIndex", index) for index in range(count)]
                self._watch([handle for handle in handles if handle is not None])
            except nvml.NVMLError as error:
                # Such as a driver that was replaced underneath: opened anew the next time.
                self._driver, self._events, self._known = "", None, []
                raise CollectorError(f"NVML: {error}") from error
            self._take_events()
            self._known = [
                metered
                for index, handle in enumerate(handles)
                for metered in self._gpu(index, handle)
            ]
            return [metered.device for metered in self._known]

    def draws(self) -> list[Device]:
        """The devices as last read, with what they draw now. Blocks."""
        with self._lock:
            return [
                replace(metered.device, **self._draw(metered.handle, metered.part))
                for metered in self._known
            ]

    def _opened(self) -> Any:
        if self._nvml is None:
            import pynvml  # noqa: PLC0415 other nodes do without

            self._nvml = pynvml
        nvml = self._nvml
        if not self._driver:
            try:
                nvml.nvmlInit()
                self._driver = _text(nvml.nvmlSystemGetDriverVersion())
            except nvml.NVMLError as error:
                raise CollectorError(f"NVML: {error}; is NVIDIA's driver installed?") from error
        return nvml

    def _ask(self, function: str, *arguments: Any) -> Any:
        """What not every GPU, driver or partition tells: None where it is not told."""
        try:
            return getattr(self._nvml, f"nvml{function}")(*arguments)
        except self._nvml.NVMLError:
            return None

    def _watch(self, handles: list[Any]) -> None:
        """Asks for critical events from now on, once. What tells none is left unwatched."""
        if self._events is not None:
            return
        nvml = self._nvml
        self._events = nvml.nvmlEventSetCreate()
        for handle in handles:
            kind = nvml.nvmlEventTypeXidCriticalError
            self._ask("DeviceRegisterEvents", handle, kind, self._events)

    def _take_events(self) -> None:
        for _ in range(EVENTS_MOST):
            event = self._ask("EventSetWait_v2", self._events, 0)
            if event is None:
                return
            xid = int(event.eventData)
            uuid = self._ask("DeviceGetUUID", event.device)
            if uuid is not None and xid not in PROGRAMS_XIDS:
                # One that no longer says which it is does not answer either, and is sick for that.
                self._xids[_text(uuid)] = xid

    def _gpu(self, index: int, handle: Any) -> list[_Metered]:
        """A GPU, or its instances where it is partitioned."""
        nvml = self._nvml
        uuid = self._ask("DeviceGetUUID", handle) if handle is not None else None
        name = self._ask("DeviceGetName", handle) if handle is not None else None
        if uuid is None or name is None:
            # Such as one that has fallen off the bus: there, but dead.
            lost = Device(
                index=index, id=f"GPU {index}", name=NAMELESS, sick="NVML cannot reach it"
            )
            return [_Metered(lost, handle, 1.0)]
        memory = self._ask("DeviceGetMemoryInfo", handle)
        utilisation = self._ask("DeviceGetUtilizationRates", handle)
        temperature_c = self._ask("DeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU)
        gpu = Device(
            index=index,
            id=_text(uuid),
            name=_text(name),
            memory_gb=_gb(memory),
            power_limit_w=_thousandth(self._ask("DeviceGetEnforcedPowerLimit", handle), 1.0),
            utilisation=utilisation.gpu / 100 if utilisation is not None else None,
            temperature_c=temperature_c,
            sick=self._sickness(_text(uuid), handle),
            **self._draw(handle, 1.0),
        )
        return self._instances(gpu, handle) or [_Metered(gpu, handle, 1.0)]

    def _draw(self, handle: Any, part: float) -> dict[str, Any]:
        return {
            "power_w": _thousandth(self._ask("DeviceGetPowerUsage", handle), part),
            "energy_j": _thousandth(self._ask("DeviceGetTotalEnergyConsumption", handle), part),
        }

    def _instances(self, gpu: Device, handle: Any) -> list[_Metered]:
        """The instances of a GPU in MIG mode; each is taken to draw an equal part of what it
        draws."""
        mode = self._ask("DeviceGetMigMode", handle)
        if mode is None or mode[0] != self._nvml.NVML_DEVICE_MIG_ENABLE:
            return []
        places = range(self._ask("DeviceGetMaxMigDeviceCount", handle) or 0)
        found = [self._ask("DeviceGetMigDeviceHandleByIndex", handle, place) for place in places]
        instances = [mig for mig in found if mig is not None]
        part = 1 / max(1, len(instances))
        return [_Metered(self._instance(gpu, mig, handle, part), handle, part) for mig in instances]

    def _instance(self, gpu: Device, mig: Any, handle: Any, part: float) -> Device:
        uuid, name = self._ask("DeviceGetUUID", mig), self._ask("DeviceGetName", mig)
        named = _text(name) if name is not None else ""
        limit_w = gpu.power_limit_w
        return replace(
            gpu,
            id=_text(uuid) if uuid is not None else f"{gpu.id} MIG",
            name=named if " MIG" in named else f"{gpu.name} MIG",
            memory_gb=_gb(self._ask("DeviceGetMemoryInfo", mig)),
            power_limit_w=limit_w * part if limit_w is not None else None,
            utilisation=None,
            **self._draw(handle, part),
        )

    def _sickness(self, uuid: str, handle: Any) -> str:
        """Why a GPU must not be used; empty for one that is well."""
        nvml = self._nvml
        if uuid in self._xids:
            return f"XID {self._xids[uuid]}"
        uncorrected = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
        if errors := self._ask("DeviceGetTotalEccErrors", handle, *uncorrected):
            return f"{errors} uncorrected ECC errors since the driver was loaded"
        if (rows := self._ask("DeviceGetRemappedRows", handle)) is not None:
            _, _, pending, failed = rows
            if failed:
                return "a faulty memory row could not be remapped"
            if pending:
                return "a memory row waits to be remapped: reset the GPU"
        return ""


def _thousandth(told: float | None, part: float) -> float | None:
    """From mW or mJ."""
    return told * part / 1000 if told is not None else None


def _gb(memory: Any) -> float:
    return round(memory.total / 1e9, 1) if memory is not None else 0.0


def _text(told: str | bytes) -> str:
    """Older releases of NVML's Python side answer with bytes."""
    return told.decode(errors="replace") if isinstance(told, bytes) else told
