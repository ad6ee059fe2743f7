"""Accuracy after quantisation-aware training, beside the float network and beside no training."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from subjects import Study, Subject
from torch import nn

from silicut.compress.quantisation import BitPlan
from silicut.compress.quantisation.aware_training import QAT, train_quantised
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.compress.quantisation.ranges import RANGES
from silicut.graph import capture
from silicut.numerics import QuantisedModule
from silicut.training import Recipe, TrainingData, evaluate

NETWORK = "resnet20"
BITS = ((4, 4), (3, 3))
EDGE_BITS, RANGE = 8, "mse"
EPOCHS, N_CALIBRATION = 8, 512
N_QUICK, N_QUICK_UNSEEN = 1280, 500


def answer(study: Study) -> None:
    """Train ResNet-20 at each pair of widths, its first and last layer at 8 bits."""
    if NETWORK not in study.networks:
        return
    table = study.table("qat", ("network", "weight_bits", "activation_bits", "epochs", "recipe"))
    subject, recipe = study.subject(NETWORK), replace(QAT, epochs=1 if study.is_quick else EPOCHS)
    data = subject.data.subset(N_QUICK, N_QUICK_UNSEEN) if study.is_quick else subject.data  # type: ignore[attr-defined]
    for weight_bits, activation_bits in BITS:
        key = {
            "network": NETWORK,
            "weight_bits": weight_bits,
            "activation_bits": activation_bits,
            "epochs": recipe.epochs,
            "recipe": recipe.hash,
        }
        if not table.has(**key):
            plan = BitPlan.uniform(
                weight_bits, activation_bits, EDGE_BITS, subject.sites.layers[0], subject.sites.layers[-1]
            )
            table.add(**key, **_outcome(study, subject, plan, data, recipe))


def _outcome(study: Study, subject: Subject, plan: BitPlan, data: TrainingData, recipe: Recipe) -> dict[str, Any]:
    """Return how many unseen images are right in float, after rounding alone, and after training."""
    sites = subject.sites
    found = histograms(sites.network, sites.limits, subject.calibration(N_CALIBRATION))
    activations = activation_quantisations(sites, plan, found, RANGES[RANGE])
    folder, start_s = study.work / "qat" / f"{plan.hash}-{recipe.hash}", time.perf_counter()
    network = capture(subject.module, subject.unseen(2, 2)[0])
    trained = train_quantised(network, plan, activations, data, recipe, folder=folder)
    seconds = time.perf_counter() - start_s
    rounded = lower(sites, plan, activations)
    in_float, untrained, right = (
        _right(m, data) for m in (subject.module, QuantisedModule(rounded), QuantisedModule(trained))
    )
    return {
        "edge_bits": EDGE_BITS,
        "ranges": RANGE,
        "n": len(right),
        "float_correct": int(in_float.sum()),
        "untrained_correct": int(untrained.sum()),
        "n_correct": int(right.sum()),
        "n_lost": int(np.sum(in_float & ~right)),
        "n_gained": int(np.sum(right & ~in_float)),
        "seconds_of_this_start": seconds,
    }


def _right(module: nn.Module, data: TrainingData) -> np.ndarray:
    return evaluate(module.eval(), data).is_correct
