"""From words of planes, as they come out of memory, to whole elements for the feature buffer of the DSP core."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import GRANULE
from silicut.accelerators.gemm.rtl.stages import wired

MAX_BITS = 8


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
        """Put word behind word; a plane fills all planes above it with its sign, which the next ones overwrite."""
        m = Module()
        planes = [Signal(GRANULE, reset_less=True) for _ in range(MAX_BITS)]
        number = Signal(range(MAX_BITS))
        so_far, at = planes, number
        m.d.sync += self.is_done.eq(0)
        for i in range(self._n_words):
            is_valid = wired(m, self.n_valid > i)
            so_far = [wired(m, Mux(is_valid, self._plane(p, at, self.words[i], old), old)) for p, old in enumerate(so_far)]
            is_last = wired(m, is_valid & (at + 1 == self.bits))
            with m.If(is_last):
                m.d.sync += [self.is_done.eq(1), *(self._taken(so_far))]
            at = wired(m, Mux(is_last, 0, at + is_valid)[: len(number)])
        m.d.sync += [plane.eq(new) for plane, new in zip(planes, so_far, strict=True)]
        m.d.sync += number.eq(at)
        return m

    def _plane(self, plane: int, at: Any, word: Any, old: Any) -> Any:
        """Return what a plane becomes when a word comes for plane `at`."""
        above = word & self.is_signed.replicate(GRANULE)
        return Mux(at == plane, word, Mux(at < plane, above, old))

    def _taken(self, planes: list[Any]) -> list[Any]:
        return [self.elements[k].eq(Cat(plane[k] for plane in planes)) for k in range(GRANULE)]
