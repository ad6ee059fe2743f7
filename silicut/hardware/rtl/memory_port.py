"""The port to a memory that models and hardware share: the part of AXI4 that accelerators here use."""

from __future__ import annotations

from typing import Any

from amaranth.lib.wiring import In, Out, Signature

LENGTH_BITS = 8
"""Width of the number of beats of a burst, less one."""


class MemoryPort(Signature):
    """What a master has: bursts of rising addresses, whole beats, in order, one identifier.

    A transfer of a channel takes place in a cycle in which its valid and its ready are high; valid must not wait for ready,
    and what is offered stays until it is taken. Fields of AXI4 that are constant here (sizes, kinds of bursts, strobes,
    answers) are left out; a wrapper adds them.

    Args:
        beat_bits: of a beat, a multiple of 64.
        address_bits: addresses count bytes.

    Members:
        araddr, arlen, arvalid: Out; arready: In: reads, arlen + 1 beats each.
        rdata, rlast, rvalid: In; rready: Out: their beats.
        awaddr, awlen, awvalid: Out; awready: In: writes.
        wdata, wlast, wvalid: Out; wready: In: their beats.
        bvalid: In; bready: Out: a write has been done.
    """

    def __init__(self, beat_bits: int = 64, address_bits: int = 32) -> None:
        self.beat_bits, self.address_bits = beat_bits, address_bits
        members: dict[str, Any] = {}
        for channel in ("ar", "aw"):
            members |= {f"{channel}addr": Out(address_bits), f"{channel}len": Out(LENGTH_BITS)}
            members |= {f"{channel}valid": Out(1), f"{channel}ready": In(1)}
        members |= {"rdata": In(beat_bits), "rlast": In(1), "rvalid": In(1), "rready": Out(1)}
        members |= {"wdata": Out(beat_bits), "wlast": Out(1), "wvalid": Out(1), "wready": In(1)}
        super().__init__({**members, "bvalid": In(1), "bready": Out(1)})
