"""Which channels must be removed together, as `silicut.graph.grouping` finds them.

An *atom* is the least that can be removed: a channel of a convolution with all that is added to it, a head of an attention.
Atoms that lie in the same places form a `ChannelGroup`, of which any number may be kept. What no rule can follow is frozen,
with the reason and the user's line; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

FROZEN = -1


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
        changed_statistics: the operators (layer norms, means over channels) whose statistics are over fewer channels once
            some of these are removed; () where removal changes nothing but what reads the removed channels.
    """

    name: str
    atoms: tuple[int, ...]
    members: tuple[Member, ...]
    changed_statistics: tuple[str, ...] = ()

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

    def masks(self, kept: Mapping[str, np.ndarray]) -> dict[str, dict[int, np.ndarray]]:
        """Return for each tensor and parameter, by axis, which positions stay when groups keep only some channels.

        Args:
            kept: for some groups by name, the indices 0..n_channels-1 that stay, at least one each; other groups stay whole.
        """
        stays = np.ones(self.n_atoms + 1, bool)  # the last entry is FROZEN's
        for name, indices in kept.items():
            atoms = np.array(self.group(name).atoms)
            stays[atoms] = False
            stays[atoms[np.asarray(indices, int)]] = True
            assert len(indices), f"group {name} must keep a channel"
        return {name: {axis: stays[atoms] for axis, atoms in by_axis.items()} for name, by_axis in self.axes.items()}
