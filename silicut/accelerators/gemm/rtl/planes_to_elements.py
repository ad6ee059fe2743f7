"""From words of planes, as they come out of memory, to whole elements for the feature buffer of the DSP core."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import GRANULE
from silicut.accelerators.gemm.rtl.stages import wired

MAX_BITS = 8
_ALL = (1 << MAX_BITS) - 1


class PlanesToElements(wiring.Component):
    """Transposes granules: `bits` words, the lowest plane first, become 64 elements.

    Args:
        n_words: words that come in one cycle; granules follow each other without a gap, so a word may be the last of one
            and the next word of the same cycle the first of another.

    Members:
        words: In, n_words words of 64 bits, cycle t.
        n_valid: In, how many of them there are, from the first on, cycle t.
        bits: In, planes of an element, n_words .. 8, the same for all words of a granule.
        is_signed: In, whether elements are two's complement, likewise.
        is_done: Out, whether a granule was completed at t, cycle t + 1.
        elements: Out, its 64 elements, extended to 8 bits, cycle t + 1 where is_done.
    """

    def __init__(self, n_words: int) -> None:
        self._n_words = n_words
        inputs = {"words": In(data.ArrayLayout(GRANULE, n_words)), "n_valid": In(range(n_words + 1))}
        inputs |= {"bits": In(range(MAX_BITS + 1)), "is_signed": In(1)}
        super().__init__({**inputs, "is_done": Out(1), "elements": Out(data.ArrayLayout(MAX_BITS, GRANULE))})

    def elaborate(self, platform: Any) -> Module:
        """Put bit behind bit; a bit fills all above it with the sign, which the next ones overwrite."""
        m = Module()
        elements, held = ([Signal(MAX_BITS, reset_less=True) for _ in range(GRANULE)] for _ in range(2))
        plane = Signal(range(MAX_BITS))
        so_far, at = elements, plane
        m.d.sync += self.is_done.eq(0)
        for i, word in enumerate(self.words):
            is_valid = wired(m, self.n_valid > i)
            below = wired(m, ((1 << at) - 1)[:MAX_BITS])
            own = Mux(self.is_signed, ~below, (1 << at)[:MAX_BITS])
            kept, filled = wired(m, Mux(is_valid, below, _ALL)), wired(m, Mux(is_valid, own, 0))
            bits = [bit.replicate(MAX_BITS) & filled for bit in word]
            so_far = [wired(m, (old & kept) | bit) for old, bit in zip(so_far, bits, strict=True)]
            is_last = wired(m, is_valid & (at + 1 == self.bits))
            with m.If(is_last):
                m.d.sync += [self.is_done.eq(1), *_moved(held, so_far)]
            at = wired(m, Mux(is_last, 0, at + is_valid)[: len(plane)])
        m.d.sync += [plane.eq(at), *_moved(elements, so_far)]
        m.d.comb += self.elements.eq(Cat(held))
        return m


def _moved(registers: list[Any], values: list[Any]) -> list[Any]:
    return [register.eq(value) for register, value in zip(registers, values, strict=True)]
