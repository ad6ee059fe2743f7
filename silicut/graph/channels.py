"""Which channels must be removed together: every channel index of every tensor is tracked through the network.

Each position on a channel axis carries a *label*. Rules (`silicut.graph.channel_rules`) say how labels flow through each
operator and which of them are one channel; labels that are connected form an *atom*, the least that can be removed. Atoms
that lie in the same places form a `ChannelGroup`, of which any number may be kept. What no rule can follow is frozen,
with the reason and the user's line; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from silicut.graph.network import Network, Operator, Ref

FROZEN = -1
EXAMPLE_BATCH = 7  # a number of images that is unlikely to be a number of channels too


class Unfollowed(Exception):
    """A rule met a case that it cannot follow: the channels the operator touches are frozen for this reason."""


@dataclass(frozen=True)
class Member:
    """One axis of one parameter whose positions belong to the channels of a group.

    Attributes:
        parameter: state-dict name.
        axis: axis of the parameter.
        role: "out" where the parameter makes the channels (filters), "in" where it reads them, "along" where it follows
            them (bias, batch normalisation, depthwise filters).
        operator: the operator that uses the parameter.
        positions: integer array (n_channels, k): the k positions on the axis of each channel of the group.
    """

    parameter: str
    axis: int
    role: str
    operator: str
    positions: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that occur in the same places: any number of them may be removed, each one everywhere at once.

    Attributes:
        name: the first operator that makes the channels.
        atoms: global numbers of its channels, in order of position.
        members: every parameter axis the channels lie on.
    """

    name: str
    atoms: tuple[int, ...]
    members: tuple[Member, ...]

    @property
    def n_channels(self) -> int:
        """The dense width: number of removable channels."""
        return len(self.atoms)

    def producers(self) -> tuple[Member, ...]:
        """The members whose filters make the channels."""
        return tuple(m for m in self.members if m.role == "out")

    def consumers(self) -> tuple[Member, ...]:
        """The members that read the channels."""
        return tuple(m for m in self.members if m.role == "in")


@dataclass(frozen=True)
class FrozenChannels:
    """Channels that must stay, and why.

    Attributes:
        operators: the operators that make them.
        n_channels: how many, counted at the first of the operators.
        reason: one sentence, with the user's source line where there is one.
    """

    operators: tuple[str, ...]
    n_channels: int
    reason: str


@dataclass(frozen=True)
class Channels:
    """All channels of a network.

    Attributes:
        groups: what may be pruned.
        frozen: what may not.
        axes: for each tensor and parameter, by axis, the atom at each position; `FROZEN` where it must stay.
        n_atoms: number of removable channels in all.
    """

    groups: tuple[ChannelGroup, ...]
    frozen: tuple[FrozenChannels, ...]
    axes: Mapping[str, Mapping[int, np.ndarray]] = field(repr=False)
    n_atoms: int

    def group(self, name: str) -> ChannelGroup:
        """Return the group of a name (KeyError when there is none)."""
        return {group.name: group for group in self.groups}[name]

    def composition(self, tensor: str) -> tuple[int, dict[str, int]]:
        """Return what a tensor's channel axis is made of.

        Returns:
            The number of positions that stay whatever is pruned, and for each group the number of positions that each
            of its channels takes (49 after a 7x7 map was flattened).
        """
        axes = self.axes.get(tensor, {})
        if not axes:
            return 0, {}
        atoms = next(iter(axes.values()))
        counts = np.bincount(atoms[atoms >= 0], minlength=self.n_atoms)
        multiplicity = {g.name: int(counts[g.atoms[0]]) for g in self.groups if counts[g.atoms[0]]}
        return int((atoms == FROZEN).sum()), multiplicity


Rule = Callable[["ChannelTracker", Operator], None]


