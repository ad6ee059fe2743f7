"""The count of the ones that two words have in common, as a balanced tree in a pipeline."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.config import LutCore
from silicut.accelerators.gemm.rtl.stages import pair_sums, registered, shared_depths, wired

_LEAF_BITS = 3  # of each word: six inputs, those of one look-up table
_SLICED_BITS = 4  # up to so many bits counts are added as logic of six inputs at most, which needs no carry chains


def count_latency_cycles(core: LutCore) -> int:
    """Return the cycles from two words to their count: of the core's latency all but memories (3) and sums (1)."""
    return core.latency_cycles - 4


class CommonOnes(wiring.Component):
    """Counts the ones of left AND right.

    Args:
        core: whose `word_bits` the words have.

    Members:
        left, right: In, word_bits each, cycle t.
        count: Out, 0..word_bits, cycle t + count_latency_cycles(core).
    """

    def __init__(self, core: LutCore) -> None:
        self._core = core
        bits = core.word_bits
        super().__init__({"left": In(bits), "right": In(bits), "count": Out(range(bits + 1))})

    def elaborate(self, platform: Any) -> Module:
        """Count threes of bits in the first stage, and add the counts in the others."""
        m = Module()
        n_leaves = -(-self._core.word_bits // _LEAF_BITS)
        common = wired(m, self.left & self.right)
        thirds = [common[i * n_leaves : (i + 1) * n_leaves] for i in range(_LEAF_BITS)]
        counts = [registered(m, plane) for plane in _full_adders(*thirds)]
        is_sliced = True
        n_stages = count_latency_cycles(self._core) - 1
        for stage, depth in enumerate(shared_depths((n_leaves - 1).bit_length(), n_stages), start=1):
            for _ in range(depth):
                if is_sliced and len(counts) == _SLICED_BITS:
                    counts, is_sliced = _numbers(counts), False
                counts = _halved(m, counts) if is_sliced else [wired(m, count) for count in pair_sums(counts)]
            if stage < n_stages:
                counts = [registered(m, part) for part in counts]
        m.d.sync += self.count.eq(counts[0])
        return m


def _full_adders(a: Any, b: Any, c: Any) -> list[Any]:
    """Return sums and carries of three vectors of bits, bit by bit."""
    return [a ^ b ^ c, (a & b) | (a & c) | (b & c)]


def _halved(m: Module, planes: list[Any]) -> list[Any]:
    """Return half as many counts, each the sum of two; plane i of the counts is a vector of their bits i."""
    half, carry, sums = (len(planes[0]) + 1) // 2, Const(0, 1), []
    for plane in planes:
        bit, carry = (wired(m, part) for part in _full_adders(plane[:half], plane[half:], carry))
        sums.append(bit)
    return [*sums, carry]


def _numbers(planes: list[Any]) -> list[Any]:
    """Return counts as numbers."""
    return [Cat(plane[i] for plane in planes) for i in range(len(planes[0]))]
