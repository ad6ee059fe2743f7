"""A made-up run of a residual network, for tests: three sections of blocks, every second cost from a staircase formula."""

from __future__ import annotations

import math
from typing import Any

from silicut.report import (
    Epoch,
    FrozenSummary,
    GroupSummary,
    Latency,
    LayerSummary,
    NetworkSize,
    OnnxAgreement,
    Outcome,
    Ratio,
    Round,
    RunSummary,
    Search,
    Stage,
)
from silicut.report.comparisons import EngineSummary, SizeBudget, TriedDrop, ValueSummary
from silicut.targets import EngineSettings
from silicut.targets.profile import validation

_WIDTHS = (16, 32, 64)


def run_summary(n_blocks: int = 2, removed: tuple[str, ...] = ("layer2.1",), **changes: Any) -> RunSummary:
    """Return a run on a network of 3 x `n_blocks` residual blocks, all fields filled; `changes` replace fields."""
    layers = _layers(n_blocks, removed)
    dense_ms = 0.01 + math.fsum(layer.dense_ms for layer in layers)
    pruned_ms = 0.01 + math.fsum(layer.pruned_ms for layer in layers)
    ratio = pruned_ms / dense_ms
    fields: dict[str, Any] = {
        "network": "made_up",
        "settings": EngineSettings(engine="onnxruntime"),
        "created": "2025-11-20T18:31:07+01:00",
        "command": "silicut prune made_up --budget 50%",
        "versions": {"silicut": "0.1.0", "onnxruntime": "1.31.1"},
        "hashes": {"network": "bf06c6da1ec8a13b"},
        "fingerprint": {"cpu": "Some CPU", "n_cores": 2, "instruction_sets": ["avx2", "fma"]},
        "target_ms": 0.55 * dense_ms,
        "dense": Latency(ms=dense_ms, low_ms=dense_ms, high_ms=dense_ms),
        "predicted_ms": pruned_ms,
        "overhead_ms": 0.01,
        "measured": Latency(ms=pruned_ms * 1.02, low_ms=pruned_ms, high_ms=pruned_ms * 1.04),
        "ratio": Ratio(ratio=1.02 * ratio, low=ratio, high=1.04 * ratio),
        "outcome": Outcome(is_met=True, sentence="The budget is met.", next_ms=1.1 * pruned_ms),
        "search": Search(value_function="sp_lamp", value=99.0, solver="mixed_integer", bound=99.5, gap_frac=0.5 / 99),
        "dense_size": NetworkSize(n_parameters=272_474, n_macs=40_813_184, file_bytes=1_098_712),
        "pruned_size": NetworkSize(n_parameters=121_034, n_macs=17_233_100, file_bytes=498_211),
        "rounds": (
            Round(target_ms=0.5, predicted_ms=0.49, measured_ms=0.56, value=101.0, n_widths_changed=5),
            Round(target_ms=0.45, predicted_ms=0.45, measured_ms=None, value=99.0, n_widths_changed=2),
        ),
        "layers": layers,
        "groups": _groups(n_blocks, removed),
        "removed_blocks": removed,
        "frozen": (FrozenSummary(operators=("linear",), n_channels=10, reason="the network returns them"),),
        "stages": (
            Stage(name="dense", n=10_000, n_correct=9260),
            Stage(name="pruned", n=10_000, n_correct=2214, n_lost=7102, n_gained=56),
            Stage(name="fine-tuned", n=10_000, n_correct=9201, n_lost=271, n_gained=212),
        ),
        "epochs": tuple(
            Epoch(epoch=i, loss=1 / i, accuracy_frac=0.9 if i % 2 else None, learning_rate=0.1 / i) for i in range(1, 6)
        ),
        "validation": validation([0.2, 0.3, 0.4], [0.21, 0.3, 0.38], [0.3, 0.4, 0.5]),
        "onnx_agreement": OnnxAgreement(max_abs_difference=3e-5, n_images=100, n_same_top1=100),
        "warnings": ("the machine was busy",),
    }
    return RunSummary(**(fields | changes))


