"""Layers with weights: convolutions, linear layers, batch norms, slopes; embeddings and recurrent layers, which stay."""

from __future__ import annotations

import numpy as np

from silicut.graph.network import Operator
from silicut.graph.rules.arguments import main_input, refused
from silicut.graph.tracker import ChannelTracker, Rule, Unfollowed


def _convolution(t: ChannelTracker, o: Operator) -> None:
    """New channels, one a filter; grouped ones lose the same position in every group; depthwise ones follow the input."""
    channels, n_groups = _image_channels(t, o), int(o.arguments["groups"])
    n_filters = t.sizes(_weight(t, o))[0]
    if n_groups == len(channels) > 1:
        made, role = np.repeat(channels, n_filters // n_groups), "along"
    else:
        made, role = t.fresh(n_filters), "out"
        read = channels.reshape(n_groups, -1)
        t.tie(read[0], read)
        if n_groups > 1:
            filters = made.reshape(n_groups, -1)
            t.tie(filters[0], filters)
        t.place(o, "weight", 1, read[0], "in")
    t.place(o, "weight", 0, made, role)
    t.place(o, "bias", 0, made, "along")
    t.set_axis(o.outputs[0], 1, made)


def _transposed_convolution(t: ChannelTracker, o: Operator) -> None:
    """As a convolution, with a weight of input channels times filters of one group."""
    channels, n_groups = _image_channels(t, o), int(o.arguments["groups"])
    n_filters = t.sizes(_weight(t, o))[1]
    if n_groups == len(channels) > 1:
        made, role = np.repeat(channels, n_filters), "along"
    else:
        made, role = t.fresh(n_groups * n_filters), "in"
        read, filters = channels.reshape(n_groups, -1), made.reshape(n_groups, -1)
        t.tie(read[0], read)
        t.tie(filters[0], filters)
        t.place(o, "weight", 1, filters[0], "out")
    t.place(o, "weight", 0, channels, role)
    t.place(o, "bias", 0, made, "along")
    t.set_axis(o.outputs[0], 1, made)


def _image_channels(t: ChannelTracker, o: Operator) -> np.ndarray:
    source = main_input(o)
    if len(t.sizes(source)) != len(t.sizes(_weight(t, o))):
        raise Unfollowed("its input has no batch axis")
    return t.along(source, 1)


def _weight(t: ChannelTracker, o: Operator) -> str:
    name: str = o.arguments["weight"].name
    if name not in t.network.parameters:
        raise Unfollowed("its weight is computed, not a parameter")
    return name


def _linear(t: ChannelTracker, o: Operator) -> None:
    source, output = main_input(o), o.outputs[0]
    if len(t.sizes(_weight(t, o))) != 2:
        raise Unfollowed("its weight is no matrix")
    labels = t.of(source)
    if labels.shape[-1] == 1 < labels.size:
        t.keep_layer(o, "it mixes positions, not channels")
        t.labels[output] = labels
        return
    read = t.along(source, -1)
    made = t.fresh(t.sizes(_weight(t, o))[0])
    t.place(o, "weight", 1, read, "in")
    t.place(o, "weight", 0, made, "out")
    t.place(o, "bias", 0, made, "along")
    t.set_axis(output, len(t.sizes(output)) - 1, made)


def _batch_norm(t: ChannelTracker, o: Operator) -> None:
    channels = t.along(main_input(o), 1)
    for argument in ("weight", "bias", "running_mean", "running_var"):
        t.place(o, argument, 0, channels, "along")
    t.set_axis(o.outputs[0], 1, channels)


def _prelu(t: ChannelTracker, o: Operator) -> None:
    if t.sizes(o.arguments["weight"].name)[0] > 1:
        t.place(o, "weight", 0, t.along(main_input(o), 1), "along")
    t.labels[o.outputs[0]] = t.of(main_input(o))


def _embedding(t: ChannelTracker, o: Operator) -> None:
    """Rows at numbers known at capture (positions) follow their channels; a table looked up by an input stays whole."""
    table, rows = o.arguments["weight"].name, o.arguments["indices"].name
    if table not in t.network.parameters or rows not in t.network.constants:
        raise Unfollowed("it looks its rows up by number; embeddings stay whole")
    if table not in t.labels:
        t.labels[table] = t.fresh(t.sizes(table)[1])[None]
    t.set_axis(o.outputs[0], len(t.sizes(rows)), t.whole(t.of(table), 0).ravel())


RULES: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed_convolution),
    **dict.fromkeys(("batch_norm", "instance_norm"), _batch_norm),
    "linear": _linear,
    "prelu": _prelu,
    "embedding": _embedding,
    "embedding_bag": refused("it looks its rows up by number; embeddings stay whole"),
    **dict.fromkeys(
        ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        refused("recurrent layers stay whole"),
    ),
}
