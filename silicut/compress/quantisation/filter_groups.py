"""Two groups of filters in one layer, with weights of different widths: which filters, and in which order they lie.

Engines that multiply narrow weights faster want every layer's filters split at a ratio of their own, as N3H-Core's two cores
do, and Quasar-ViT (arXiv 2407.18175) with rows of 4 and 8 bits. The wide format goes to the filters whose output gains most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from silicut.compress.quantisation.bits import BitPlan, FilterGroup, LayerBits
from silicut.compress.quantisation.calibration import Images
from silicut.compress.quantisation.moments import moments
from silicut.compress.quantisation.sites import Sites
from silicut.compress.quantisation.walk import Walk, in_memory
from silicut.compress.quantisation.weights import quantise_weights, weight_scales
from silicut.graph import ChannelGroup, Channels, Network, find_channels
from silicut.records import ConfigError

Floats = NDArray[np.float64]
ScalesOf = Callable[[NDArray[np.float32], NDArray[np.int64]], Floats]


@dataclass(frozen=True, kw_only=True)
class TwoWidths:
    """How the filters of one layer are split.

    Attributes:
        wide_bits: of the weights of some filters.
        narrow_bits: of the others, fewer.
        wide_frac: how much of the filters is wide, 0..1; rounded to a whole number of tiles.
        tile: filters that an engine computes together; wide filters come in multiples of it, as far as there are filters.

    Raises:
        ConfigError: the attributes are not as above.
    """

    wide_bits: int
    narrow_bits: int
    wide_frac: float
    tile: int = 1

    def __post_init__(self) -> None:
        problems = []
        if self.narrow_bits >= self.wide_bits:
            problems.append(f"narrow_bits must be fewer than wide_bits ({self.wide_bits}), not {self.narrow_bits}")
        if not 0.0 <= self.wide_frac <= 1.0:
            problems.append(f"wide_frac must be 0..1, not {self.wide_frac:g}")
        if self.tile < 1:
            problems.append(f"tile must be 1 or more, not {self.tile}")
        if problems:
            raise ConfigError(*problems)

    def n_wide(self, n_filters: int) -> int:
        """Return the number of wide filters of a layer.

        Example:
            >>> split = TwoWidths(wide_bits=8, narrow_bits=4, wide_frac=0.3, tile=8)
            >>> split.n_wide(64), split.n_wide(20)
            (16, 8)
        """
        return min(n_filters, self.tile * round(self.wide_frac * n_filters / self.tile))


def output_errors(weight: NDArray[np.float32], bits: int, covariance: Floats, scales_of: ScalesOf = weight_scales) -> Floats:
    """Return the variance of the error of each filter's output when its weights are rounded: d' C d for the error d.

    The mean of the error is left out, since it goes into the bias.

    Args:
        weight: array (n_filters, ...).
        bits: width of all weights.
        covariance: of what the filters of each group of channels read, array (groups, k, k).
        scales_of: chooses the scales.
    """
    widths = np.full(len(weight), bits, np.int64)
    steps = quantise_weights(weight, widths, scales_of(weight, widths))
    wrong = (weight - steps.floats).astype(np.float64).reshape(len(covariance), -1, covariance.shape[1])
    errors: Floats = ((wrong @ covariance) * wrong).sum(axis=2).reshape(-1)
    return errors


def wide_filters(gains: Floats, n_wide: int) -> tuple[int, ...]:
    """Return the filters of largest gain, increasing; of equal ones the first.

    Example:
        >>> wide_filters(np.array([0.1, 0.5, 0.5, 0.2]), 2), wide_filters(np.array([1.0, 1.0]), 1)
        ((1, 2), (0,))
    """
    return tuple(sorted(np.argsort(-gains, kind="stable")[:n_wide].tolist()))


def split_filters(
    sites: Sites,
    plan: BitPlan,
    splits: Mapping[str, TwoWidths],
    images: Images,
    scales_of: ScalesOf = weight_scales,
) -> BitPlan:
    """Return the plan in which the filters of some layers are split: those are wide whose outputs gain most by it.

    The gain of a filter is the error of its output at the narrow width less that at the wide one (`output_errors`).

    Args:
        sites: where the float network is rounded.
        plan: the widths; those of the split layers' weights are replaced.
        splits: by the layer's name.
        images: calibration batches; all are in memory at once.
        scales_of: chooses the scales of weights.

    Raises:
        ConfigError: a layer is not one of the network.
    """
    if unknown := sorted(splits.keys() - set(sites.layers)):
        raise ConfigError(f"splits must name layers of the network such as {sites.layers[0]}, not {', '.join(unknown)}")
    layers, groups = dict(plan.layers), dict(plan.filter_groups)
    walk = Walk(sites.network, in_memory(images))
    while not walk.is_over():
        layer = walk.operator
        if layer.name in splits:
            split, read = splits[layer.name], walk.values[layer.arguments["input"].name]
            weight = sites.network.parameters[layer.arguments["weight"].name]
            covariance = moments(sites.network, layer, read, read).quantised.numpy()
            at = {b: output_errors(weight, b, covariance, scales_of) for b in (split.narrow_bits, split.wide_bits)}
            wide = wide_filters(at[split.narrow_bits] - at[split.wide_bits], split.n_wide(len(weight)))
            layers[layer.name] = LayerBits(split.wide_bits, plan.of(layer.name).activation_bits)
            groups[layer.name] = _groups(wide, len(weight), split)
        walk.step()
    return replace(plan, layers=layers, filter_groups=groups)


def _groups(wide: tuple[int, ...], n_filters: int, split: TwoWidths) -> tuple[FilterGroup, ...]:
    """Return the groups that are not empty, the wide one first."""
    narrow = tuple(sorted(set(range(n_filters)) - set(wide)))
    both = ((wide, split.wide_bits), (narrow, split.narrow_bits))
    return tuple(FilterGroup(filters, bits) for filters, bits in both if filters)


@dataclass(frozen=True, eq=False)
class InOrder:
    """A network whose filters lie group behind group.

    Attributes:
        network: the network with permuted filters; it computes the same as before.
        plan: the plan for it.
        refused: by layer with filter groups, why its filters stay where they were.
    """

    network: Network
    plan: BitPlan
    refused: Mapping[str, str]


def in_order(network: Network, plan: BitPlan) -> InOrder:
    """Return the network in which the filters of each group of a layer lie together, in the order of the plan's groups.

    The layer's channels are permuted wherever they lie: in its bias, in depthwise layers behind it and in what reads them.
    Where an addition ties them to channels of another layer, that layer would dictate its own order, and where they are
    frozen (outputs of the network, operators without a rule) nobody may move them: such filters stay.

    Args:
        network: the float network with batch normalisation folded.
        plan: with filter groups.

    Raises:
        ConfigError: a group names a filter that its layer lacks.
    """
    channels = find_channels(network)
    orders, groups, refused = {}, dict(plan.filter_groups), {}
    for operator in network.operators:
        if operator.name not in plan.filter_groups:
            continue
        n_filters = len(network.parameters[operator.arguments["weight"].name])
        bits = plan.filter_bits(operator.name, n_filters)
        own = _own_group(channels, operator.arguments["weight"].name, n_filters)
        if isinstance(own, str):
            refused[operator.name] = own
            continue
        given = [index for group in plan.filter_groups[operator.name] for index in group.filters]
        order = [*given, *sorted(set(range(n_filters)) - set(given))]
        orders[own.name] = np.array(order)
        groups[operator.name] = _renumbered(plan.filter_groups[operator.name])
        assert np.array_equal(replace(plan, filter_groups=groups).filter_bits(operator.name, n_filters), bits[order])
    return InOrder(permuted(network, channels, orders), replace(plan, filter_groups=groups), refused)


def _own_group(channels: Channels, weight: str, n_filters: int) -> ChannelGroup | str:
    """Return the channel group that is all filters of one layer and of no other, or why there is none."""
    found = [group for group in channels.groups if any(m.parameter == weight and m.axis == 0 for m in group.members)]
    if len(found) != 1:
        return "its channels are frozen" if not found else "only some of its channels are used together"
    (group,) = found
    makers = group.producers()
    if len(makers) > 1:
        others = ", ".join(m.operator for m in makers if m.parameter != weight)
        return f"its channels are tied to those of {others}"
    if not makers or makers[0].parameter != weight:
        return f"its channels are those of {group.name}"
    if group.n_channels != n_filters:
        return "some of its channels are tied to each other or frozen"
    return group


def _renumbered(groups: Sequence[FilterGroup]) -> tuple[FilterGroup, ...]:
    ends = np.cumsum([0, *(len(group.filters) for group in groups)]).tolist()
    return tuple(
        FilterGroup(tuple(range(start, end)), group.weight_bits)
        for group, start, end in zip(groups, ends[:-1], ends[1:], strict=True)
    )


def permuted(network: Network, channels: Channels, orders: Mapping[str, NDArray[np.int64]]) -> Network:
    """Return the network with the channels of some groups in another order, everywhere at once: it computes the same.

    Args:
        network: on which `channels` was found.
        channels: its channel groups.
        orders: by group, which channel comes first, second, ...: a permutation of 0..n_channels-1.
    """
    parameters = dict(network.parameters)
    for group in channels.groups:
        if group.name not in orders:
            continue
        for member in group.members:
            axis = np.arange(parameters[member.parameter].shape[member.axis])
            axis[member.positions] = member.positions[orders[group.name]]
            parameters[member.parameter] = parameters[member.parameter].take(axis, member.axis)
    return network.with_parameters(parameters)
