"""Layers put together: into sections of a network (what a reader calls its stages) and into blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from silicut.report.summary import LayerSummary

MAX_SECTIONS = 8
_DOMINANT_FRAC = 0.7  # a section with more of the time than this is split
_MAX_PIECES = 6


@dataclass(frozen=True)
class Section:
    """Consecutive layers of one part of a network.

    Attributes:
        layers: at least one.
        depth: how many parts of their dotted paths they share a name by.
    """

    layers: tuple[LayerSummary, ...]
    depth: int = 1

    @property
    def name(self) -> str:
        """The path all layers share, or those of the first and the last one."""
        first, last = (_prefix(layer.name, self.depth) for layer in (self.layers[0], self.layers[-1]))
        return first if first == last else f"{first} \u2013 {last}"

    @property
    def dense_ms(self) -> float:
        """Predicted milliseconds before."""
        return math.fsum(layer.dense_ms for layer in self.layers)

    @property
    def pruned_ms(self) -> float:
        """Predicted milliseconds after."""
        return math.fsum(layer.pruned_ms for layer in self.layers)


def sections_of(layers: Sequence[LayerSummary]) -> tuple[Section, ...]:
    """Return at most `MAX_SECTIONS` sections: layers by the first part of their dotted paths.

    Single layers side by side make one section; a section with most of the time is split by the next part of the paths.
    """
    sections = _without_singles(_runs(layers, 1))
    total_ms = math.fsum(layer.dense_ms for layer in layers)
    split = [piece for s in sections for piece in (_pieces(s) if s.dense_ms > _DOMINANT_FRAC * total_ms else [s])]
    return tuple(_chunks(split, MAX_SECTIONS))


def blocks_of(section: Section) -> tuple[tuple[LayerSummary, ...], ...]:
    """Return a section's layers in runs that share the path of a block and whether they are removed."""
    runs = itertools.groupby(section.layers, key=lambda layer: (block_name(layer.name), layer.is_removed))
    return tuple(tuple(run) for _, run in runs)


def block_name(name: str) -> str:
    """Return the module path a layer lies in, or its own name at the top.

    Example:
        >>> block_name("layer1.0.conv1"), block_name("conv1")
        ('layer1.0', 'conv1')
    """
    return name.rpartition(".")[0] or name


def _prefix(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _runs(layers: Sequence[LayerSummary], depth: int) -> list[Section]:
    runs = itertools.groupby(layers, key=lambda layer: _prefix(layer.name, depth))
    return [Section(tuple(run), depth) for _, run in runs]


def _without_singles(sections: Sequence[Section]) -> list[Section]:
    joined: list[Section] = []
    for is_single, run in itertools.groupby(sections, key=lambda s: len(s.layers) == 1):
        together = list(run)
        joined += [_joined(together)] if is_single else together
    return joined


def _joined(sections: Sequence[Section]) -> Section:
    return Section(tuple(layer for s in sections for layer in s.layers), sections[0].depth)


def _pieces(section: Section) -> list[Section]:
    deepest = max(layer.name.count(".") for layer in section.layers) + 1
    for depth in range(section.depth + 1, deepest + 1):
        runs = _runs(section.layers, depth)
        if len(runs) > 1:
            return _chunks(runs, _MAX_PIECES)
    return _chunks([Section((layer,), section.depth) for layer in section.layers], _MAX_PIECES)


def _chunks(sections: Sequence[Section], n: int) -> list[Section]:
    """Return at most n sections, neighbours joined so that each takes about as long."""
    if len(sections) <= n:
        return list(sections)
    total_ms = math.fsum(s.dense_ms for s in sections) or 1.0
    reached_ms = list(itertools.accumulate((s.dense_ms for s in sections), initial=0.0))
    numbers = [
        min(n - 1, int(n * (start + s.dense_ms / 2) / total_ms)) for s, start in zip(sections, reached_ms, strict=False)
    ]
    chunks = itertools.groupby(zip(numbers, sections, strict=True), key=lambda pair: pair[0])
    return [_joined([section for _, section in chunk]) for _, chunk in chunks]
