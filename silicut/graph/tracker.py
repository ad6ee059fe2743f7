"""How channels are tracked through a network: labels, what ties them, what keeps them.

Each position on a channel axis carries a *label*. Rules (`silicut.graph.rules`) say how labels flow through each operator
and which of them are one channel; labels that are connected form an *atom*, the least that can be removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy  # its modules are loaded on first use: they are slow to import

from silicut.graph.channels import FrozenChannels
from silicut.graph.network import Network, Operator, Ref

EXAMPLE_BATCH = 7  # a number of images that is unlikely to be a number of channels too


class Unfollowed(Exception):
    """A rule met a case that it cannot follow: the channels the operator touches are frozen for this reason."""


class ChannelTracker:
    """The state in which rules work: labels of tensors, labels of parameter axes, ties, freezes and statistics.

    A tensor's labels are an integer array with as many axes as the tensor, of length 1 where they do not vary.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.labels: dict[str, np.ndarray] = {}
        self.slots: dict[tuple[str, int], np.ndarray] = {}
        self.roles: dict[tuple[str, int], tuple[str, str]] = {}
        self._n_labels = 0
        self._edges: list[tuple[np.ndarray, np.ndarray]] = []
        self._frozen: list[tuple[np.ndarray, str]] = []
        self._statistics: list[tuple[np.ndarray, str]] = []
        self._unfollowed: dict[str, str] = {}  # reason by tensor or parameter read by an operator without a rule
        self.unfollowed_layers: list[FrozenChannels] = []

    # What rules call.

    def fresh(self, n: int) -> np.ndarray:
        """Return n new labels."""
        self._n_labels += n
        return np.arange(self._n_labels - n, self._n_labels)

    def sizes(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor (at the example batch) or parameter."""
        if name in self.network.parameters:
            return self.network.parameters[name].shape
        return self.network.tensors[name].sizes(EXAMPLE_BATCH)

    def of(self, name: str) -> np.ndarray:
        """Return the labels of a tensor; a parameter used as a tensor gets one for every element, a constant one in all."""
        if name not in self.labels:
            shape = self.network.parameters[name].shape
            if name in self.network.constants:
                shape = (1,) * len(shape)
            self.labels[name] = self.fresh(int(np.prod(shape))).reshape(shape)
        return self.labels[name]

    def along(self, name: str, axis: int) -> np.ndarray:
        """Return the labels on one axis of a tensor, made one channel across all other axes.

        Raises:
            Unfollowed: they vary from image to image.
        """
        labels, size = self.of(name), self.sizes(name)
        axis %= labels.ndim
        for other in range(labels.ndim):
            if other != axis and labels.shape[other] > 1:
                if name in self.network.tensors and self.network.tensors[name].shape[other] < 0:
                    raise Unfollowed("it mixes channels with images")
                labels = self.whole(labels, other)
        return np.broadcast_to(labels.ravel(), (size[axis],))

    def set_axis(self, name: str, axis: int, labels: np.ndarray) -> None:
        """Give a tensor labels which vary on one axis."""
        shape = [1] * len(self.sizes(name))
        shape[axis] = len(labels)
        self.labels[name] = labels.reshape(shape)

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        """Make the labels at equal positions of two arrays (broadcast) one channel."""
        a, b = np.broadcast_arrays(a, b)
        self._edges.append((a.ravel(), b.ravel()))

    def whole(self, labels: np.ndarray, axis: int) -> np.ndarray:
        """Make all positions on one axis one channel; return the labels with that axis of length 1."""
        first = labels.take([0], axis)
        if labels.shape[axis] > 1:
            self.tie(first, labels)
        return first

    def freeze(self, labels: np.ndarray, reason: str) -> None:
        """Keep these channels whatever is asked, for a reason."""
        self._frozen.append((labels.ravel(), reason))

    def statistics(self, labels: np.ndarray, operator: Operator) -> None:
        """Say that an operator computes statistics over these channels, which change when some of them go."""
        self._statistics.append((labels.ravel(), operator.name))

    def place(self, operator: Operator, argument: str, axis: int, labels: np.ndarray, role: str) -> None:
        """Say that a parameter's positions on an axis belong to these channels; absent parameters are passed over."""
        reference = operator.arguments.get(argument)
        if reference is None:
            return
        if reference.name not in self.network.parameters:
            raise Unfollowed(f"its {argument} is computed, not a parameter")
        key = (reference.name, axis)
        if key in self.slots:
            self.tie(self.slots[key], labels)
        self.slots.setdefault(key, labels)
        self.roles.setdefault(key, (role, operator.name))

    def keep_layer(self, operator: Operator, why: str) -> None:
        """Say that the channels a layer makes stay, though it stops none that pass through it."""
        n_channels = self.sizes(operator.outputs[0])[1 if operator.kind.startswith("conv") else -1]
        self.unfollowed_layers.append(FrozenChannels((operator.name,), n_channels, _reason(operator, why)))

    # What `find_channels` calls.

    def follow(self, rules: Mapping[str, Rule]) -> None:
        """Apply the rule of every operator; freeze around those that have none."""
        for name in self.network.inputs:
            self.labels[name] = self.fresh(1).reshape((1,) * len(self.sizes(name)))
            self.freeze(self.labels[name], "it is an input of the network")
        for operator in self.network.operators:
            try:
                if operator.kind not in rules:
                    raise Unfollowed(f"operator {operator.kind} is not known")
                rules[operator.kind](self, operator)
                if any(output not in self.labels for output in operator.outputs if output in self.network.tensors):
                    raise Unfollowed("it makes several tensors")
            except Unfollowed as unfollowed:
                self._freeze_around(operator, str(unfollowed))
        for name in self.network.outputs:
            self.freeze(self.of(name), "it is an output of the network")
        self._join_uses()

    def _join_uses(self) -> None:
        """Join the channels of parameters that are read both by layers and as tensors."""
        for (parameter, _), labels in self.slots.items():
            if parameter in self._unfollowed:
                self.freeze(labels, self._unfollowed[parameter])
            elif parameter in self.labels and self.labels[parameter].size == len(labels):
                self.tie(labels, self.labels[parameter].ravel())
            elif parameter in self.labels:
                self.freeze(labels, f"{parameter} is not only read by layers")

    def _freeze_around(self, operator: Operator, why: str) -> None:
        reason = _reason(operator, why)
        if isinstance(weight := operator.arguments.get("weight"), Ref) and len(self.sizes(weight.name)) > 1:
            self.keep_layer(operator, why)
        for name in operator.refs():
            if name not in self.labels:  # a parameter: one label for all of it, however large
                self.labels[name] = self.fresh(1).reshape((1,) * len(self.sizes(name)))
            self.freeze(self.labels[name], reason)
            self._unfollowed.setdefault(name, reason)
        for output in operator.outputs:
            if output in self.network.tensors:
                label = self.fresh(1)
                self.labels[output] = label.reshape((1,) * len(self.sizes(output)))
                self.freeze(label, reason)

    def components(self) -> np.ndarray:
        """Return the component of every label."""
        nothing = np.zeros(0, int)
        a = np.concatenate([nothing, *(edge[0] for edge in self._edges)])
        b = np.concatenate([nothing, *(edge[1] for edge in self._edges)])
        self._edges = [(a, b)]
        graph = scipy.sparse.coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(self._n_labels, self._n_labels))
        found: np.ndarray = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
        return found

    def frozen(self, component: np.ndarray) -> dict[int, str]:
        """Return the reason of every frozen component."""
        return _first_by_component(component, self._frozen)

    def statistics_over(self, component: np.ndarray) -> dict[int, tuple[str, ...]]:
        """Return the operators whose statistics change with each component."""
        found: dict[int, dict[str, None]] = {}
        for labels, operator in self._statistics:
            for root in np.unique(component[labels]).tolist():
                found.setdefault(root, {})[operator] = None
        return {root: tuple(operators) for root, operators in found.items()}


Rule = Callable[[ChannelTracker, Operator], None]


def _reason(operator: Operator, why: str) -> str:
    place = f" ({operator.source})" if operator.source else ""
    return f"{operator.name}{place}: {why}"


def _first_by_component(component: np.ndarray, entries: list[tuple[np.ndarray, str]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for labels, text in entries:
        for root in np.unique(component[labels]).tolist():
            found.setdefault(root, text)
    return found
