"""Finds the channel groups of a network: every channel index of every tensor is tracked through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from silicut.graph.channels import FROZEN, ChannelGroup, Channels, FrozenChannels, Member
from silicut.graph.network import Network
from silicut.graph.tracker import EXAMPLE_BATCH, ChannelTracker, Rule

Axes = dict[str, dict[int, np.ndarray]]


def find_channels(network: Network, rules: Mapping[str, Rule] | None = None) -> Channels:
    """Return the channel groups of a network and what is frozen.

    Args:
        network: any captured network.
        rules: how labels flow through each kind of operator; those of `silicut.graph.rules` by default.
    """
    if rules is None:
        from silicut.graph.rules import RULES

        rules = RULES
    tracker = ChannelTracker(network)
    tracker.follow(rules)
    component = _settled(tracker)
    frozen = tracker.frozen(component)
    axes = _component_axes(tracker, component, frozen)
    return _Collector(tracker, component, frozen, axes).channels()


def _settled(tracker: ChannelTracker) -> np.ndarray:
    """Return the component of every label once each tensor's channels vary on one axis.

    A reshape that takes a channel axis apart can only stay a reshape if the same positions go from all its parts: where no
    operator has said along which of the axes channels go, it is the longest.
    """
    layers = {parameter for parameter, _ in tracker.slots}
    several = [n for n, labels in tracker.labels.items() if sum(s > 1 for s in labels.shape) > 1 and n not in layers]
    while True:
        component = tracker.components()
        is_settled = True
        for name in several:
            varying = _varying(component[tracker.labels[name]])
            if len(varying) > 1:
                _keep_one_axis(tracker, name, varying)
                is_settled = False
        if is_settled:
            return component


def _varying(roots: np.ndarray) -> list[int]:
    return [a for a, n in enumerate(roots.shape) if n > 1 and (roots != roots.take([0], a)).any()]


def _keep_one_axis(tracker: ChannelTracker, name: str, varying: list[int]) -> None:
    labels = tracker.labels[name]
    shape = tracker.network.tensors[name].shape if name in tracker.network.tensors else labels.shape
    kept = max(varying, key=lambda a: shape[a])  # axes of images are negative
    for axis in varying:
        if axis != kept:
            labels = tracker.whole(labels, axis)


def _component_axes(tracker: ChannelTracker, component: np.ndarray, frozen: dict[int, str]) -> Axes:
    """Return the component at each position of the channel axis of every tensor and parameter.

    On an axis of several channels an image, these are the positions of one image.
    """
    axes: Axes = {}
    for (parameter, slot), labels in tracker.slots.items():
        axes.setdefault(parameter, {})[slot] = component[labels]
    for name, labels in tracker.labels.items():
        roots, size = component[labels], tracker.sizes(name)
        varying = _varying(roots)
        if len(varying) > 1:
            _freeze_all(roots, frozen, f"the channels of {name} lie across several axes")
        elif name not in axes and roots.size:
            axis = varying[0] if varying else _label_axis(labels, size)
            if axis is not None:
                line = np.moveaxis(roots, axis, 0).reshape(roots.shape[axis], -1)[:, 0]
                line = _of_one_image(tracker, name, axis, np.broadcast_to(line, (size[axis],)))
                if line is None:
                    _freeze_all(roots, frozen, f"{name} mixes channels with images")
                else:
                    axes[name] = {axis: line}
    return axes


def _freeze_all(roots: np.ndarray, frozen: dict[int, str], reason: str) -> None:
    for root in np.unique(roots).tolist():
        frozen.setdefault(root, reason)


def _label_axis(labels: np.ndarray, size: tuple[int, ...]) -> int | None:
    """Return the channel axis of a tensor on which all positions are one component."""
    written = [a for a, n in enumerate(labels.shape) if n > 1]
    if written:
        return written[0]
    return 1 if len(size) > 1 else None


def _of_one_image(tracker: ChannelTracker, name: str, axis: int, line: np.ndarray) -> np.ndarray | None:
    """Return the positions of one image of an axis; None where images differ."""
    tensor = tracker.network.tensors.get(name)
    if tensor is None or tensor.shape[axis] >= 0:
        return line
    by_image: np.ndarray = line.reshape(EXAMPLE_BATCH, -1)
    first: np.ndarray = by_image[0]
    if (by_image == first).all():
        return first
    by_channel: np.ndarray = line.reshape(-1, EXAMPLE_BATCH)
    return by_channel[:, 0] if (by_channel == by_channel[:, :1]).all() else None


class _Collector:
    """Turns components into groups: those that lie on the same axes of parameters and tensors, equally often, are one."""

    def __init__(
        self,
        tracker: ChannelTracker,
        component: np.ndarray,
        frozen: dict[int, str],
        axes: Axes,
    ) -> None:
        self._tracker, self._component, self._frozen, self._axes = tracker, component, frozen, axes
        self._statistics = tracker.statistics_over(component)
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
        statistics = tuple(dict.fromkeys(s for root in roots for s in self._statistics.get(root, ())))
        return ChannelGroup(name, tuple(atoms[root] for root in roots), tuple(members), statistics)

    @staticmethod
    def _named(groups: list[ChannelGroup]) -> list[ChannelGroup]:
        """Give groups made by the same operator distinct names: layer, layer#2, ..."""
        seen: dict[str, int] = {}
        named = []
        for group in groups:
            seen[group.name] = seen.get(group.name, 0) + 1
            suffix = f"#{seen[group.name]}" if seen[group.name] > 1 else ""
            named.append(replace(group, name=group.name + suffix))
        return named

    def _atom_axes(self, atoms: dict[int, int]) -> Axes:
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
