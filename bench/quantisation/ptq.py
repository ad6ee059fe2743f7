"""How right are networks quantised after training, by method and width, and is mixed precision better than uniform?

Rows of `ptq`: one network, method and pair of widths, counted image by image against the float network. Rows of
`mixed`: widths searched within the bit operations of a uniform plan (its first and last layer at 8 bits), counted against
that uniform plan; both are rounded in the same way on the same images, for several draws of these.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from subjects import Study, Subject
from torch import Tensor, nn
from torch.nn import functional

from silicut.compress.quantisation import BitPlan, LayerBits
from silicut.compress.quantisation.bit_search import BOPS, bit_operations, search_bits, weight_bits
from silicut.compress.quantisation.post_training import ADAPTIVE, Methods, quantise_after_training, with_edges
from silicut.compress.quantisation.sensitivity import Sensitivity
from silicut.flows.bit_search import N_IMAGES, measured_sensitivity
from silicut.numerics import QuantisedModule
from silicut.training import evaluate, top1

EDGE_BITS = 8
N_CALIBRATION = 512
WIDTHS = (8, 4, 3, 2)
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
CALIBRATIONS = (0, 1, 2)
"""Seeds of the calibration images over which mixed precision is compared: rounding depends on them."""
UNIFORM = (4, 3)
"""Widths of the uniform plans that searched ones cost as much as."""
SUBJECTS: Mapping[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "resnet20": (WIDTHS, tuple(METHODS)),
    "lenet5": ((8, 4), (*QUICK_METHODS, "mse, adaptive")),
    "resnet8": ((8,), QUICK_METHODS),
    "resnet56-projection": ((8,), QUICK_METHODS),
}
"""By network, the widths and the methods."""
MIXED = "resnet20"


def answer(study: Study) -> None:
    """Count right images by method and width."""
    for name in SUBJECTS:
        if name in study.networks:
            _by_method(study, study.subject(name))


def answer_mixed(study: Study) -> None:
    """Search bits, and count right images beside uniform bits of the same cost."""
    if MIXED in study.networks:
        _mixed(study, study.subject(MIXED))


def _uniform(subject: Subject, bits: int) -> BitPlan:
    return with_edges(BitPlan.uniform(bits, bits), subject.sites, EDGE_BITS)


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What a network makes of the unseen images, on average over its calibrations.

    Attributes:
        right: how often each is classified right, 0..1, (n,).
        losses: the cross-entropy of each label in nats, (n,).
    """

    right: np.ndarray
    losses: np.ndarray


class _Judge:
    """Runs the networks of plans on the unseen images, each once for every seed of calibration images."""

    def __init__(self, study: Study, subject: Subject, seeds: tuple[int, ...] = (0,)) -> None:
        self.subject, self._seeds = subject, seeds
        self._n_images = 128 if study.is_quick else N_CALIBRATION
        self._n_batches = 2 if study.is_quick else None
        self._known: dict[str, _Outcome] = {}

    def outcome(self, plan: BitPlan | None, methods: Methods = BEST) -> _Outcome:
        """Return that of the integer network of a plan, or of the float network (None)."""
        key = "float" if plan is None else f"{plan.hash} {methods}"
        if key not in self._known:
            found = [self._outcome(module) for module in self._modules(plan, methods)]
            self._known[key] = _Outcome(*(np.mean([getattr(o, name) for o in found], 0) for name in ("right", "losses")))
        return self._known[key]

    def _modules(self, plan: BitPlan | None, methods: Methods) -> Iterator[nn.Module]:
        if plan is None:
            yield self.subject.module
            return
        for seed in self._seeds:
            images = self.subject.calibration(self._n_images, seed)
            yield QuantisedModule(quantise_after_training(self.subject.sites.network, plan, images, methods).quantised)

    def _outcome(self, module: nn.Module) -> _Outcome:
        batches = list(self.subject.data.evaluation_batches(250))[: self._n_batches]
        losses = []

        def noted(logits: Tensor, labels: Tensor) -> Tensor:
            losses.append(functional.cross_entropy(logits.double(), labels, reduction="none").numpy())
            return top1(logits, labels)

        right = evaluate(module, batches, noted).is_correct
        return _Outcome(right.astype(float), np.concatenate(losses))


def _by_method(study: Study, subject: Subject) -> None:
    rows, judge = study.table("ptq", ("network", "bits", "method")), _Judge(study, subject)
    widths, names = SUBJECTS[subject.name]
    for bits in widths[:2] if study.is_quick else widths:
        for method in names:
            key = {"network": subject.name, "bits": f"{bits}/{bits}", "method": method}
            if rows.has(**key):
                continue
            started = time.monotonic()
            exact, found = judge.outcome(None), judge.outcome(_uniform(subject, bits), METHODS[method])
            rows.add(
                **key, edge_bits=EDGE_BITS, **_compared(exact.right, found.right),
                n_calibration=N_CALIBRATION, seconds=time.monotonic() - started,
            )  # fmt: skip


def _mixed(study: Study, subject: Subject) -> None:
    rows, judge = study.table("mixed", ("network", "uniform", "searched")), _Judge(study, subject, CALIBRATIONS)
    for bits in UNIFORM[:1] if study.is_quick else UNIFORM:
        uniform = _uniform(subject, bits)
        budget = bit_operations(subject.sites, uniform)
        for what, fixed in (("all layers", {}), ("inner layers", _edges(subject))):
            key = {"network": subject.name, "uniform": f"{bits}/{bits}", "searched": what}
            if rows.has(**key):
                continue
            found = search_bits(subject.sites, _sensitivity(study, subject), {BOPS: budget}, fixed)
            exact, before, after = (judge.outcome(plan) for plan in (None, uniform, found.plan))
            rows.add(
                **key, **_compared(before.right, after.right), float_correct=float(exact.right.sum()),
                n_calibrations=len(CALIBRATIONS),
                **_loss_compared(exact, before, after), bops_frac=bit_operations(subject.sites, found.plan) / budget,
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
        images = subject.calibration(128 if study.is_quick else N_IMAGES)
        path.parent.mkdir(parents=True, exist_ok=True)
        measured_sensitivity(subject.sites, images, BEST).save(path)
    return Sensitivity.load(path)


def _compared(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Return counts and the difference in points with its 95 % interval, image by image."""
    n, change = len(before), after - before
    mean, half = float(change.mean()), 1.96 * float(change.std()) / math.sqrt(n)
    return {
        "n": n, "before_correct": float(before.sum()), "correct": float(after.sum()),
        "n_gained": float(change.clip(0).sum()), "n_lost": float(-change.clip(max=0).sum()),
        "points": 100 * mean, "points_low": 100 * (mean - half), "points_high": 100 * (mean + half),
    }  # fmt: skip


def _loss_compared(exact: _Outcome, before: _Outcome, after: _Outcome) -> dict[str, float]:
    """Return mean cross-entropies, and the difference of the last two with its 95 % interval, image by image."""
    change = after.losses - before.losses
    mean, half = float(change.mean()), 1.96 * float(change.std()) / math.sqrt(len(change))
    return {
        "float_loss": float(exact.losses.mean()), "before_loss": float(before.losses.mean()),
        "loss": float(after.losses.mean()), "loss_change": mean, "loss_low": mean - half, "loss_high": mean + half,
    }  # fmt: skip
