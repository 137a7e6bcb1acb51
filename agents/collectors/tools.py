"""Accelerators of Huawei, Cambricon and Enflame, by what their vendors' tools print.

Not run on hardware: the formats are those of recorded outputs (``tests/unit/agents/outputs``).
"""

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from agents.collectors.accelerators import Device
from agents.collectors.base import CollectorError

TOOL_LIMIT_S = 10.0
# The tools take a second of a core and more: whoever asks again within so long gets the same.
SAME_S = 4.0
# Of a chip that works: npu-smi knows OK, Warning, Alarm, Critical and UNKNOWN.
ASCEND_WELL = ("OK", "Warning")
MIB_PER_GB = 1e9 / 2**20

Parse = Callable[[str], list[Device]]


class VendorTool:
    """Runs a tool and reads what it prints."""

    draws_every_s = 5.0

    def __init__(self, command: Sequence[str], parse: Parse) -> None:
        self.source = " ".join(command)
        self._command = command
        self._parse = parse
        self._lock = threading.Lock()
        self._last: tuple[float, list[Device]] | None = None

    def devices(self) -> list[Device]:
        """All devices. Blocks for as long as the tool does, seconds at most."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] > SAME_S:
                self._last = (time.monotonic(), self._run())
            return self._last[1]

    def draws(self) -> list[Device]:
        """The same."""
        return self.devices()

    def _run(self) -> list[Device]:
        try:
            done = subprocess.run(  # noqa: S603 the operator's own choice of a tool
                self._command,
                capture_output=True,
                timeout=TOOL_LIMIT_S,
                check=False,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except FileNotFoundError as error:
            raise CollectorError(
                f"{self.source}: no such tool; set accelerators.tool to where it is"
            ) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CollectorError(f"{self.source}: {error}") from error
        if done.returncode != 0:
            told = (done.stderr or done.stdout).strip().splitlines()
            raise CollectorError(
                f"{self.source}: exit code {done.returncode}: {told[-1][:200] if told else ''}"
            )
        devices = self._parse(done.stdout)
        if not devices:
            raise CollectorError(f"{self.source}: tells of no device in a format that is known")
        return devices


def ascend(tool: str = "npu-smi") -> VendorTool:
    """Huawei Ascend."""
    return VendorTool((tool, "info"), parse_npu_smi)


def cambricon(tool: str = "cnmon") -> VendorTool:
    """Cambricon MLU."""
    return VendorTool((tool, "info"), parse_cnmon)


def enflame(tool: str = "efsmi") -> VendorTool:
    """Enflame GCU."""
    return VendorTool((tool, "-q"), parse_efsmi)


def parse_npu_smi(output: str) -> list[Device]:
    """The table of ``npu-smi info``: two rows of three cells per chip. A card of two chips prints
    its power in the first; each is taken to draw half."""
    rows = [_cells(line) for line in output.splitlines() if line.count("|") == 4]
    devices: list[Device] = []
    cards: list[str] = []
    for first, second in pairwise(rows):
        bus = re.search(r"[0-9A-Fa-fxX]{4}:[0-9A-Fa-fxX]{2}:", second[1])
        head = first[0].split()
        if bus is None or len(head) < 2 or not head[0].isdigit():
            continue
        memory = re.findall(r"(\d+)\s*/\s*(\d+)", second[2])
        power_w, temperature_c = (_figure(word) for word in [*first[2].split(), "", ""][:2])
        load = second[2].split()
        hbm_mib = max((float(total) for _, total in memory), default=0.0)
        devices.append(
            Device(
                index=len(devices),
                id=f"NPU {head[0]} chip {second[0].split()[0]} ({second[1]})",
                name=head[1],
                memory_gb=round(hbm_mib / MIB_PER_GB, 1),
                power_w=power_w,
                utilisation=_share(load[0]) if load else None,
                temperature_c=temperature_c,
                sick="" if first[1] in ASCEND_WELL else f"npu-smi tells health {first[1]!r}",
            )
        )
        cards.append(head[0])
    return _per_chip(devices, cards)


def _per_chip(devices: list[Device], cards: list[str]) -> list[Device]:
    shared = []
    for device, card in zip(devices, cards, strict=True):
        of_card = [other for other, its in zip(devices, cards, strict=True) if its == card]
        told = [other.power_w for other in of_card if other.power_w is not None]
        power_w = sum(told) / len(of_card) if told else None
        shared.append(replace(device, power_w=power_w))
    return shared


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def parse_cnmon(output: str) -> list[Device]:
    """The sections of ``cnmon info``, one per card."""
    devices = []
    for number, told in _sections(output, r"^Card (\d+)"):
        health = told.get("Health State/Device", "Good")
        devices.append(
            Device(
                index=number,
                id=told.get("UUID") or f"card {number}",
                name=told.get("Product Name", "MLU"),
                memory_gb=_gb(told.get("Physical Memory Usage/Total", "")),
                power_w=_figure(told.get("Power/Usage", "")),
                power_limit_w=_figure(told.get("Power/Cap", "")),
                utilisation=_share(told.get("Utilization/MLU Average", "")),
                temperature_c=_figure(told.get("Temperature/Chip", "")),
                sick="" if health == "Good" else f"cnmon tells health {health!r}",
            )
        )
    return devices


def parse_efsmi(output: str) -> list[Device]:
    """The sections of ``efsmi -q``, one per device. Older releases name the size of the memory
    otherwise."""
    devices = []
    for number, told in _sections(output, r"^DEV ID (\d+)"):
        size = told.get("Device Mem Info/Total Size") or told.get("Device Mem Info/Mem Size", "")
        devices.append(
            Device(
                index=number,
                id=told.get("Device Info/Dev UUID") or f"device {number}",
                name=told.get("Device Info/Dev Name", "GCU"),
                memory_gb=_gb(size),
                power_w=_figure(told.get("Power Info/Cur Power", "")),
                power_limit_w=_figure(told.get("Power Info/Power Capa", "")),
                utilisation=_share(told.get("Device Usage Info/GCU Usage", "")),
                temperature_c=_figure(told.get("Temperature Info/GCU Temp", "")),
                sick=_efsmi_sickness(told),
            )
        )
    return devices


def _efsmi_sickness(told: Mapping[str, str]) -> str:
    if told.get("Device Info/Health", "True") != "True":
        return f"efsmi tells health {told['Device Info/Health']!r}"
    if told.get("RMA Info/Flags", "False") != "False":
        return f"efsmi tells RMA flags {told['RMA Info/Flags']!r}"
    return ""


def _sections(output: str, head: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and ``heading/key: value`` of each part that begins with a line like ``head``; a
    heading is the nearest line above that is less indented and has no value."""
    number: int | None = None
    told: dict[str, str] = {}
    heading: list[tuple[int, str]] = []
    for line in output.splitlines():
        if found := re.match(head, line.strip()):
            if number is not None:
                yield number, told
            number, told, heading = int(found[1]), {}, []
            continue
        key, _, value = (part.strip() for part in line.partition(":"))
        if number is None or not key:
            continue
        indent = len(line) - len(line.lstrip())
        while heading and heading[-1][0] >= indent:
            heading.pop()
        if value:
            told.setdefault("/".join([*(name for _, name in heading[-1:]), key]), value)
        else:
            heading.append((indent, key))
    if number is not None:
        yield number, told


def _figure(text: str) -> float | None:
    found = re.match(r"\d+(\.\d+)?", text.strip())
    return float(found[0]) if found else None


def _share(text: str) -> float | None:
    percent = _figure(text)
    return percent / 100 if percent is not None else None


def _gb(mib: str) -> float:
    return round((_figure(mib) or 0.0) / MIB_PER_GB, 1)
