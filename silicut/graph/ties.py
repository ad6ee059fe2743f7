"""What makes the channels of several layers one: the operators on the way between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from silicut.graph.channels import ChannelGroup, Channels
from silicut.graph.network import Network, Operator


def carried_groups(network: Network, channels: Channels) -> dict[str, frozenset[str]]:
    """Return the names of the groups that lie on each activation's channel axis."""
    return {name: frozenset(channels.composition(name)[1]) for name in network.tensors}


def makers(network: Network, group: ChannelGroup) -> tuple[str, ...]:
    """Return the layers that make a group's channels, in order of execution; those that share their filters are several."""
    found = {operator.name for m in group.producers() for operator in network.consumers[m.parameter]}
    return tuple(operator.name for operator in network.operators if operator.name in found)


def ties(
    network: Network, carried: Mapping[str, frozenset[str]], group: ChannelGroup, start: str
) -> dict[str, tuple[str, ...]]:
    """Return what ties each other layer that makes a group to one that does.

    Args:
        network: on which the group was found.
        carried: the groups on each activation (`carried_groups`).
        group: the group.
        start: an operator that makes the group's channels, or that they pass.

    Returns:
        By layer, the operators with several operands of the group on the shortest way, nearest to `start` first; the name
        of a parameter where the two share their filters; nothing where they are tied in another way.
    """
    search = _Search(network, carried, group)
    before = search.before(start)
    return {layer: search.way(before, start, layer) for layer in makers(network, group) if layer != start}


@dataclass(frozen=True)
class _Search:
    """A search along the tensors that carry a group; the layers that make or read it are the ends of every way."""

    network: Network
    carried: Mapping[str, frozenset[str]]
    group: ChannelGroup

    @cached_property
    def _ends(self) -> frozenset[str]:
        readers = {m.operator for m in self.group.consumers()}
        return frozenset(readers.union(makers(self.network, self.group)))

    @cached_property
    def _touching(self) -> dict[str, tuple[str, ...]]:
        """The group's tensors by the operators that read or make them."""
        tensors: dict[str, tuple[str, ...]] = {}
        for operator in self.network.operators:
            names = operator.outputs if operator.name in self._ends else (*operator.refs(), *operator.outputs)
            tensors[operator.name] = tuple(name for name in names if self.group.name in self.carried.get(name, ()))
        return tensors

    def before(self, start: str) -> dict[str, str]:
        """Return the operator before each one that is reached, on the shortest way; "" before the start."""
        before, queue = {start: ""}, deque([start])
        while queue:
            operator = queue.popleft()
            if operator in self._ends and operator != start:
                continue
            for neighbour in self._neighbours(operator):
                if neighbour not in before:
                    before[neighbour] = operator
                    queue.append(neighbour)
        return before

    def _neighbours(self, operator: str) -> Iterator[str]:
        for tensor in self._touching[operator]:
            if tensor in self.network.producer:
                yield self.network.producer[tensor].name
            for reader in self.network.consumers.get(tensor, ()):
                if tensor in self._touching[reader.name]:
                    yield reader.name

    def way(self, before: Mapping[str, str], start: str, end: str) -> tuple[str, ...]:
        """Return the ties between two layers."""
        for member in self.group.producers():
            if {start, end} <= {operator.name for operator in self.network.consumers[member.parameter]}:
                return (member.parameter,)
        way = []
        operator = before.get(end, "")
        while operator and operator != start:
            way.append(operator)
            operator = before[operator]
        return tuple(name for name in reversed(way) if self._is_tie(name))

    def _is_tie(self, operator: str) -> bool:
        """Tell whether an operator reads the group from several tensors."""
        outputs = self._by_name[operator].outputs
        return len(set(self._touching[operator]) - set(outputs)) > 1

    @cached_property
    def _by_name(self) -> dict[str, Operator]:
        return {operator.name: operator for operator in self.network.operators}
