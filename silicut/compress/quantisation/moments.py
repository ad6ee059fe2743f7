"""Means and second moments of what a layer reads: all that its error in the mean square depends on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from silicut.compress.quantisation.kinds import padding_of
from silicut.graph import Network, Operator, Ref
from silicut.graph.module import run_operator

_MOST_NUMBERS = 2**24  # of the windows that are laid out at once


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the windows that a layer reads in the float network (x) and in the quantised one (q), about their means.

    Windows are those of one group of channels, flattened as the weights of a filter are (k numbers); float64.

    Attributes:
        quantised: E[q q'] - E[q] E[q]', array (groups, k, k).
        cross: E[q x'] - E[q] E[x]', array (groups, k, k).
    """

    quantised: Tensor
    cross: Tensor


def moments(network: Network, layer: Operator, exact: Tensor, quantised: Tensor) -> Moments:
    """Return the moments of a layer's windows over all images and positions.

    Args:
        network: that the layer belongs to.
        layer: a convolution or linear layer.
        exact, quantised: what it reads, of equal shape.
    """
    shape = network.parameters[layer.arguments["weight"].name].shape
    groups, k = int(layer.arguments.get("groups", 1)), math.prod(shape[1:])
    sums = [torch.zeros(groups, k, dtype=torch.float64) for _ in range(2)]
    products = [torch.zeros(groups, k, k, dtype=torch.float64) for _ in range(2)]
    n = 0
    for x, q in zip(_windows(network, layer, exact), _windows(network, layer, quantised), strict=True):
        n += x.shape[1]
        square = q.mT @ q
        cross = square if exact is quantised else q.mT @ x
        for total, part in zip([*sums, *products], [x.sum(1), q.sum(1), square, cross], strict=True):
            total.add_(part)
    mean_x, mean_q, of_q, of_both = (total / n for total in [*sums, *products])
    outer = mean_q[:, :, None]
    return Moments(of_q - outer * mean_q[:, None], of_both - outer * mean_x[:, None])


def mean_outputs(layer: Operator, weight: np.ndarray, read: Tensor) -> np.ndarray:
    """Return the mean of each channel that a layer makes of what it reads, its bias left out: array (n_filters,)."""
    given, output = layer.with_arguments(input=Ref("read"), weight=Ref("weight"), bias=None), layer.outputs[0]
    total, n = np.zeros(len(weight)), 0
    for part in _parts(read, read[0].numel() * len(weight)):
        values = {"read": part, "weight": torch.from_numpy(weight)}
        with torch.no_grad():
            run_operator(given, values, len(part))
        made = values[output].flatten(2) if layer.kind == "conv2d" else values[output].flatten(0, -2).T[None]
        total += made.sum((0, 2), dtype=torch.float64).numpy()
        n += made.shape[0] * made.shape[2]
    return total / n


def _windows(network: Network, layer: Operator, read: Tensor) -> Iterator[Tensor]:
    """Yield what each filter of a group is multiplied with, some images at a time: arrays (groups, n_windows, k)."""
    if layer.kind == "linear":
        yield read.reshape(1, -1, read.shape[-1])
        return
    arguments, kernel = layer.arguments, network.parameters[layer.arguments["weight"].name].shape[2:]
    top, left, bottom, right = padding_of(layer, network)
    images = functional.pad(read, [left, right, top, bottom])
    for part in _parts(images, images[0].numel() * math.prod(kernel)):
        columns = functional.unfold(part, kernel, arguments["dilation"], 0, arguments["stride"])
        apart = columns.reshape(len(part), int(arguments["groups"]), -1, columns.shape[-1])
        yield apart.permute(1, 0, 3, 2).flatten(1, 2)


def _parts(images: Tensor, n_numbers: int) -> Iterator[Tensor]:
    """Yield some images at a time, so many that with n numbers for each there are not too many."""
    step = max(1, _MOST_NUMBERS // n_numbers)
    for start in range(0, len(images), step):
        yield images[start : start + step]
