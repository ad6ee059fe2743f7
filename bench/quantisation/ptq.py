"""How right are networks quantised after training, by method and width, and is mixed precision better than uniform?

Rows of `ptq`: one network, method and pair of widths, counted image by image against the float network. Rows of
`mixed`: widths searched within the bit operations of a uniform plan (its first and last layer at 8 bits), counted against
that uniform plan; both are rounded in the same way on the same images.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np
from subjects import Study, Subject

from silicut.compress.quantisation import BitPlan, LayerBits
from silicut.compress.quantisation.bit_search import BOPS, bit_operations, search_bits, weight_bits
from silicut.compress.quantisation.calibration import histograms
from silicut.compress.quantisation.post_training import (
    ADAPTIVE,
    Methods,
    nearest_weights,
    quantise_after_training,
    with_edges,
)
from silicut.compress.quantisation.ranges import RANGES
from silicut.compress.quantisation.sensitivity import Sensitivity, measure_sensitivity
from silicut.numerics import QuantisedModule
from silicut.training import evaluate

EDGE_BITS = 8
N_CALIBRATION, N_SENSITIVITY = 512, 256
WIDTHS = (8, 4, 3, 2)
SEARCHED = (2, 3, 4, 5, 6, 7, 8)
BEST = Methods(rounding=ADAPTIVE)
METHODS: Mapping[str, Methods] = {
    "min-max": Methods(ranges="min-max", scales="max"),
    "percentile": Methods(ranges="percentile"),
    "kl": Methods(ranges="kl"),
    "mse": Methods(),
    "mse, equalised": Methods(equalises=True),
    "mse, biases": Methods(corrects_biases=True),
    "mse, adaptive": BEST,
    "mse, equalised, adaptive": Methods(rounding=ADAPTIVE, equalises=True),
}
QUICK_METHODS = ("min-max", "mse", "mse, biases")
SUBJECTS: Mapping[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "resnet20": (WIDTHS, tuple(METHODS)),
    "resnet8": ((8,), QUICK_METHODS),
    "resnet56-projection": ((8,), QUICK_METHODS),
}
"""By network, the widths and the methods; mixed precision is searched for the first one alone."""


def answer(study: Study) -> None:
    """Fill both tables."""
    mixed, *_ = SUBJECTS
    for name in SUBJECTS:
        if name in study.networks:
            _by_method(study, study.subject(name))
    if mixed in study.networks:
        _mixed(study, study.subject(mixed))


def _uniform(subject: Subject, bits: int) -> BitPlan:
    return with_edges(BitPlan.uniform(bits, bits), subject.sites, EDGE_BITS)


class _Judge:
    """Counts right images of plans, each once."""

    def __init__(self, study: Study, subject: Subject) -> None:
        self.subject = subject
        self.images = subject.calibration(128 if study.is_quick else N_CALIBRATION)
        self._n_batches = 2 if study.is_quick else None
        self._known: dict[str, np.ndarray] = {}

    def right(self, plan: BitPlan | None, methods: Methods = BEST) -> np.ndarray:
        """Return whether each image is classified right by the integer network of a plan, or by the float one (None)."""
        key = "float" if plan is None else f"{plan.hash} {methods}"
        if key not in self._known:
            module = self.subject.module
            if plan is not None:
                made = quantise_after_training(self.subject.sites.network, plan, self.images, methods)
                module = QuantisedModule(made.quantised)
            batches = list(self.subject.data.evaluation_batches(250))[: self._n_batches]
            self._known[key] = evaluate(module, batches).is_correct
        return self._known[key]


def _by_method(study: Study, subject: Subject) -> None:
    rows, judge = study.table("ptq", ("network", "bits", "method")), _Judge(study, subject)
    widths, names = SUBJECTS[subject.name]
    for bits in widths[:2] if study.is_quick else widths:
        for method in names:
            key = {"network": subject.name, "bits": f"{bits}/{bits}", "method": method}
            if rows.has(**key):
                continue
            started = time.monotonic()
            exact, found = judge.right(None), judge.right(_uniform(subject, bits), METHODS[method])
            rows.add(
                **key, edge_bits=EDGE_BITS, **_compared(exact, found),
                n_calibration=N_CALIBRATION, seconds=time.monotonic() - started,
            )  # fmt: skip


def _mixed(study: Study, subject: Subject) -> None:
    rows, judge = study.table("mixed", ("network", "uniform", "searched")), _Judge(study, subject)
    for bits in (4,) if study.is_quick else (4, 3, 5):
        uniform = _uniform(subject, bits)
        budget = bit_operations(subject.sites, uniform)
        for what, fixed in (("all layers", {}), ("inner layers", _edges(subject))):
            key = {"network": subject.name, "uniform": f"{bits}/{bits}", "searched": what}
            if rows.has(**key):
                continue
            found = search_bits(subject.sites, _sensitivity(study, subject), {BOPS: budget}, fixed)
            rows.add(
                **key, **_compared(judge.right(uniform), judge.right(found.plan)),
                float_correct=int(judge.right(None).sum()), bops_frac=bit_operations(subject.sites, found.plan) / budget,
                weight_bits_frac=weight_bits(subject.sites, found.plan) / weight_bits(subject.sites, uniform),
                gap_frac=found.solution.gap_frac, solve_s=found.solution.time_s, plan=_written(found.plan, subject),
            )  # fmt: skip


def _edges(subject: Subject) -> dict[str, LayerBits]:
    layers = subject.sites.layers
    return dict.fromkeys((layers[0], layers[-1]), LayerBits(EDGE_BITS, EDGE_BITS))


def _written(plan: BitPlan, subject: Subject) -> str:
    return " ".join(str(plan.of(layer)) for layer in subject.sites.layers)


def _sensitivity(study: Study, subject: Subject) -> Sensitivity:
    """Return the sensitivity, measured when it is first asked for."""
    path = study.work / f"sensitivity-{subject.name}.json"
    if not path.exists():
        images = subject.calibration(128 if study.is_quick else N_SENSITIVITY)
        found = histograms(subject.sites.network, subject.sites.limits, images)
        weights = {b: nearest_weights(subject.sites, BitPlan.uniform(b, b), BEST.scales) for b in SEARCHED}
        path.parent.mkdir(parents=True, exist_ok=True)
        measure_sensitivity(subject.sites, weights, found, images, RANGES[BEST.ranges]).save(path)
    return Sensitivity.load(path)


def _compared(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Return counts and the difference in points with its 95 % interval, image by image."""
    n, n_gained, n_lost = len(before), int((after & ~before).sum()), int((before & ~after).sum())
    difference = (n_gained - n_lost) / n
    half = 1.96 * math.sqrt(max((n_gained + n_lost) / n - difference**2, 0.0) / n)
    return {
        "n": n, "before_correct": int(before.sum()), "correct": int(after.sum()), "n_gained": n_gained, "n_lost": n_lost,
        "points": 100 * difference, "points_low": 100 * (difference - half), "points_high": 100 * (difference + half),
    }  # fmt: skip
