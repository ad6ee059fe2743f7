"""A channel of tokens between two queues: a counter."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from silicut.hardware import WAIT_BITS


class TokenChannel(wiring.Component):
    """Counts tokens that were sent and not taken yet.

    Args:
        depth: the most that it holds.

    Members:
        is_sent: In, one token comes, cycle t: the last cycle of what sends it.
        n_taken: In, so many tokens go, at most `count`, cycle t.
        count: Out, the tokens that can be taken, with what was sent at t from t + 1 on.
        has_overflowed: Out, whether a token was lost since the reset because `depth` were there.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        ports = {"is_sent": In(1), "n_taken": In(WAIT_BITS)}
        super().__init__({**ports, "count": Out(range(depth + 1)), "has_overflowed": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        """Add what is sent, and take off what is taken."""
        m = Module()
        following = self.count + self.is_sent - self.n_taken
        with m.If((self.count - self.n_taken == self._depth) & self.is_sent):
            m.d.sync += self.has_overflowed.eq(1)
        with m.Else():
            m.d.sync += self.count.eq(following)
        return m
