"""What can be pruned of a network, what cannot, and why."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from silicut.compress import independent_blocks
from silicut.flows.diagnosis import Diagnosis
from silicut.flows.pruning_problem import Subject
from silicut.graph import Block, ChannelGroup, Channels, FrozenChannels, Network, Operator, find_blocks, find_channels
from silicut.graph.counting import macs_by_operator, n_macs
from silicut.graph.ties import carried_groups, makers, ties
from silicut.records import ConfigError
from silicut.report.inspection import (
    BlockInspection,
    Explanation,
    FrozenInspection,
    GroupInspection,
    GroupTiming,
    Inspection,
    Place,
    Role,
    Tie,
)
from silicut.targets.profile import Profile

_N_NAMES = 3


def inspect(network: Network, profile: Profile | None = None) -> Inspection:
    """Return what can be pruned of a network, what cannot, and why.

    Args:
        network: as captured; its weights' values do not matter.
        profile: made on it, for milliseconds, steps and what keeps it from getting faster.

    Raises:
        ConfigError: the profile was made on another network.
    """
    if profile is not None and profile.network_hash != network.structure_hash:
        raise ConfigError(
            f"the profile must be of this network (structure {network.structure_hash}), not of {profile.network_hash}"
        )
    look = _Look(network, profile)
    diagnosis = None if profile is None else Diagnosis.of_dense(Subject.of(network), profile)
    return Inspection(
        network_hash=network.structure_hash,
        n_parameters=network.n_parameters(),
        n_macs=n_macs(network),
        groups=tuple(map(look.group, look.channels.groups)),
        blocks=tuple(map(look.block, look.blocks)),
        frozen=tuple(map(look.frozen, look.channels.frozen)),
        settings=None if profile is None else profile.settings,
        cpu="" if profile is None else str(profile.fingerprint.get("cpu", "")),
        dense_ms=None if profile is None else profile.dense_ms,
        parts=None if diagnosis is None else diagnosis.parts,
        findings=() if diagnosis is None else diagnosis.findings(),
    )


def explain(network: Network, layer: str) -> Explanation:
    """Return why one operator can be pruned or not: its groups, the layers tied to it and by what, or why it is frozen.

    Args:
        network: as captured.
        layer: name of an operator, such as "layer1.0.conv1".

    Raises:
        ConfigError: there is none of that name; the nearest ones are given.
    """
    look = _Look(network, None)
    if layer not in look.operators:
        near = _nearest(layer, list(look.operators))
        raise ConfigError(f"layer must be an operator of the network, such as {' or '.join(map(repr, near))}, not {layer!r}")
    operator = look.operators[layer]
    roles = tuple(role for group in look.channels.groups if (role := look.role(operator, group)) is not None)
    made_by = {layer} if roles else look.sources(layer)
    return Explanation(
        place=look.place(layer),
        roles=roles,
        frozen=tuple(look.frozen(frozen) for frozen in look.channels.frozen if made_by.intersection(frozen.operators)),
        block=next((block.name for block in look.blocks if layer in block.operators), ""),
    )


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    """Return the names most like one, else those that hold it, else the first ones."""
    similar = difflib.get_close_matches(name, known, n=_N_NAMES, cutoff=0.5)
    holding = [other for other in known if name and name in other]
    return (similar or holding or list(known))[:_N_NAMES]


@dataclass(frozen=True)
class _Look:
    """A network with its channels, blocks and perhaps its profile, and questions about them."""

    network: Network
    profile: Profile | None

    @cached_property
    def channels(self) -> Channels:
        return find_channels(self.network)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return independent_blocks(find_blocks(self.network, self.channels))

    @cached_property
    def carried(self) -> dict[str, frozenset[str]]:
        return carried_groups(self.network, self.channels)

    @cached_property
    def operators(self) -> dict[str, Operator]:
        return {operator.name: operator for operator in self.network.operators}

    @cached_property
    def macs(self) -> dict[str, int]:
        return macs_by_operator(self.network)

    @cached_property
    def layers_ms(self) -> dict[str, float]:
        """Milliseconds of every layer, dense; empty without a profile."""
        return {} if self.profile is None else {layer.name: layer.dense_ms for layer in self.profile.layers}

    def place(self, name: str) -> Place:
        operator = self.operators.get(name)
        return Place(name=name, kind="parameter") if operator is None else _place(operator)

    def places(self, names: Iterable[str]) -> tuple[Place, ...]:
        return tuple(self.place(name) for name in dict.fromkeys(names))

    def group(self, group: ChannelGroup) -> GroupInspection:
        made_by = makers(self.network, group)
        tied = ties(self.network, self.carried, group, made_by[0])
        layers = {*made_by, *(m.operator for m in group.consumers())}
        return GroupInspection(
            name=group.name,
            n_channels=group.n_channels,
            producers=self.places(made_by),
            ties=self.places(operator for way in tied.values() for operator in way),
            consumers=self.places(m.operator for m in group.consumers()),
            followers=self.places(m.operator for m in group.members if m.operator not in layers),
            neighbours=self.neighbours(group),
            n_parameters=sum(int(mask.sum()) for name, mask in self._masks(group) if name in self.network.trainable),
            n_macs=self._macs_on(group),
            block=next((block.name for block in self.blocks if group.name in block.inner_groups), ""),
            timing=self._timing(group.name),
        )

    def neighbours(self, group: ChannelGroup) -> tuple[str, ...]:
        """Return the groups that lie in a tensor with this one, in order of execution."""
        beside = frozenset().union(*(names for names in self.carried.values() if group.name in names))
        return tuple(g.name for g in self.channels.groups if g.name in beside and g.name != group.name)

    def _masks(self, group: ChannelGroup) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each parameter the group lies on, with a mask of its elements that do."""
        masks: dict[str, np.ndarray] = {}
        for member in group.members:
            shape = self.network.parameters[member.parameter].shape
            mask = masks.setdefault(member.parameter, np.zeros(shape, bool))
            np.moveaxis(mask, member.axis, 0)[member.positions.ravel()] = True
        yield from masks.items()

    def _macs_on(self, group: ChannelGroup) -> int:
        macs = 0.0
        for name, mask in self._masks(group):
            for operator in self.network.consumers[name]:
                weight = operator.arguments.get("weight")
                if operator.name in self.macs and weight is not None and weight.name == name:
                    macs += self.macs[operator.name] * float(mask.mean())
        return round(macs)

    def _timing(self, name: str) -> GroupTiming | None:
        if self.profile is None:
            return None
        stairs = next(s for s in self.profile.staircases if s.group == name)
        dense = {v.name: v.levels[-1] for v in self.profile.variables}
        return GroupTiming(
            ms=self.profile.group_ms(name, dense),
            step=stairs.step,
            cliffs=stairs.cliffs,
            widths=self.profile.levels[name],
        )

    def block(self, block: Block) -> BlockInspection:
        gone = [self.operators[name] for name in self.operators if name in block.operators]
        parameters = {name for o in gone for name in o.refs() if name in self.network.trainable}
        layers = [o.name for o in gone if any(name in self.network.trainable for name in o.refs())]
        return BlockInspection(
            name=block.name,
            addition=self.place(block.addition),
            layers=self.places(layers),
            groups=block.inner_groups,
            n_parameters=sum(self.network.parameters[name].size for name in parameters if self._read_only_by(name, gone)),
            n_macs=sum(self.macs.get(o.name, 0) for o in gone),
            ms=self._sum_ms(block.operators),
        )

    def frozen(self, frozen: FrozenChannels) -> FrozenInspection:
        changing = set() if self.profile is None else {la.name for la in self.profile.layers if la.table is not None}
        return FrozenInspection(
            layers=self.places(frozen.operators),
            n_channels=frozen.n_channels,
            reason=frozen.reason,
            ms=self._sum_ms(set(frozen.operators) - changing),
        )

    def _sum_ms(self, layers: Iterable[str]) -> float | None:
        return None if self.profile is None else math.fsum(self.layers_ms.get(name, 0.0) for name in layers)

    def _read_only_by(self, parameter: str, operators: Sequence[Operator]) -> bool:
        return {o.name for o in self.network.consumers[parameter]} <= {o.name for o in operators}

    def sources(self, name: str) -> set[str]:
        """Return an operator and what it passes on: operators before it, back to the nearest ones with parameters."""
        found, new = set[str](), {name}
        while new:
            found |= new
            without = [self.operators[n] for n in new if not self.network.trainable.intersection(self.operators[n].refs())]
            read = {ref for operator in without for ref in operator.refs()} & self.network.producer.keys()
            new = {self.network.producer[ref].name for ref in read} - found
        return found

    def role(self, operator: Operator, group: ChannelGroup) -> Role | None:
        """Return what an operator does with a group, None where it does not touch it."""
        readers = [m.operator for m in group.consumers()]
        if operator.name in makers(self.network, group):
            verb = "makes"
        elif operator.name in readers:
            verb = "reads"
        elif operator.name in {m.operator for m in group.members}:
            verb = "follows"
        elif any(group.name in self.carried.get(name, ()) for name in (*operator.refs(), *operator.outputs)):
            verb = "passes"
        else:
            return None
        tied = {} if verb == "reads" else ties(self.network, self.carried, group, operator.name)
        return Role(
            group=group.name,
            n_channels=group.n_channels,
            verb=verb,
            ties=tuple(Tie(layer=self.place(layer), by=self.places(way)) for layer, way in tied.items()),
            consumers=() if verb == "reads" else self.places(readers),
        )


def _place(operator: Operator) -> Place:
    return Place(name=operator.name, kind=operator.kind, source=operator.source)
