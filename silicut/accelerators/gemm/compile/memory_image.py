"""DRAM: addresses are given one behind the other, constants remember what lies in them before the program starts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from silicut.accelerators.gemm.compile.views import Part, Stored, View, padded_to_group
from silicut.accelerators.gemm.program import Region, pack_rows
from silicut.accelerators.gemm.program.places import Words


@dataclass(eq=False)
class MemoryImage:
    """The memory of a program under construction.

    Attributes:
        n_words: words given out so far.
        regions: what lies in memory before the start.
    """

    n_words: int = 0
    regions: list[Region] = field(default_factory=list)

    def reserve(self, n_words: int) -> int:
        """Return the address of new words."""
        address = self.n_words
        self.n_words += n_words
        return address

    def put(self, words: Words, what: str) -> int:
        """Return the address of words that lie in memory before the start.

        Args:
            words: array of any shape.
            what: for reports.
        """
        flat = np.ascontiguousarray(words).reshape(-1)
        address = self.reserve(len(flat))
        self.regions.append(Region(address, flat, what))
        return address

    def slab(self, pitch: int, height: int, width: int, bits: int) -> Stored:
        """Return a new slab."""
        stored = Stored(address=self.n_words, pitch=pitch, height=height, width=width, bits=bits)
        self.reserve(stored.n_words)
        return stored

    def constant(self, view: View, channels: range, value: int) -> Part:
        """Return channels of one value, in the format and the size of the map of a view."""
        pitch = len(padded_to_group(channels))
        stored = self.slab(pitch, view.height, view.width, view.format.bits)
        rows = np.full((view.height, view.width * pitch), value, np.int64)
        self.regions.append(Region(stored.address, pack_rows(rows, view.format.bits).reshape(-1), "constants"))
        return Part(stored, 0, padded_to_group(channels))
