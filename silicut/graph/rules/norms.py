"""Statistics over channels: norms, means, variances.

Where channels are removed from what a statistic is taken over, the statistic changes, as it would for the user who builds
the smaller network; the tracker is told, so that groups say so and their proof takes statistics over the kept channels.
"""

from __future__ import annotations

from silicut.graph.network import Operator
from silicut.graph.rules.arguments import axes_of, main_input, varying_axes
from silicut.graph.tracker import ChannelTracker, Rule, Unfollowed


def _layer_norm(t: ChannelTracker, o: Operator) -> None:
    """Statistics over the last axes; the channels of other axes keep their statistics."""
    labels = t.of(main_input(o))
    normalised = range(labels.ndim - len(o.arguments["normalized_shape"]), labels.ndim)
    if any(axis not in normalised for axis in varying_axes(labels)):
        for axis in normalised:
            labels = t.whole(labels, axis)
    for axis in varying_axes(labels):
        if axis in normalised:
            line = t.along(main_input(o), axis)
            for argument in ("weight", "bias"):
                t.place(o, argument, axis - normalised[0], line, "along")
            t.statistics(line, o)
    t.labels[o.outputs[0]] = labels


def _group_norm(t: ChannelTracker, o: Operator) -> None:
    """Whole groups go, with their statistics, or equal positions of every group, whichever is the finer choice."""
    channels = t.along(main_input(o), 1)
    by_group = channels.reshape(int(o.arguments["num_groups"]), -1)
    n_groups, n_each = by_group.shape
    if n_groups >= n_each:
        t.whole(by_group, 1)
    else:
        t.whole(by_group, 0)
        t.statistics(channels, o)
    for argument in ("weight", "bias"):
        t.place(o, argument, 0, channels, "along")
    t.set_axis(o.outputs[0], 1, channels)


def reduction(t: ChannelTracker, o: Operator) -> None:
    """A statistic over the channels, where they vary on the reduced axes alone; else all positions of these axes stay."""
    labels = t.of(main_input(o))
    axes = axes_of(o.arguments.get("dim"), labels.ndim)
    if not axes:
        raise Unfollowed("it reduces over all axes")
    varying = varying_axes(labels)
    if varying and set(varying) <= set(axes):
        if o.kind in ("max", "min") and any(t.network.consumers.get(name) for name in o.outputs[1:]):
            raise Unfollowed("it tells channels by number")
        t.statistics(labels, o)
        labels = t.fresh(1).reshape((1,) * labels.ndim)
    for axis in axes:
        labels = t.whole(labels, axis)
    if not o.arguments.get("keepdim", False):
        labels = labels.reshape([n for axis, n in enumerate(labels.shape) if axis not in axes])
    for output in o.outputs:
        t.labels[output] = labels


def _softmax(t: ChannelTracker, o: Operator) -> None:
    labels = t.of(main_input(o))
    axis = int(o.arguments["dim"]) % labels.ndim
    if varying_axes(labels) == [axis]:
        raise Unfollowed("it normalises over channels")
    t.labels[o.outputs[0]] = t.whole(labels, axis)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("layer_norm", "rms_norm"), _layer_norm),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "var", "std", "var_mean", "linalg_vector_norm", "norm"), reduction),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    "group_norm": _group_norm,
}
