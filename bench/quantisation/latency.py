"""Is int8 faster, and does a network that is pruned and in int8 beat either alone at equal latency?

All variants of a network (in float and int8, whole and pruned) take turns in one measurement on ONNX Runtime, and each is
counted on the same images. Pruned networks are those that bench/pruning has trained, where its folder of work is given and
has them; others are made here with `silicut.prune`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study import read_rows
from subjects import Study, Subject
from torch import nn

import silicut
from silicut.graph import capture, fold_batch_norm, to_module
from silicut.graph.onnx_writer import to_onnx
from silicut.graph.storage import load_network
from silicut.numerics.onnx import to_qdq
from silicut.records import content_hash
from silicut.targets import MeasureOptions, engine, measure
from silicut.training import RECOVERY, TrainingData, evaluate, fit

NETWORKS = ("resnet20", "resnet56-projection", "resnet18-half")
BUDGETS, EPOCHS = (70, 50, 35), 8
METHODS = silicut.Methods(ranges="mse", scales="mse")
SURELY = MeasureOptions(n_rounds=40, ci_frac=0.005)
N_QUICK, N_QUICK_UNSEEN = 1280, 500
QUICKLY = MeasureOptions(n_rounds=5, max_rounds=5, refuse_frac=1.0, refuse_bias_frac=1.0)
PRUNING = Path(__file__).parents[1] / "pruning"
FLOAT, INT8 = "float", "int8"


def answer(study: Study) -> None:
    """Count and measure all variants of each network; the rows of a network belong to one run."""
    table = study.table("latency", ("network", "variant"))
    for name in [name for name in NETWORKS if name in study.networks][: 1 if study.is_quick else None]:
        if not any(row["network"] == name for row in table.rows()):
            for row in _Variants(study, study.subject(name)).rows():
                table.add(network=name, **row)


class _Variants:
    """The variants of one network: what each runs as, and which images it has right."""

    def __init__(self, study: Study, subject: Subject) -> None:
        self._study, self._subject, self._data = study, subject, _data(study, subject)
        self._example = torch.zeros(1, *subject.data.input_shape)
        self._models: dict[str, bytes] = {}
        self._right: dict[str, np.ndarray] = {}
        self._made_by: dict[str, str] = {}

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a variant."""
        self._add("whole", self._subject.module, "")
        for budget in (50,) if self._study.is_quick else BUDGETS:
            self._add(f"pruned {budget} %", *self._pruned(budget))
        first, *_ = self._models
        found = measure(engine("onnxruntime"), self._models, first, QUICKLY if self._study.is_quick else SURELY)
        return [self._row(variant, first, found.timings[variant]) for variant in self._models]

    def _add(self, what: str, module: nn.Module, made_by: str) -> None:
        """Remember a module in float and in int8."""
        quantised = silicut.quantise(module, self._example, data=self._data, options=_options(), evaluate=lambda _: 0.0)
        network = fold_batch_norm(capture(module, self._example))
        models = {FLOAT: to_onnx(network, batch=1), INT8: bytes(to_qdq(quantised.network, batch=1).SerializeToString())}
        for kind, runs in ((FLOAT, module), (INT8, quantised.module)):
            variant = f"{what}, {kind}"
            self._models[variant], self._made_by[variant] = models[kind], made_by
            self._right[variant] = evaluate(runs, self._data).is_correct

    def _row(self, variant: str, first: str, timing: Any) -> dict[str, Any]:
        before, right = self._right[first], self._right[variant]
        return {
            "variant": variant, "pruned_by": self._made_by[variant], "ratio": timing.ratio, "ratio_low": timing.ratio_low,
            "ratio_high": timing.ratio_high, "latency_ms": timing.latency_ms, "n": len(right),
            "n_correct": int(right.sum()), "n_lost": int((before & ~right).sum()),
            "n_gained": int((right & ~before).sum()), "model_bytes": len(self._models[variant]),
        }  # fmt: skip

    def _pruned(self, budget: int) -> tuple[nn.Module, str]:
        """Return a trained network of a share of the latency, and what pruned it."""
        row = _best_trained(self._subject.name, budget)
        if row is not None and self._study.pruning is not None and not self._study.is_quick:
            return _trained_there(row, self._study.pruning, self._subject), f"{row['tool']} {row['value']} {row['variant']}"
        folder = self._study.work / "pruned" / f"{self._subject.name}-{budget}"
        options = silicut.PruneOptions(
            recipe=replace(RECOVERY, epochs=1 if self._study.is_quick else EPOCHS), measuring=self._measuring()
        )
        result = silicut.prune(
            self._subject.module, self._example, f"{budget}%", data=self._data, options=options, folder=folder,
            resumes=folder.exists(),
        )  # fmt: skip
        return result.module.eval(), f"silicut {options.value} {options.solver}"

    def _measuring(self) -> MeasureOptions:
        return QUICKLY if self._study.is_quick else SURELY


def _options() -> silicut.QuantiseOptions:
    return silicut.QuantiseOptions(methods=METHODS)


def _data(study: Study, subject: Subject) -> TrainingData:
    return subject.data.subset(N_QUICK, N_QUICK_UNSEEN) if study.is_quick else subject.data  # type: ignore[attr-defined]


def _best_trained(name: str, budget: int) -> dict[str, str] | None:
    """Return the row of the network that bench/pruning has trained best for a budget, None where there is none."""
    rows = read_rows(PRUNING / "results" / "trained.csv")
    known = [row for row in rows if row["network"] == name and row["budget"] == str(budget)]
    known = [row for row in known if row["recipe"] == _recipe(row).hash]
    return max(known, key=lambda row: int(row["n_correct"]), default=None)


def _recipe(row: dict[str, str]) -> silicut.Recipe:
    """Return how bench/pruning trains now; networks that an earlier version has trained have another hash."""
    return replace(RECOVERY, epochs=int(row["epochs"]), seed=int(row["seed"]), precision="bf16")


def _trained_there(row: dict[str, str], work: Path, subject: Subject) -> nn.Module:
    """Return a network with the weights of its last checkpoint; it is trained on where the training is not complete."""
    key: dict[str, Any] = {name: row[name] for name in ("network", "tool", "value", "variant")}
    key |= {name: int(row[name]) for name in ("budget", "seed", "epochs")}
    folder = work / "networks" / "-".join(row[name] for name in ("network", "tool", "value", "variant", "budget"))
    network = load_network(folder / "network.json", folder / "weights.safetensors")
    module, checkpoint = to_module(network), work / "checkpoints" / content_hash({**key, "network": network.structure_hash})
    fit(module, subject.data, _recipe(row), teacher=subject.module, folder=checkpoint)
    return module.eval()
