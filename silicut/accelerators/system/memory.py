"""One memory for all: how transfers that are under way share it.

Every accelerator has a port to read and one to write. The ports that have something to move share the bandwidth equally at
every moment, like a fluid, and a transfer ends with the cycle in which its last byte moves. All is counted in whole parts of
a byte that every number of ports divides, so that nothing is rounded but the end of a transfer, up to a whole cycle.
"""

from __future__ import annotations

import math
from fractions import Fraction


class SharedMemory:
    """Transfers under way, by port.

    Args:
        n_ports: that may move at once.
        bytes_per_cycle: of all together; None moves everything at once.
    """

    def __init__(self, n_ports: int, bytes_per_cycle: Fraction | None) -> None:
        self._rate = bytes_per_cycle
        self._parts = math.lcm(*range(1, n_ports + 1)) * (1 if bytes_per_cycle is None else bytes_per_cycle.denominator)
        self._left: dict[int, int] = {}
        self._now = 0

    def begin(self, port: int, n_bytes: int, now: int) -> bool:
        """Begin a transfer at a free port, and tell whether it has ended already, having nothing to wait for."""
        self._move(now)
        if self._rate is None or not n_bytes:
            return True
        self._left[port] = n_bytes * self._parts
        return False

    def next_end(self) -> int | None:
        """Return when the next transfer ends if no other begins before; None if none is under way."""
        if not self._left:
            return None
        return self._now + max(1, -(-min(self._left.values()) // self._share()))

    def ended(self, now: int) -> list[int]:
        """Return the ports whose transfers have ended by now, and free them."""
        self._move(now)
        done = [port for port, left in self._left.items() if left <= 0]
        for port in done:
            del self._left[port]
        return done

    def _share(self) -> int:
        """Return what each port moves in a cycle, in parts of a byte."""
        assert self._rate is not None  # otherwise nothing is ever under way
        return self._rate.numerator * (self._parts // self._rate.denominator) // len(self._left)

    def _move(self, now: int) -> None:
        if self._left and now > self._now:
            moved = (now - self._now) * self._share()
            for port in self._left:
                self._left[port] -= moved
        self._now = now
