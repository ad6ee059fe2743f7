"""The memory that a build gets: ports and pauses that carry a given bandwidth at a given clock."""

from __future__ import annotations

import math
from fractions import Fraction

from silicut.accelerators.gemm.config import Memory
from silicut.targets.parts import Board

_PORT_BYTES = 8
_TWO_PORTS = 2
_MAX_DENOMINATOR = 64
_ROUNDING = 1e-9


def memory_of(
    clock_hz: float, board: Board | None = None, bandwidth_gb_per_s: float | None = None, efficiency: float = 1.0
) -> Memory:
    """Return the memory as the machine sees it: as few ports of 64 bits as carry the bandwidth, and pauses for the rest.

    Args:
        clock_hz: of the ports.
        board: its bandwidth, and no more ports than it has; None for any number of ports.
        bandwidth_gb_per_s: instead of the board's, or of two ports where there is no board.
        efficiency: the share of it that transfers get.

    Example:
        >>> memory_of(100e6, bandwidth_gb_per_s=4.2).n_ports, memory_of(100e6, efficiency=0.75).refresh_every
        (6, 3)
    """
    port_gb_per_s = _PORT_BYTES * clock_hz / 1e9
    wanted = bandwidth_gb_per_s or (board.bandwidth_gb_per_s if board else _TWO_PORTS * port_gb_per_s)
    n_ports = max(1, math.ceil(wanted / port_gb_per_s - _ROUNDING))
    if board is not None:
        n_ports = min(n_ports, board.n_ports)
    share = efficiency * min(1.0, wanted / (n_ports * port_gb_per_s))
    busy = Fraction(share).limit_denominator(_MAX_DENOMINATOR)
    n_pauses = busy.denominator - busy.numerator
    return Memory(n_ports=n_ports, refresh_every=busy.numerator if n_pauses else 0, refresh_cycles=n_pauses)
