"""Where the tensors of a network lie in memory, as the compiler sees them.

A tensor is read through a *view*: parts of slabs, one behind the other. What only says where numbers lie is a view of what
it reads: a concatenation is a longer list of parts, a slice of channels a shorter one, a pad of channels a list with
constant slabs in it, and the vector of a flattened map the map itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from silicut.accelerators.gemm.program import Slab, TensorPlace, Unrolled, row_words
from silicut.numerics import IntegerFormat

CHANNEL_GROUP = 8
"""Slabs that the cores write have pitches of multiples of it, and tensors that are added agree on multiples of it."""
NOTHING = -1
"""What stands in a list of channels for an element that means nothing."""


def padded_to_group(channels: Sequence[int]) -> tuple[int, ...]:
    """Return channels followed by as many elements without a meaning as fill the last group.

    Example:
        >>> padded_to_group([4, 5, 6])
        (4, 5, 6, -1, -1, -1, -1, -1)
    """
    return (*channels, *[NOTHING] * (-len(channels) % CHANNEL_GROUP))


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored:
    """One slab in memory; equal only to itself.

    Attributes:
        address: of its first word.
        pitch: elements of a pixel.
        height, width: of the map.
        bits: planes of an element.
    """

    address: int
    pitch: int
    height: int
    width: int
    bits: int

    @property
    def row_words(self) -> int:
        """Words of a row."""
        return row_words(self.width * self.pitch, self.bits)

    @property
    def n_words(self) -> int:
        """Words of all rows."""
        return self.height * self.row_words


@dataclass(frozen=True, eq=False)
class Part:
    """Neighbouring elements of each pixel of a slab.

    Attributes:
        slab: where they lie.
        first: the first of them.
        channels: the view's channel of each, -1 for those that mean nothing.
    """

    slab: Stored
    first: int
    channels: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it is all of every pixel."""
        return self.first == 0 and len(self.channels) == self.slab.pitch

    def renamed(self, channels: Sequence[int]) -> Part:
        """Return the same elements as other channels."""
        return replace(self, channels=tuple(channels))

    def cut(self, sizes: Sequence[int]) -> Iterator[Part]:
        """Yield it in pieces of so many elements."""
        start = 0
        for size in sizes:
            yield Part(self.slab, self.first + start, self.channels[start : start + size])
            start += size


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """Where a tensor lies.

    Attributes:
        format: of its numbers.
        n_channels: of the tensor, or of the map that it is the flattening of.
        height, width: of the map; 1 for vectors.
        parts: every channel is in one of them.
        unrolled: how the host packs a network input.
    """

    format: IntegerFormat
    n_channels: int
    height: int
    width: int
    parts: tuple[Part, ...]
    unrolled: Unrolled | None = None

    @property
    def order(self) -> tuple[int, ...]:
        """The channels of all parts, one behind the other."""
        return tuple(channel for part in self.parts for channel in part.channels)

    @property
    def packed_height(self) -> int:
        """The rows that lie in memory."""
        return self.unrolled.n_rows if self.unrolled else self.height

    def selected(self, channels: range) -> View:
        """Return the view of some channels, numbered anew; whole parts without any of them are left out."""
        wanted = {channel: i for i, channel in enumerate(channels)}
        parts = [part.renamed([wanted.get(channel, NOTHING) for channel in part.channels]) for part in self.parts]
        used = tuple(part for part in parts if set(part.channels) != {NOTHING})
        return replace(self, n_channels=len(channels), parts=used)

    @property
    def is_plain(self) -> bool:
        """Whether it is made of whole slabs, each once, as what is added must be."""
        slabs = [part.slab for part in self.parts]
        return len(set(slabs)) == len(slabs) and all(part.is_whole for part in self.parts)

    def reordered(self, order: Sequence[int]) -> View:
        """Return the same tensor with its elements in another order.

        Args:
            order: channels; where it has elements that mean nothing, some element of a slab stands in.
        """
        found = {c: (part, i) for part in self.parts for i, c in enumerate(part.channels) if c != NOTHING}
        runs: list[list[tuple[Part, int, int]]] = []
        part, i = self.parts[0], -1
        for channel in order:
            part, i = found.get(channel, (part, i + 1 if i + 1 < len(part.channels) else 0))
            if runs and runs[-1][-1][:2] == (part, i - 1):
                runs[-1].append((part, i, channel))
            else:
                runs.append([(part, i, channel)])
        parts = [Part(run[0][0].slab, run[0][0].first + run[0][1], tuple(c for _, _, c in run)) for run in runs]
        return replace(self, parts=tuple(parts))

    def trimmed(self) -> View:
        """Return the view with each part cut to the elements from the first to the last that mean something."""
        parts = []
        for part in self.parts:
            used = [i for i, channel in enumerate(part.channels) if channel != NOTHING]
            if used:
                parts.append(Part(part.slab, part.first + used[0], part.channels[used[0] : used[-1] + 1]))
        return replace(self, parts=tuple(parts))

    def place(self) -> TensorPlace:
        """Return the address map's entry of the tensor."""
        slabs = [
            Slab(channels=(NOTHING,) * p.first + p.channels, pitch=p.slab.pitch, address=p.slab.address) for p in self.parts
        ]
        return TensorPlace(
            shape=(self.n_channels, self.height, self.width),
            format=self.format.name,
            slabs=tuple(slabs),
            unrolled=self.unrolled,
        )


def joined(views: Sequence[View]) -> View:
    """Return the view of a concatenation along the channels."""
    parts, n_channels = [], 0
    for view in views:
        for part in view.parts:
            parts.append(part.renamed([c + n_channels if c != NOTHING else c for c in part.channels]))
        n_channels += view.n_channels
    return replace(views[0], n_channels=n_channels, parts=tuple(parts))
