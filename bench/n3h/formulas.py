"""What published models and comparable designs say: rows of the released model, its policies, and Mix&Match's builds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from study import Table

from silicut.accelerators.gemm.config import N3H
from silicut.accelerators.gemm.cost.mix_match import DESIGNS
from silicut.accelerators.gemm.cost.published import (
    LayerCycles,
    LayerPolicy,
    network_cycles,
    total_ms,
    with_best_split,
    with_scanned_split,
)
from silicut.accelerators.gemm.cost.published_policies import PUBLISHED_POLICY, RESNET18, UNIFORM_POLICY


def _alone(policy: Sequence[LayerPolicy], lut_frac: float) -> tuple[LayerPolicy, ...]:
    return tuple(LayerPolicy(layer.a_bits, layer.w_bits, lut_frac) for layer in policy)


def _everywhere(bits: int) -> tuple[LayerPolicy, ...]:
    return tuple(LayerPolicy(bits, bits, 1.0) for _ in RESNET18)


def _policies() -> Iterator[tuple[str, str, Sequence[LayerCycles]]]:
    """Yield the name of a policy, how filters are split, and the layers."""
    for name, policy in (("published", PUBLISHED_POLICY), ("logged 4/4", UNIFORM_POLICY)):
        pairs = list(zip(RESNET18, policy, strict=True))
        yield name, "its own", network_cycles(RESNET18, policy, N3H)
        yield name, "scanned in per cent", [with_scanned_split(gemm, layer, N3H) for gemm, layer in pairs]
        yield name, "best of all", [with_best_split(gemm, layer, N3H) for gemm, layer in pairs]
    yield "4/4, ends 8/8", "DSP core alone", network_cycles(RESNET18, _alone(UNIFORM_POLICY, 0.0), N3H)
    for bits in (2, 4, 8):
        yield f"{bits}/{bits}", "LUT core alone", network_cycles(RESNET18, _everywhere(bits), N3H)


def answer_published(table: Table) -> None:
    """Add the released model's time of ResNet-18 for each policy and split, layer by layer and in all."""
    for policy, split, layers in _policies():
        if table.has(policy=policy, split=split, layer="all"):
            continue
        for number, layer in enumerate(layers):
            _add(table, policy, split, {"layer": number, "n_lut": layer.n_lut, "lut_cycles": layer.lut,
                                        "dsp_cycles": layer.dsp, "ms": layer.cycles / 1e5})  # fmt: skip
        _add(table, policy, split, {"layer": "all", "n_lut": "", "lut_cycles": sum(layer.lut for layer in layers),
                                    "dsp_cycles": sum(layer.dsp for layer in layers), "ms": total_ms(layers)})  # fmt: skip


def _add(table: Table, policy: str, split: str, row: dict[str, Any]) -> None:
    table.add(label="released model", network="resnet18", policy=policy, split=split, **row)


def answer_baselines(table: Table) -> None:
    """Add Mix&Match's builds: execution modelled here, and what the paper's tables say from memory."""
    for design in DESIGNS:
        if not table.has(design=design.name):
            table.add(
                design=design.name, part=design.part, network="resnet18", peak_gops=design.peak_gops,
                modelled_ms=design.modelled_ms(RESNET18), recalled_ms=design.recalled_ms or "",
            )  # fmt: skip
