"""What of a network can be pruned, what cannot, and why: the records behind `silicut inspect`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.records import Record
from silicut.report.findings import Finding, LatencyParts
from silicut.report.part import Part
from silicut.targets.engine import EngineSettings


@dataclass(frozen=True, kw_only=True)
class Place(Part):
    """An operator and where the user wrote it.

    Attributes:
        name: of the operator.
        kind: of the operator, "conv2d"; "parameter" for a shared parameter.
        source: "file:line", or "".
    """

    name: str
    kind: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.source})" if self.source else self.name


@dataclass(frozen=True, kw_only=True)
class GroupTiming(Part):
    """What a profile knows about a group.

    Attributes:
        ms: predicted milliseconds of the layers that touch it, everything dense.
        step: channels between two stairs.
        cliffs: probed widths that cost more than a larger one.
        widths: legal widths, increasing.
    """

    ms: float
    step: int
    cliffs: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class GroupInspection(Part):
    """Channels that may be removed, each one everywhere at once.

    Attributes:
        name: the first layer that makes them.
        n_channels: how many there are.
        producers: the layers that make them; several are tied.
        ties: the operators that tie the producers.
        consumers: the layers that read them.
        followers: the other operators with parameters on them, such as batch normalisation.
        neighbours: the groups that lie beside this one in some tensor.
        n_parameters: trained numbers that lie on them.
        n_macs: multiply-accumulates of one inference that lie on them.
        block: the residual block that they exist in only, so that they go with it, or "".
        timing: None without a profile.
    """

    name: str
    n_channels: int
    producers: tuple[Place, ...]
    ties: tuple[Place, ...]
    consumers: tuple[Place, ...]
    followers: tuple[Place, ...]
    neighbours: tuple[str, ...]
    n_parameters: int
    n_macs: int
    block: str = ""
    timing: GroupTiming | None = None


@dataclass(frozen=True, kw_only=True)
class BlockInspection(Part):
    """A residual branch that may be removed.

    Attributes:
        name: of the block.
        addition: the operator that adds it to its shortcut.
        layers: the layers with parameters that go with it.
        groups: the groups that go with it.
        n_parameters, n_macs: what goes with it.
        ms: predicted milliseconds of its layers, everything dense; None without a profile.
    """

    name: str
    addition: Place
    layers: tuple[Place, ...]
    groups: tuple[str, ...]
    n_parameters: int
    n_macs: int
    ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class FrozenInspection(Part):
    """Channels that must stay.

    Attributes:
        layers: that make them.
        n_channels: how many, counted at the first layer.
        reason: one sentence.
        ms: predicted milliseconds of those of the layers that no width changes; None without a profile.
    """

    layers: tuple[Place, ...]
    n_channels: int
    reason: str
    ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Inspection(Record):
    """What can be pruned of a network.

    Attributes:
        network_hash: of its structure.
        n_parameters, n_macs: of the whole network; multiply-accumulates of one inference.
        groups: what may be narrowed, in order of execution.
        blocks: what may be removed whole.
        frozen: what must stay, and why.
        settings: engine, threads, batch of the profile; None without one, as with all below.
        cpu: where it was made.
        dense_ms: measured.
        parts: of the dense latency as predicted, by what could change them.
        findings: the known causes of a network that gets no faster which apply here, the weightiest first.
    """

    schema: ClassVar[str] = "inspection/1"
    network_hash: str
    n_parameters: int
    n_macs: int
    groups: tuple[GroupInspection, ...]
    blocks: tuple[BlockInspection, ...]
    frozen: tuple[FrozenInspection, ...]
    settings: EngineSettings | None = None
    cpu: str = ""
    dense_ms: float | None = None
    parts: LatencyParts | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tie(Part):
    """A layer whose channels are those of another.

    Attributes:
        layer: the other layer.
        by: the operators that make them one, nearest first.
    """

    layer: Place
    by: tuple[Place, ...]


@dataclass(frozen=True, kw_only=True)
class Role(Part):
    """What an operator does with the channels of one group.

    Attributes:
        group: name of the group.
        n_channels: how many channels it has.
        verb: "makes", "reads", "follows" (has parameters on them) or "passes" (has none).
        ties: the other layers that make them, where it makes or ties them.
        consumers: the layers that read them.
    """

    group: str
    n_channels: int
    verb: str
    ties: tuple[Tie, ...] = ()
    consumers: tuple[Place, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Explanation(Record):
    """Why an operator can be pruned or not.

    Attributes:
        place: the operator.
        roles: what it does with which groups; empty where it touches none.
        frozen: channels it makes that must stay; where it touches no group, also those that it only passes on.
        block: the removable residual block it is part of, or "".
    """

    schema: ClassVar[str] = "explanation/1"
    place: Place
    roles: tuple[Role, ...]
    frozen: tuple[FrozenInspection, ...]
    block: str = ""
