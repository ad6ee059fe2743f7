"""Does PyTorch compute the numbers of the integer reference, to the bit, in every tensor?"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from subjects import Study, Subject
from torch import Tensor

from silicut.compress.quantisation import BitPlan, LayerBits, Sites
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.numerics import IntegerExecutor, IntegerModule, QuantisedNetwork, quantise

SMALL_NETWORKS = Path(__file__).parents[2] / "tests" / "compress" / "quantisation"
N_IMAGES, N_CALIBRATION, N_RANDOM = 1000, 256, 300
NETWORKS = ("lenet5", "resnet8", "resnet20", "resnet56", "resnet56-projection")
N_QUICK_IMAGES, N_QUICK_RANDOM = 100, 20


def answer(study: Study) -> None:
    """Compare every tensor of the trained networks at three plans of widths, then of random small networks."""
    table = study.table("exact", ("network", "widths", "n_images"))
    n_images = N_QUICK_IMAGES if study.is_quick else N_IMAGES
    for name in (name for name in NETWORKS if name in study.networks):
        subject = study.subject(name)
        for widths in ("8/8", "4/4", "random 2..8"):
            if not table.has(network=name, widths=widths, n_images=n_images):
                compared = _compared(_lowered(subject, widths), subject.unseen(n_images))
                table.add(network=name, widths=widths, n_images=n_images, **compared)
    _answer_random(study)


def _lowered(subject: Subject, widths: str) -> QuantisedNetwork:
    plan = _plan(subject.sites, widths)
    found = histograms(subject.sites.network, subject.sites.limits, subject.calibration(N_CALIBRATION))
    return lower(subject.sites, plan, activation_quantisations(subject.sites, plan, found))


def _plan(sites: Sites, widths: str) -> BitPlan:
    if widths.startswith("random"):
        rng = random.Random(0)
        layers = {layer: LayerBits(rng.randint(2, 8), rng.randint(2, 8)) for layer in sites.layers}
        return BitPlan(default=LayerBits(8, 8), layers=layers, inner_bits=rng.randint(2, 8))
    return BitPlan.uniform(*map(int, widths.split("/")))


def _compared(quantised: QuantisedNetwork, batches: Iterable[Tensor]) -> dict[str, Any]:
    """Return how many numbers of all tensors were compared, and how many differ."""
    reference, module = IntegerExecutor(quantised.network), IntegerModule(quantised.network)
    n_numbers = n_different = 0
    (name,) = quantised.network.inputs
    for images in batches:
        integers = quantise(images.numpy(), quantised.inputs[0])
        expected, found = reference.run({name: integers}), module.run({name: torch.from_numpy(integers)})
        for tensor, values in expected.items():
            n_numbers += values.size
            n_different += int((values != found[tensor].numpy()).sum())
    return {"n_tensors": len(quantised.network.tensors), "n_numbers": n_numbers, "n_different": n_different}


def _answer_random(study: Study) -> None:
    sys.path.insert(0, str(SMALL_NETWORKS))
    from small_cnns import random_images, random_quantised

    table = study.table("exact_random", ("seed",))
    for seed in range(N_QUICK_RANDOM if study.is_quick else N_RANDOM):
        if not table.has(seed=seed):
            *_, quantised = random_quantised(seed)
            bits = [q.format.bits for name, q in quantised.quantisations.items() if name in quantised.origins]
            compared = _compared(quantised, [random_images(1000 + seed, 16)])
            table.add(seed=seed, least_bits=int(np.min(bits)), most_bits=int(np.max(bits)), **compared)
