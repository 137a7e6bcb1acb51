"""NVML as a host with NVIDIA GPUs would answer it: the constants and errors are pynvml's own."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml


@dataclass
class FakeGpu:
    uuid: str
    name: str = "NVIDIA A800-SXM4-80GB"
    power_w: float | None = 300.0
    limit_w: float = 400.0
    energy_j: float | None = None
    ecc_errors: int = 0
    rows: tuple[int, int, int, int] = (0, 0, 0, 0)
    lost: bool = False
    instances: list[str] = field(default_factory=list)


class FakeNvml:
    """Answers for ``gpus``; ``events`` are pairs of a GPU and an XID that wait to be taken."""

    def __init__(self, *gpus: FakeGpu) -> None:
        self.gpus = list(gpus)
        self.events: list[tuple[FakeGpu, int]] = []
        self.watched: list[FakeGpu] = []
        self.broken: int | None = None

    def __getattr__(self, name: str) -> Any:
        if not name.startswith(("NVML", "nvmlEventType")):
            raise AttributeError(name)
        return getattr(pynvml, name)

    def nvmlInit(self) -> None:
        if self.broken is not None:
            raise pynvml.NVMLError(self.broken)

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.86"

    def nvmlDeviceGetCount(self) -> int:
        if self.broken is not None:
            raise pynvml.NVMLError(self.broken)
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self._there(self.gpus[index])

    def nvmlDeviceGetUUID(self, gpu: FakeGpu | str) -> bytes:
        return (gpu if isinstance(gpu, str) else self._there(gpu).uuid).encode()

    def nvmlDeviceGetName(self, gpu: FakeGpu | str) -> str:
        return f"{self.gpus[0].name} MIG 1g.10gb" if isinstance(gpu, str) else gpu.name

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu | str) -> SimpleNamespace:
        return SimpleNamespace(total=10 * 2**30 if isinstance(gpu, str) else 80 * 2**30)

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        return self._told(self._there(gpu).power_w)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        return self._told(self._there(gpu).energy_j)

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: FakeGpu) -> int:
        return self._told(gpu.limit_w)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=87, memory=20)

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return 61

    def nvmlDeviceGetTotalEccErrors(self, gpu: FakeGpu, kind: int, counter: int) -> int:
        assert (kind, counter) == (
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        )
        return gpu.ecc_errors

    def nvmlDeviceGetRemappedRows(self, gpu: FakeGpu) -> tuple[int, int, int, int]:
        return gpu.rows

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        return [int(bool(gpu.instances))] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, place: int) -> str:
        if place >= len(gpu.instances):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return gpu.instances[place]

    def nvmlEventSetCreate(self) -> str:
        return "events"

    def nvmlDeviceRegisterEvents(self, gpu: FakeGpu, kind: int, events: str) -> None:
        assert (kind, events) == (pynvml.nvmlEventTypeXidCriticalError, "events")
        self.watched.append(gpu)

    def nvmlEventSetWait_v2(self, events: str, timeout_ms: int) -> SimpleNamespace:
        assert timeout_ms == 0, "a reading must not wait for what may never come"
        if not self.events:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        gpu, xid = self.events.pop(0)
        return SimpleNamespace(device=gpu, eventData=xid)

    def _there(self, gpu: FakeGpu) -> FakeGpu:
        if gpu.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return gpu

    def _told(self, figure: float | None) -> int:
        if figure is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return round(figure * 1000)