class ChannelTracker:
    """The state in which rules work: labels of tensors, labels of parameter axes, ties and freezes.

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
        """Return the labels of a tensor; a parameter used as a tensor gets one for every element."""
        if name not in self.labels:
            shape = self.network.parameters[name].shape
            self.labels[name] = self.fresh(int(np.prod(shape))).reshape(shape)
        return self.labels[name]

    def along(self, name: str, axis: int) -> np.ndarray:
        """Return the labels on one axis of a tensor, which must be the only axis on which they vary."""
        labels, size = self.of(name), self.sizes(name)[axis]
        if any(n > 1 for a, n in enumerate(labels.shape) if a != axis % labels.ndim):
            raise Unfollowed("its channels lie across several axes")
        return np.broadcast_to(labels.ravel(), (size,))

    def set_axis(self, name: str, axis: int, labels: np.ndarray) -> None:
        """Give a tensor labels which vary on one axis."""
        shape = [1] * len(self.sizes(name))
        shape[axis] = len(labels)
        self.labels[name] = labels.reshape(shape)

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        """Make the labels at equal positions of two arrays (broadcast) one channel."""
        a, b = np.broadcast_arrays(a, b)
        self._edges.append((a.ravel(), b.ravel()))

    def freeze(self, labels: np.ndarray, reason: str) -> None:
        """Keep these channels whatever is asked, for a reason."""
        self._frozen.append((labels.ravel(), reason))

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
                self._check_outputs(operator)
            except Unfollowed as unfollowed:
                self._freeze_around(operator, str(unfollowed))
        for name in self.network.outputs:
            self.freeze(self.of(name), "it is an output of the network")
        self._join_uses()

    def _check_outputs(self, operator: Operator) -> None:
        for output in operator.outputs:
            if output not in self.labels:
                raise Unfollowed("it makes several tensors")
            shape = self.network.tensors[output].shape
            if any(size < 0 and n > 1 for size, n in zip(shape, self.labels[output].shape, strict=True)):
                raise Unfollowed("it mixes channels with images")

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
        place = f" ({operator.source})" if operator.source else ""
        reason = f"{operator.name}{place}: {why}"
        if isinstance(weight := operator.arguments.get("weight"), Ref) and len(self.sizes(weight.name)) > 1:
            n_channels = self.sizes(operator.outputs[0])[1 if operator.kind.startswith("conv") else -1]
            self.unfollowed_layers.append(FrozenChannels((operator.name,), n_channels, reason))
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

    def roots(self) -> tuple[np.ndarray, dict[int, str]]:
        """Return the component of every label, and the reason of every frozen component."""
        nothing = np.zeros(0, int)
        a = np.concatenate([nothing, *(edge[0] for edge in self._edges)])
        b = np.concatenate([nothing, *(edge[1] for edge in self._edges)])
        graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(self._n_labels, self._n_labels))
        component = connected_components(graph, directed=False)[1]
        frozen: dict[int, str] = {}
        for labels, reason in self._frozen:
            for root in np.unique(component[labels]).tolist():
                frozen.setdefault(root, reason)
        return component, frozen


def find_channels(network: Network, rules: Mapping[str, Rule] | None = None) -> Channels:
    """Return the channel groups of a network and what is frozen.

    Args:
        network: any captured network.
        rules: how labels flow through each kind of operator; those of `silicut.graph.channel_rules` by default.
    """
    if rules is None:
        from silicut.graph.channel_rules import RULES

        rules = RULES
    tracker = ChannelTracker(network)
    tracker.follow(rules)
    component, frozen = tracker.roots()
    axes = _component_axes(tracker, component, frozen)
    return _Collector(tracker, component, frozen, axes).channels()


def _component_axes(
    tracker: ChannelTracker, component: np.ndarray, frozen: dict[int, str]
) -> dict[str, dict[int, np.ndarray]]:
    """Return the component at each position of each channel axis, freezing what varies on several axes of one tensor."""
    axes: dict[str, dict[int, np.ndarray]] = {}
    for (parameter, slot), labels in tracker.slots.items():
        axes.setdefault(parameter, {})[slot] = component[labels]
    for name, labels in tracker.labels.items():
        roots = component[labels]
        varying = [a for a in range(roots.ndim) if (roots != roots.take([0], a)).any()]
        size = tracker.sizes(name)
        if len(varying) > 1:
            for root in np.unique(roots).tolist():
                frozen.setdefault(root, f"the channels of {name} lie across several axes")
        elif name not in axes:
            axis = varying[0] if varying else _label_axis(labels, size)
            if axis is not None and roots.size:
                line = np.moveaxis(roots, axis, 0).reshape(roots.shape[axis], -1)[:, 0]
                axes[name] = {axis: np.broadcast_to(line, (size[axis],))}
    return axes


def _label_axis(labels: np.ndarray, size: tuple[int, ...]) -> int | None:
    """Return the channel axis of a tensor on which all positions are one component."""
    written = [a for a, n in enumerate(labels.shape) if n > 1]
    if written:
        return written[0]
    return 1 if len(size) > 1 else None


class _Collector:
    """Turns components into groups: those that lie on the same axes of parameters and tensors, equally often, are one."""

    def __init__(
        self,
        tracker: ChannelTracker,
        component: np.ndarray,
        frozen: dict[int, str],
        axes: dict[str, dict[int, np.ndarray]],
    ) -> None:
        self._tracker, self._component, self._frozen, self._axes = tracker, component, frozen, axes
        parameters = tracker.network.parameters
        lines = [(name, axis, roots) for name, by_axis in axes.items() for axis, roots in by_axis.items()]
        self._parameter_axes = [line for line in lines if line[0] in parameters]
        self._lines = self._parameter_axes + [line for line in lines if line[0] not in parameters]

    def channels(self) -> Channels:
        signatures: dict[int, list[tuple[int, int]]] = {}
        for index, (_, _, roots) in enumerate(self._lines):
            for root, count in zip(*np.unique(roots, return_counts=True), strict=True):
                signatures.setdefault(int(root), []).append((index, int(count)))
        by_signature: dict[tuple[tuple[int, int], ...], list[int]] = {}
        # Tensors count too, so that no group can lose all channels of one part of a split tensor.
        makers = {i for i, (n, a, _) in enumerate(self._parameter_axes) if self._role(n, a)[0] == "out"}
        for root in self._in_order(signatures):
            signature = tuple(signatures[root])
            if not any(index in makers for index, _ in signature):
                self._frozen.setdefault(root, "no filter makes it")
            if root not in self._frozen:
                by_signature.setdefault(signature, []).append(root)
        atoms = {root: i for i, root in enumerate(r for roots in by_signature.values() for r in roots)}
        groups = self._named([self._group(s, roots, atoms) for s, roots in by_signature.items()])
        return Channels(tuple(groups), self._frozen_channels(signatures, makers), self._atom_axes(atoms), len(atoms))

    def _in_order(self, signatures: dict[int, list[tuple[int, int]]]) -> list[int]:
        """Return the components in order of their first label, which is the order of execution and of position."""
        first = dict(zip(*np.unique(self._component, return_index=True), strict=True))
        return sorted(signatures, key=lambda root: int(first[root]))

    def _role(self, parameter: str, axis: int) -> tuple[str, str]:
        reader = self._tracker.network.consumers.get(parameter)
        return self._tracker.roles.get((parameter, axis), ("along", reader[0].name if reader else parameter))

    def _group(self, signature: tuple[tuple[int, int], ...], roots: list[int], atoms: dict[int, int]) -> ChannelGroup:
        members = []
        for index, count in signature:
            if index >= len(self._parameter_axes):
                break
            parameter, axis, line = self._parameter_axes[index]
            order = np.argsort(line, kind="stable")
            starts = np.searchsorted(line[order], roots)
            positions = order[starts[:, None] + np.arange(count)]
            members.append(Member(parameter, axis, *self._role(parameter, axis), positions))
        name = next(m.operator for m in members if m.role == "out")
        return ChannelGroup(name, tuple(atoms[root] for root in roots), tuple(members))

    @staticmethod
    def _named(groups: list[ChannelGroup]) -> list[ChannelGroup]:
        """Give groups made by the same operator distinct names: layer, layer#2, ..."""
        seen: dict[str, int] = {}
        named = []
        for group in groups:
            seen[group.name] = seen.get(group.name, 0) + 1
            suffix = f"#{seen[group.name]}" if seen[group.name] > 1 else ""
            named.append(ChannelGroup(group.name + suffix, group.atoms, group.members))
        return named

    def _atom_axes(self, atoms: dict[int, int]) -> dict[str, dict[int, np.ndarray]]:
        table = np.full(int(self._component.max(initial=-1)) + 1, FROZEN)
        table[list(atoms)] = list(atoms.values())
        return {name: {a: table[roots] for a, roots in by_axis.items()} for name, by_axis in self._axes.items()}

    def _frozen_channels(self, signatures: dict[int, list[tuple[int, int]]], makers: set[int]) -> tuple[FrozenChannels, ...]:
        collected: dict[tuple[tuple[str, ...], str], int] = {}
        for root in self._in_order(signatures):
            reason = self._frozen.get(root)
            made = [(index, count) for index, count in signatures[root] if index in makers]
            if reason is not None and made:
                operators = tuple(dict.fromkeys(self._role(*self._lines[index][:2])[1] for index, _ in made))
                collected[(operators, reason)] = collected.get((operators, reason), 0) + made[0][1]
        followed = tuple(FrozenChannels(operators, n, reason) for (operators, reason), n in collected.items())
        made_by = {name for frozen in followed for name in frozen.operators}
        return followed + tuple(f for f in self._tracker.unfollowed_layers if f.operators[0] not in made_by)
