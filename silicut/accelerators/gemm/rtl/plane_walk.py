"""The walk over pairs of planes: addresses and steps of the bit-serial array, a word a cycle without a gap."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.rtl.dot_product_unit import AddStep

ADDRESS_BITS, N_WORDS_BITS, PLANE_BITS = 15, 14, 3

PlaneFormat = data.StructLayout({"n_words": N_WORDS_BITS, "lhs_bits": 4, "rhs_bits": 4, "lhs_signed": 1, "rhs_signed": 1})
"""The registers of `set_product`."""


class PlaneWalk(wiring.Component):
    """Walks along the diagonals of plane pairs, from the most to the least significant one.

    ::

        for diagonal in a + w - 2 ... 0:
            for p, q with p + q = diagonal, p rising:
                for word in range(n_words):
                    left_address = left_base + p * n_words + word, right_address = right_base + q * n_words + word
                    is_first: the very first; shifts: the first of a diagonal, but not of the first one
                    negates: just one of p, q is the top plane of a signed operand; is_last: the very last

    Members:
        format: In, PlaneFormat, stable from `start` to the end of the walk.
        left_base, right_base: In, 15 bits, cycle s.
        start: In, cycle s; heeded where `is_ready`. The words of the walk belong to the cycles from s + 1 to s + n_words *
            a * w, and come out one cycle later: the output registers are the first of the three cycles of the memories.
        is_ready: Out, combinational of registers: no walk is on, or its last word is due.
        left_address, right_address: Out, 15 bits.
        add: Out, AddStep.
        is_valid, is_last: Out.
    """

    def __init__(self) -> None:
        base, address = In(ADDRESS_BITS), Out(ADDRESS_BITS)
        inputs = {"format": In(PlaneFormat), "left_base": base, "right_base": base, "start": In(1)}
        outputs = {"is_ready": Out(1), "left_address": address, "right_address": address, "add": Out(AddStep)}
        super().__init__({**inputs, **outputs, "is_valid": Out(1), "is_last": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        """Keep the pair at work and the first pair of its diagonal, each with the address of its planes."""
        m = Module()
        n_words, top_p, top_q = self.format.n_words, self.format.lhs_bits - 1, self.format.rhs_bits - 1
        pair, head = Signal(_Pair), Signal(_Pair)
        word, is_on, is_first, shifts = Signal(N_WORDS_BITS), Signal(), Signal(), Signal()
        is_pair_end, is_diagonal_end, is_end = Signal(), Signal(), Signal()
        m.d.comb += [
            is_pair_end.eq(word == n_words - 1),
            is_diagonal_end.eq((pair.p == top_p) | (pair.q == 0)),
            is_end.eq(is_pair_end & (pair.p == 0) & (pair.q == 0)),
            self.is_ready.eq(~is_on | is_end),
        ]
        m.d.sync += [word.eq(word + 1), is_first.eq(0), shifts.eq(0)]
        with m.If(is_pair_end):
            m.d.sync += [word.eq(0), pair.p.eq(pair.p + 1), pair.left.eq(pair.left + n_words)]
            m.d.sync += [pair.q.eq(pair.q - 1), pair.right.eq(pair.right - n_words)]
            with m.If(is_diagonal_end):
                following = self._following(head, top_q)
                m.d.sync += [head.eq(following), pair.eq(following), shifts.eq(1)]
        with m.If(self.is_ready):
            first = self._first(top_p, top_q)
            m.d.sync += [head.eq(first), pair.eq(first), word.eq(0), shifts.eq(0)]
            m.d.sync += [is_on.eq(self.start), is_first.eq(self.start)]
        is_negative = (self.format.lhs_signed & (pair.p == top_p)) ^ (self.format.rhs_signed & (pair.q == top_q))
        m.d.sync += [
            self.left_address.eq(pair.left + word),
            self.right_address.eq(pair.right + word),
            self.add.is_first.eq(is_first),
            self.add.shifts.eq(shifts),
            self.add.negates.eq(is_negative),
            self.is_valid.eq(is_on),
            self.is_last.eq(is_on & is_end),
        ]
        return m

    def _first(self, top_p: Any, top_q: Any) -> Any:
        """Return the pair of the top planes."""
        left = self.left_base + _times(top_p, self.format.n_words)
        right = self.right_base + _times(top_q, self.format.n_words)
        return _pair(top_p, top_q, left, right)

    def _following(self, head: Any, top_q: Any) -> Any:
        """Return the first pair of the diagonal below."""
        n_words, is_left = self.format.n_words, (head.q == top_q) & (head.p != 0)
        down = _pair(head.p - 1, head.q, head.left - n_words, head.right)
        across = _pair(head.p, head.q - 1, head.left, head.right - n_words)
        return Mux(is_left, down, across)


_Pair = data.StructLayout({"p": PLANE_BITS, "q": PLANE_BITS, "left": ADDRESS_BITS, "right": ADDRESS_BITS})


def _pair(p: Any, q: Any, left: Any, right: Any) -> Any:
    """Return planes p, q and where they start, cut to their widths, as bits of a _Pair."""
    return Cat(p[:PLANE_BITS], q[:PLANE_BITS], left[:ADDRESS_BITS], right[:ADDRESS_BITS])


def _times(plane: Any, n_words: Any) -> Any:
    """Return plane * n_words from three additions."""
    return sum((Mux(plane[i], n_words << i, 0) for i in range(1, PLANE_BITS)), Mux(plane[0], n_words, 0))
