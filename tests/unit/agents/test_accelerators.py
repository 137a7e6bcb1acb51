"""What is read of accelerators: NVML played by the fake, tools by outputs of their layouts."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.collectors.accelerators import (
    AcceleratorFacts,
    Device,
    ReadAccelerators,
    Sick,
    facts_of,
    job_name,
)
from agents.collectors.base import CollectorError, Span
from agents.collectors.models import MODELS, model_of
from agents.collectors.nvidia import Nvml
from agents.collectors.tools import ascend, parse_cnmon, parse_efsmi, parse_npu_smi
from agents.config import Accelerators
from tests.fakes.nvml import FakeGpu, FakeNvml

OUTPUTS = Path(__file__).parent / "outputs"
SPAN = Span(datetime(2026, 6, 1, tzinfo=UTC), 900.0, 86400.0)
NVIDIA = Accelerators(source="nvidia", host_share_kw=0.1)


def output(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_text(encoding="utf-8")


def eight() -> FakeNvml:
    return FakeNvml(*(FakeGpu(f"GPU-{index}") for index in range(8)))


def read(nvml: FakeNvml, keys: Accelerators = NVIDIA) -> AcceleratorFacts:
    return ReadAccelerators(keys, Nvml(nvml)).read(SPAN)


def test_nvidia_gpus_as_nvml_tells_them() -> None:
    facts = read(eight())
    assert (facts.model, facts.count, facts.power_kw) == ("A800", 8, 0.5)
    assert (facts.pflops, facts.memory_gb, facts.draw_kw) == (2.496, 85.9, 2.4)
    assert (facts.load, facts.temperature_c) == (0.87, 61)
    assert facts.source == "NVML, driver 570.86"
    assert facts.devices[3] == Device(
        index=3,
        id="GPU-3",
        name="NVIDIA A800-SXM4-80GB",
        memory_gb=85.9,
        power_w=300.0,
        power_limit_w=400.0,
        utilisation=0.87,
        temperature_c=61,
    )


def test_a_gpu_that_falls_sick_is_gone_from_the_next_reading_on() -> None:
    nvml = eight()
    collector = ReadAccelerators(NVIDIA, Nvml(nvml))
    assert collector.read(SPAN).sick == ()
    nvml.events = [(nvml.gpus[1], 31), (nvml.gpus[2], 79)]
    nvml.gpus[4].ecc_errors = 2
    nvml.gpus[5].rows = (0, 1, 1, 0)
    nvml.gpus[6].rows = (0, 1, 0, 1)
    nvml.gpus[7].lost = True
    for _ in range(2):
        facts = collector.read(SPAN)
        assert facts.count == 3
        assert facts.pflops == pytest.approx(3 * 0.312)
        assert facts.sick == (
            Sick(2, "GPU-2", "XID 79"),
            Sick(4, "GPU-4", "2 uncorrected ECC errors since the driver was loaded"),
            Sick(5, "GPU-5", "a memory row waits to be remapped: reset the GPU"),
            Sick(6, "GPU-6", "a faulty memory row could not be remapped"),
            Sick(7, "GPU 7", "NVML cannot reach it"),
        )
    assert nvml.watched == nvml.gpus[:8]


def test_a_partitioned_gpu_is_its_instances() -> None:
    nvml = FakeNvml(FakeGpu("GPU-0", instances=["MIG-a", "MIG-b"]))
    facts = read(nvml)
    assert (facts.model, facts.count) == ("A800-SXM4-80GB MIG 1g.10gb", 2)
    assert [device.id for device in facts.devices] == ["MIG-a", "MIG-b"]
    assert [device.power_w for device in facts.devices] == [150.0, 150.0]
    assert (facts.power_kw, facts.pflops, facts.memory_gb) == (0.3, 0.0, 10.7)


def test_draws_are_told_without_reading_the_rest() -> None:
    nvml = FakeNvml(FakeGpu("GPU-0", energy_j=1000.0), FakeGpu("GPU-1", power_w=None))
    driver = Nvml(nvml)
    driver.devices()
    nvml.gpus[0].energy_j = 1300.0
    assert [(d.id, d.power_w, d.energy_j) for d in driver.draws()] == [
        ("GPU-0", 300.0, 1300.0),
        ("GPU-1", None, None),
    ]


def test_a_driver_that_is_not_there_is_named_and_found_again() -> None:
    nvml = eight()
    nvml.broken = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    collector = ReadAccelerators(NVIDIA, Nvml(nvml))
    with pytest.raises(CollectorError, match=r"NVML: .*is NVIDIA's driver installed\?"):
        collector.read(SPAN)
    nvml.broken = None
    assert collector.read(SPAN).count == 8
    nvml.broken = pynvml.NVML_ERROR_UNKNOWN
    with pytest.raises(CollectorError, match="NVML: Unknown Error"):
        collector.read(SPAN)


def test_nvml_itself_has_every_function_that_is_asked_for() -> None:
    asked = [name for name in vars(FakeNvml) if name.startswith("nvml")]
    assert len(asked) > 15
    assert [name for name in asked if not callable(getattr(pynvml, name, None))] == []


def test_npu_smi_of_cards_with_one_chip() -> None:
    first, second, third = parse_npu_smi(output("npu-smi-910b"))
    assert (first.name, first.power_w, first.temperature_c) == ("910B3", 101.5, 37.0)
    assert (first.memory_gb, first.utilisation) == (68.7, 0.12)
    assert (second.sick, third.sick) == ("npu-smi tells health 'Alarm'", "")
    facts = facts_of([first, second, third], Accelerators(source="ascend", gpu_power_kw=0.4))
    assert (facts.model, facts.count, facts.power_kw) == ("910B3", 2, 0.4)
    assert (facts.draw_kw, facts.load, facts.temperature_c) == (0.49, 0.36, 71)


def test_npu_smi_of_cards_with_two_chips() -> None:
    devices = parse_npu_smi(output("npu-smi-a3"))
    assert [(device.index, device.power_w) for device in devices] == [
        (0, 85.0),
        (1, 85.0),
        (2, 90.0),
        (3, 90.0),
    ]
    assert len({device.id for device in devices}) == 4
    with pytest.raises(CollectorError, match=r"Ascend910 draws .* set accelerators\.gpu_power_kw"):
        facts_of(devices, Accelerators(source="ascend"))


def test_cnmon() -> None:
    first, second = parse_cnmon(output("cnmon-info"))
    assert (first.id, first.name) == ("11223344-5566-0000-0000-000000000000", "MLU370-X8")
    assert (first.power_w, first.power_limit_w, first.memory_gb) == (180.0, 250.0, 24.5)
    assert (first.utilisation, first.temperature_c, first.sick) == (0.66, 61.0, "")
    assert second.sick == "cnmon tells health 'Bad'"
    facts = facts_of([first, second], Accelerators(source="cambricon"))
    assert (facts.count, facts.power_kw, facts.pflops) == (1, 0.25, 0.096)


def test_efsmi() -> None:
    first, second = parse_efsmi(output("efsmi-q"))
    assert (first.id, first.name, first.memory_gb) == ("TR6Y00000001", "S60", 45.1)
    assert (first.power_w, first.power_limit_w, first.temperature_c) == (96.0, 300.0, 35.0)
    assert (first.utilisation, first.sick) == (0.125, "")
    assert (second.memory_gb, second.sick) == (45.1, "efsmi tells RMA flags 'True'")


def script(folder: Path, text: str) -> str:
    tool = folder / "npu-smi"
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    return str(tool)


def test_a_tool_is_run_and_its_failure_named(tmp_path: Path) -> None:
    printed = f"test $1 = info && cat '{OUTPUTS / 'npu-smi-910b.txt'}'"
    assert len(ascend(script(tmp_path, printed)).devices()) == 3
    with pytest.raises(CollectorError, match="exit code 3: dcmi module is not initialised"):
        ascend(script(tmp_path, "echo dcmi module is not initialised >&2; exit 3")).devices()
    with pytest.raises(CollectorError, match="tells of no device in a format that is known"):
        ascend(script(tmp_path, "echo hello")).devices()
    with pytest.raises(CollectorError, match=r"no such tool; set accelerators\.tool"):
        ascend(str(tmp_path / "none")).devices()


@given(st.sampled_from(["npu-smi-910b", "npu-smi-a3", "cnmon-info", "efsmi-q"]), st.data())
def test_no_output_breaks_a_parser(name: str, data: st.DataObject) -> None:
    text = output(name)
    begin = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 200))
    spoilt = text[:begin] + data.draw(st.text(max_size=40)) + text[begin + cut :]
    for parse in (parse_npu_smi, parse_cnmon, parse_efsmi):
        for device in parse(spoilt):
            assert device.memory_gb >= 0
            assert device.power_w is None or device.power_w >= 0
        parse(data.draw(st.text()))


def test_a_stranger_among_the_accelerators_is_not_counted() -> None:
    nvml = FakeNvml(FakeGpu("a"), FakeGpu("b"), FakeGpu("c", name="NVIDIA T4"))
    facts = read(nvml)
    assert (facts.model, facts.count) == ("A800", 2)
    assert facts.sick[0].reason == (
        "a NVIDIA T4 beside NVIDIA A800-SXM4-80GB: a node's accelerators are of one model"
    )


@pytest.mark.parametrize(
    ("told", "name", "tflops"),
    [
        ("NVIDIA A800-SXM4-80GB", "A800", 312),
        ("NVIDIA A800 80GB PCIe", "A800-PCIe", 312),
        ("NVIDIA A100-PCIE-40GB", "A100-PCIe", 312),
        ("NVIDIA A100-SXM4-40GB", "A100", 312),
        ("NVIDIA H100 80GB HBM3", "H100", 989),
        ("NVIDIA H100 PCIe", "H100-PCIe", 756),
        ("NVIDIA H200", "H200", 989),
        ("Tesla V100-SXM2-32GB", "V100", 125),
        ("Tesla T4", "T4", 65),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090", None),
        ("910B4-1", "910B4-1", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "A100-SXM4-40GB MIG 1g.5gb", None),
    ],
)
def test_models_by_what_drivers_call_them(told: str, name: str, tflops: float | None) -> None:
    row = model_of(told)
    assert job_name(told) == name
    assert (row.fp16_tflops if row else None) == tflops


def test_every_model_is_found_by_its_own_name_and_has_a_source() -> None:
    for model in MODELS:
        assert model.source
        assert model_of(model.name) == model
