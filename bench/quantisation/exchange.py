"""Do files compute in other programs what the integers do, and do they come back?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from subjects import Study
from torch import Tensor

from silicut.compress.quantisation import BitPlan, Sites, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.flows.executors import executor
from silicut.graph import Network, capture
from silicut.numerics import IntegerExecutor, QuantisedNetwork, run_integer
from silicut.numerics.onnx import from_qdq, from_qonnx, to_qdq, to_qonnx
from silicut.numerics.schema import INPUTS
from silicut.records import UnsupportedModel
from silicut.zoo import network

N_IMAGES, N_CALIBRATION = 1000, 256
TRAINED = ("lenet5", "resnet8", "resnet20", "resnet56", "resnet56-projection")
UNTRAINED = {
    "resnet18": 224,
    "mobilenet-v2": 224,
    "densenet121": 224,
    "vgg16-bn-cifar": 32,
    "resnet50": 224,
    "googlenet": 224,
    "squeezenet-1.1": 224,
    "alexnet": 224,
}
"""Networks of the zoo with random weights, and the side of their images."""
N_RANDOM_IMAGES = 4
N_QUICK_IMAGES, N_QUICK_NETWORKS = 100, 1


def answer(study: Study) -> None:
    """Run each network as an integer one and as a QDQ file, and write and read its files."""
    table = study.table("exchange", ("network", "n_images"))
    n_images = N_QUICK_IMAGES if study.is_quick else N_IMAGES
    for name in (name for name in TRAINED if name in study.networks):
        if not table.has(network=name, n_images=n_images):
            subject = study.subject(name)
            quantised = _lowered(subject.sites, subject.calibration(N_CALIBRATION))
            found = _compared(quantised, subject.unseen(n_images))
            table.add(network=name, n_images=n_images, weights="trained", **found, **_came_back(quantised))
    for name in list(UNTRAINED)[: N_QUICK_NETWORKS if study.is_quick else None]:
        if not table.has(network=name, n_images=N_RANDOM_IMAGES):
            images = _random_images(UNTRAINED[name])
            quantised = _lowered(find_sites(quantisable(_untrained(name, images[0]))), images)
            found = _compared(quantised, images)
            table.add(network=name, n_images=N_RANDOM_IMAGES, weights="random", **found, **_came_back(quantised))


def _lowered(sites: Sites, images: list[Tensor]) -> QuantisedNetwork:
    plan = BitPlan.uniform(8, 8)
    return lower(sites, plan, activation_quantisations(sites, plan, histograms(sites.network, sites.limits, images)))


def _untrained(name: str, example: Tensor) -> Network:
    torch.manual_seed(0)
    return capture(network(name).eval(), example)


def _random_images(side: int) -> list[Tensor]:
    return list(torch.randn(N_RANDOM_IMAGES, 3, side, side, generator=torch.Generator().manual_seed(0)).split(1))


@dataclass
class _Differences:
    """Of whole networks, and of operators that read what the runtime made."""

    n_images: int = 0
    n_same_top1: int = 0
    n_numbers: int = 0
    n_different: int = 0
    output_steps: float = 0.0
    operator_steps: int = 0
    n_off: int = 0

    def row(self) -> dict[str, Any]:
        """Return the columns of a table."""
        return {
            "same_top1_frac": self.n_same_top1 / self.n_images,
            "output_steps": self.output_steps,
            "n_numbers": self.n_numbers,
            "n_different": self.n_different,
            "operator_steps": self.operator_steps,
            "n_off": self.n_off,
        }


def _compared(quantised: QuantisedNetwork, batches: Iterable[Tensor]) -> dict[str, Any]:
    """Return how an integer network differs from its QDQ file in ONNX Runtime.

    The columns: the part of images with the same best class; the largest difference of an output in its steps; how many
    numbers of stored tensors there are and how many differ; of operators that are fed with what the runtime made, the
    largest difference in steps and the number of different results.
    """
    reference, runtime = executor(quantised, "pytorch"), executor(quantised, "onnxruntime")
    operators, total = IntegerExecutor(quantised.network), _Differences()
    (output,) = quantised.network.outputs
    for images in batches:
        wanted, found = reference.tensors([images.numpy()]), runtime.tensors([images.numpy()])
        whole = _as_integers(quantised, output, found[output])
        total.n_images += len(images)
        total.n_same_top1 += int((wanted[output].argmax(1) == whole.argmax(1)).sum())
        total.output_steps = max(total.output_steps, float(np.abs(wanted[output].astype(np.int64) - whole).max()))
        stored = {name: values for name, values in found.items() if values.dtype.kind in "iu"} | {output: whole}
        total.n_numbers += sum(values.size for values in stored.values())
        total.n_different += sum(int((wanted[name] != values).sum()) for name, values in stored.items())
        _add_operators(total, quantised, operators, stored)
    return total.row()


def _as_integers(quantised: QuantisedNetwork, name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu":
        return values
    steps = quantised.quantisations[name]
    return np.rint(values / np.array(steps.scales)).astype(np.int64) + np.array(steps.zero_points)


def _add_operators(
    total: _Differences, quantised: QuantisedNetwork, operators: IntegerExecutor, stored: Mapping[str, np.ndarray]
) -> None:
    values = dict(stored)
    for operator in quantised.network.operators:
        name = operator.outputs[0]
        made = operators.operators[operator.name].run(*(values[ref.name] for ref in operator.arguments[INPUTS]))
        if name not in stored:
            values[name] = made
            continue
        difference = np.abs(made.astype(np.int64) - stored[name])
        total.operator_steps = max(total.operator_steps, int(difference.max()))
        total.n_off += int(np.count_nonzero(difference))


def _came_back(quantised: QuantisedNetwork) -> dict[str, str]:
    """Return for each kind of file whether every integer of every tensor comes back, or why none is written."""
    (name,) = quantised.network.inputs
    shape = quantised.network.tensors[name].sizes(1)
    images = np.random.default_rng(0).integers(0, quantised.inputs[0].format.max + 1, shape)
    wanted = run_integer(quantised.network, {name: images})
    answers = {}
    for kind, write, read in (("qdq", to_qdq, from_qdq), ("qonnx", to_qonnx, from_qonnx)):
        try:
            found = run_integer(read(write(quantised)).network, {name: images})
        except UnsupportedModel as error:
            answers[f"{kind}_back"] = str(error)
            continue
        is_same = found.keys() == wanted.keys() and all(np.array_equal(found[key], wanted[key]) for key in wanted)
        answers[f"{kind}_back"] = "exact" if is_same else "other integers"
    return answers
