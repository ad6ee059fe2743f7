"""Accuracy after quantisation-aware training, beside the float network and beside no training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from subjects import Study, Subject

from silicut.compress.quantisation import BitPlan
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.learned import QAT, QuantisationAware
from silicut.graph import capture
from silicut.records import content_hash
from silicut.training import evaluate, fit

NETWORK = "resnet20"
BITS = ((4, 4), (3, 3))
EPOCHS, N_CALIBRATION, N_QUICK = 8, 512, 2560


def answer(study: Study) -> None:
    """Train ResNet-20 at each pair of widths, its first and last layer at 8 bits."""
    if NETWORK not in study.networks:
        return
    table, subject = (
        study.table("qat", ("network", "weight_bits", "activation_bits", "epochs", "seed")),
        study.subject(NETWORK),
    )
    for weight_bits, activation_bits in BITS:
        epochs = 1 if study.is_quick else EPOCHS
        key = {
            "network": NETWORK,
            "weight_bits": weight_bits,
            "activation_bits": activation_bits,
            "epochs": epochs,
            "seed": 0,
        }
        if not table.has(**key):
            table.add(**key, **_trained(study, subject, key))


def _trained(study: Study, subject: Subject, key: Mapping[str, object]) -> dict[str, object]:
    sites = subject.sites
    plan = BitPlan.uniform(int(key["weight_bits"]), int(key["activation_bits"]), 8, sites.layers[0], sites.layers[-1])  # type: ignore[call-overload]
    found = histograms(sites.network, sites.limits, subject.calibration(N_CALIBRATION))
    example = subject.unseen(2, 2)[0]
    module = QuantisationAware(capture(subject.module, example), plan, activation_quantisations(sites, plan, found))
    data = subject.data.subset(N_QUICK, 500) if study.is_quick else subject.data  # type: ignore[attr-defined]
    float_right, first_right = (evaluate(each, data).is_correct for each in (subject.module, module))
    recipe = replace(QAT, epochs=int(key["epochs"]))  # type: ignore[call-overload]
    folder = study.work / "qat" / content_hash({**key, "recipe": recipe.to_json()})
    epochs = fit(module, data, recipe, teacher=subject.module, folder=folder)
    right = evaluate(module, data).is_correct
    return {
        "recipe": recipe.hash, "n": len(right), "float_correct": int(float_right.sum()),
        "untrained_correct": int(first_right.sum()), "n_correct": int(right.sum()),
        "n_lost": int(np.sum(float_right & ~right)), "n_gained": int(np.sum(right & ~float_right)),
        "seconds": sum(epoch.seconds for epoch in epochs),
    }  # fmt: skip