def compared(**changes: Any) -> RunSummary:
    """Return a run on two engines, with budgets on sizes, three values and three latencies tried for a drop."""
    settings = (EngineSettings(engine="onnxruntime"), EngineSettings(engine="openvino", n_threads=2))
    engines = tuple(
        EngineSummary(
            settings=each,
            dense_ms=0.6 * n,
            pruned_ms=0.3 * n,
            ratio=0.5 + 0.01 * n,
            ratio_low=0.5,
            ratio_high=0.54,
            mean_error_frac=0.012 * n,
        )
        for n, each in enumerate(settings, 1)
    )
    comparisons = {
        "engines": engines,
        "size_budgets": (
            SizeBudget(name="parameters", limit=125_000, reached=121_034),
            SizeBudget(name="file_bytes", limit=400_000, reached=498_211),
        ),
        "values": (
            ValueSummary(name="sp_lamp", accuracy_frac=0.6512, rank_correlation=0.71),
            ValueSummary(name="log-energy", accuracy_frac=0.5, rank_correlation=-0.12),
            ValueSummary(name="sensitivity", accuracy_frac=0.641, rank_correlation=None),
        ),
        "drops": (
            TriedDrop(limit_frac=0.9, drop=-0.001, is_allowed=True),
            TriedDrop(limit_frac=0.4, drop=0.0312, is_allowed=False),
            TriedDrop(limit_frac=0.55, drop=0.0081, is_allowed=True),
        ),
    }
    return run_summary(**(comparisons | changes))


def minimal(**changes: Any) -> RunSummary:
    """Return a run without data, checks, epochs, removed blocks and groups."""
    nothing = dict.fromkeys(("groups", "frozen", "stages", "epochs", "warnings"), ())
    return run_summary(removed=(), validation=None, onnx_agreement=None, **(nothing | changes))


def _layers(n_blocks: int, removed: tuple[str, ...]) -> tuple[LayerSummary, ...]:
    layers = [_layer("conv1", 3, 16, 0.02, is_removed=False)]
    for section, width in enumerate(_WIDTHS, 1):
        for block in (f"layer{section}.{i}" for i in range(n_blocks)):
            for name, ms in (("conv1", 0.05), ("conv2", 0.05), ("add", 0.002)):
                layers.append(_layer(f"{block}.{name}", width, width, ms, is_removed=block in removed))
    return (*layers, _layer("flatten", 64, 64, 0.001, is_removed=False), _layer("linear", 64, 10, 0.002, is_removed=False))


def _layer(name: str, n_in: int, n_out: int, ms: float, *, is_removed: bool) -> LayerSummary:
    kept = 0 if is_removed else 1
    return LayerSummary(
        name=name,
        shape="conv2d 3x3 on 32x32 + relu",
        n_in_dense=n_in,
        n_in_pruned=n_in // 2 * kept,
        n_out_dense=n_out,
        n_out_pruned=n_out // 2 * kept,
        dense_ms=ms,
        pruned_ms=ms / 2 * kept,
        is_removed=is_removed,
    )


def _groups(n_blocks: int, removed: tuple[str, ...]) -> tuple[GroupSummary, ...]:
    return tuple(
        _group(f"layer{section}.{i}.conv1", width, 0 if f"layer{section}.{i}" in removed else width // 2, 1 + 0.01 * (i % 2))
        for section, width in enumerate(_WIDTHS, 1)
        for i in range(n_blocks)
    )


def _group(name: str, width: int, chosen: int, factor: float) -> GroupSummary:
    widths = (1, width // 2, width - 1, width)
    levels = (width // 4, width // 2, width)
    return GroupSummary(
        name=name,
        dense_width=width,
        chosen_width=chosen,
        widths=widths,
        costs_ms=tuple(factor * cost for cost in (0.01, 0.03, 0.07, 0.05)),
        step=8,
        cliffs=(width - 1,),
        levels=levels,
        level_costs_ms=(0.02, 0.03, 0.05),
    )
