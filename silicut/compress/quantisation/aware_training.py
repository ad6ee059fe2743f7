"""Training a network at few bits, and how well training foretells the integers that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.learned import QuantisationAware
from silicut.compress.quantisation.learned_parts import LearnedNorm
from silicut.compress.quantisation.sites import Site
from silicut.graph import Network, to_module
from silicut.numerics import Quantisation, QuantisedNetwork
from silicut.records import BadFile, Progress, silent
from silicut.training import RECOVERY, Recipe, TrainingData, fit, from_first, recalibrate_batch_norm

QAT = replace(RECOVERY, learning_rate=0.01, weight_decay=1e-4, precision="fp32")
"""Training of a network that is rounded: smaller steps than after pruning, distilled from the float network.

In bfloat16, convolutions are cut to 8 significant bits: a step takes 0.8 of the time, and of ResNet-20's rounded numbers
1.5 % instead of 0.01 % are others than the integer network's.
"""

_PLAN = "bits.json"
_N_RECALIBRATED = 4000


def train_quantised(
    network: Network,
    plan: BitPlan,
    activations: Mapping[Site, Quantisation],
    data: TrainingData,
    recipe: Recipe = QAT,
    *,
    folder: str | Path | None = None,
    progress: Progress = silent,
) -> QuantisedNetwork:
    """Return the integer network of a float one that was trained while it was rounded.

    See `trained_while_rounded`, whose arguments these are.
    """
    return trained_while_rounded(network, plan, activations, data, recipe, folder=folder, progress=progress).quantised()


def trained_while_rounded(
    network: Network,
    plan: BitPlan,
    activations: Mapping[Site, Quantisation],
    data: TrainingData,
    recipe: Recipe = QAT,
    *,
    folder: str | Path | None = None,
    progress: Progress = silent,
) -> QuantisationAware:
    """Return the module of a float network after training, with the integer network and the float one that it stands for.

    It is distilled from the float network with the recipe's weight. Batch norms take their statistics again from training
    images in the end. With `folder` the state is kept after every epoch, and a call with the same arguments goes on from
    there.

    Args:
        network: as captured, with its batch norms; not changed.
        plan: the widths.
        activations: the quantisation of each site of the plan to start from.
        data: images to train on.
        recipe: how.
        folder: where to keep checkpoints; one training a folder.
        progress: told every step.

    Raises:
        UnsupportedModel: operators have no integer form.
        ConfigError: the plan names layers or filters that the network lacks.
        OutcomeError: the loss is no longer finite.
        BadFile: `folder` holds another training, or one at other widths.
    """
    module = QuantisationAware(network, plan, activations)
    if folder is not None:
        from_first(lambda: _claim(Path(folder), plan))
    fit(module, data, recipe, teacher=to_module(network), folder=folder, progress=progress)
    recalibrate_batch_norm(module, data, _N_RECALIBRATED, recipe.batch_size, recipe.seed)
    return module


def _claim(folder: Path, plan: BitPlan) -> None:
    """Note the widths that a folder's training has, which checkpoints do not tell apart."""
    path = folder / _PLAN
    if not path.exists():
        plan.save(path)
    elif BitPlan.load(path) != plan:
        raise BadFile(f"{folder} holds a training at other widths; choose another folder or delete it to start again")


@dataclass(frozen=True)
class Agreement:
    """How well training mode foretells a tensor of the integer network.

    Attributes:
        equal_frac: share of numbers that are equal.
        most_steps: the largest difference, in steps of the tensor.
    """

    equal_frac: float
    most_steps: float


@torch.no_grad()
def agreement(module: QuantisationAware, *inputs: Tensor) -> dict[str, Agreement]:
    """Return for every tensor how training mode and the integer network agree on it.

    Both go on from the integer network's numbers, so that differences do not add up. Batch norms use their own
    statistics. The module's mode stays.

    Args:
        module: what is trained.
        inputs: images, in order.
    """
    exact, found = module.integer().tensors(*inputs), {}
    scales = {name: steps.scales[0] for name, steps in module.quantised().quantisations.items()}

    def compare(name: str, values: Tensor) -> Tensor:
        steps = ((values - exact[name]) / scales[name]).abs()
        found[name] = Agreement(float((steps < 0.5).float().mean()), float(steps.max()))
        return exact[name]

    with frozen_norms(module):
        module.rounded(inputs, compare)
    return found


@contextmanager
def frozen_norms(module: QuantisationAware) -> Iterator[None]:
    """Let batch norms normalise by their own statistics, as the integer network does, and put their mode back afterwards."""
    norms = [part for part in module.modules() if isinstance(part, LearnedNorm)]
    before = [norm.training for norm in norms]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm, was_training in zip(norms, before, strict=True):
            norm.train(was_training)
