"""What accelerator models can do and draw: one row per model, with its source.

Figures are dense FP16 (no sparsity) per card as their makers print them; where a maker prints
only the sparse figure, half of it. A model that is not here has ``accelerators.tflops`` and
``accelerators.gpu_power_kw`` in the configuration.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """``pattern`` finds the model in what a driver or tool calls it; ``name`` is what jobs call it,
    empty where that is the same."""

    name: str
    pattern: str
    fp16_tflops: float
    power_w: float
    source: str


# The first pattern that is found counts, so narrower ones stand first.
MODELS: tuple[Model, ...] = (
    Model("H200", r"\bH200\b", 989, 700, "NVIDIA H200 datasheet: 1,979 sparse, up to 700 W"),
    Model("H100-PCIe", r"\bH100 PCIe\b", 756, 350, "NVIDIA H100 PCIe product brief: 1,513 sparse"),
    Model("H100", r"\bH100\b", 989, 700, "NVIDIA H100 datasheet, SXM: 1,979 sparse, up to 700 W"),
    Model("H800", r"\bH800\b", 989, 700, "as H100 SXM, with slower links (vendors' server briefs)"),
    Model("H20", r"\bH20\b", 148, 400, "press on its launch, 148 dense; no public datasheet"),
    Model("A100-PCIe", r"\bA100-PCIE?\b", 312, 300, "NVIDIA A100 datasheet, PCIe"),
    Model("A100", r"\bA100\b", 312, 400, "NVIDIA A100 datasheet, SXM"),
    Model("A800-PCIe", r"\bA800 .*PCIe\b", 312, 300, "as A100 PCIe, with slower links"),
    Model("A800", r"\bA800\b", 312, 400, "as A100 SXM, with slower links"),
    Model("A30", r"\bA30\b", 165, 165, "NVIDIA A30 datasheet"),
    Model("A10", r"\bA10\b", 125, 150, "NVIDIA A10 datasheet"),
    Model("L40S", r"\bL40S\b", 362, 350, "NVIDIA L40S datasheet: 733 sparse"),
    Model("V100", r"\bV100\b", 125, 300, "NVIDIA V100 datasheet, SXM2"),
    Model("T4", r"\bT4\b", 65, 70, "NVIDIA T4 datasheet"),
    # Its variants (910B1 to 910B4) are named apart by the tool, and by jobs.
    Model("", r"\b910B", 320, 310, "press; from 256 to 400 TFLOPS are told, by variant"),
    Model("MLU370-X8", r"\bMLU370-X8\b", 96, 250, "Cambricon at its launch in 2022"),
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
