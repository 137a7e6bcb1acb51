"""What accelerator models can do and draw: one row per model, with its source.

Figures are dense FP16 (no sparsity) per card. None was checked against the maker's own document:
``seen`` ones were read where somebody quotes it, the others are from memory. A model whose figures
are told in several ways is not here (the Ascend 910B: 256 to 400 TFLOPS); it, like any that is not,
has ``accelerators.tflops`` and ``accelerators.gpu_power_kw`` in the configuration.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """``pattern`` finds the model in what a driver or tool calls it; ``name`` is what jobs call it.
    ``seen``: both figures were read where the source is quoted."""

    name: str
    pattern: str
    fp16_tflops: float
    power_w: float
    source: str
    seen: bool = False


# The first pattern that is found counts, so narrower ones stand first.
MODELS: tuple[Model, ...] = (
    Model("H200", r"\bH200\b", 989, 700, "NVIDIA H200 datasheet, 2024: 1,979 sparse", True),
    Model("H100-PCIe", r"\bH100 PCIe\b", 756, 350, "NVIDIA H100 datasheet, 2022: 1,513 sparse"),
    Model("H100", r"\bH100\b", 989, 700, "NVIDIA H100 datasheet, 2022, SXM: 1,979 sparse", True),
    Model("H800", r"\bH800\b", 989, 700, "as H100 SXM, with slower links; no public datasheet"),
    Model("H20", r"\bH20\b", 148, 400, "press of 2024: 148 dense; no public datasheet", True),
    Model("A100-PCIe", r"\bA100-PCIE?\b", 312, 300, "NVIDIA A100 datasheet, 2021, PCIe of 80 GB"),
    Model("A100", r"\bA100\b", 312, 400, "NVIDIA A100 datasheet, 2021, SXM", True),
    Model("A800-PCIe", r"\bA800 .*PCIe\b", 312, 300, "as A100 PCIe of 80 GB, with slower links"),
    Model(
        "A800", r"\bA800\b", 312, 400, "as A100 SXM, with slower links (NVIDIA in the press, 2022)"
    ),
    Model("A30", r"\bA30\b", 165, 165, "NVIDIA A30 datasheet, 2021"),
    Model("A10", r"\bA10\b", 125, 150, "NVIDIA A10 datasheet, 2021"),
    Model("L40S", r"\bL40S\b", 362, 350, "NVIDIA L40S datasheet, 2023: 733 sparse", True),
    Model("V100", r"\bV100\b", 125, 300, "NVIDIA V100 datasheet, 2017, SXM2"),
    Model("T4", r"\bT4\b", 65, 70, "NVIDIA T4 datasheet, 2018", True),
    Model("MLU370-X8", r"\bMLU370-X8\b", 96, 250, "Cambricon at its launch, 2022", True),
)


def model_of(told: str) -> Model | None:
    """The row of what a driver or tool calls a model, or of what jobs call it."""
    if " MIG" in told:
        # Of a part of a GPU nothing follows from the whole.
        return None
    for model in MODELS:
        if model.name == told or re.search(model.pattern, told, re.IGNORECASE):
            return model
    return None
