"""The six queues, what they share, and the channels of tokens between them.

An instruction is dispatched when its queue is free and all tokens that it takes are there. Dispatch takes one cycle, and
registers and `sync` do nothing else; the queue is free again when the instruction has been done. Tokens are sent when it has
been done, and a token sent at time t can be taken at time t. Where this is not so, instructions say it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from typing import NamedTuple


class Queue(StrEnum):
    """An in-order queue of instructions; the order is that of their numbers in a header."""

    MEMORY = "memory"
    """All reads and writes of DRAM."""
    LUT_WINDOW = "lut.window"
    """Feature buffer to the LHS banks of the LUT core."""
    LUT_COMPUTE = "lut.compute"
    """Products of the LUT core and what is made of them."""
    DSP_WINDOW = "dsp.window"
    """Feature buffer to the LHS banks of the DSP core."""
    DSP_COMPUTE = "dsp.compute"
    """Products of the DSP core and what is made of them."""
    POST = "post"
    """Pools, additions and functions without a product."""


class Unit(IntEnum):
    """What has buffers of its own; the number stands in fields, the lower-case name in channels and buffers."""

    LUT = 0
    DSP = 1
    POST = 2

    @property
    def label(self) -> str:
        """Its name in channels and buffers."""
        return self.name.lower()


class Resource(IntEnum):
    """What one queue fills and another one empties."""

    ROWS = 0
    """Rows in a feature buffer; filled by MEMORY, read by WINDOW or POST."""
    WEIGHTS = 1
    """Words of RHS banks (and the tables loaded before them); filled by MEMORY, read by COMPUTE."""
    RESIDUAL = 2
    """Rows in a residual buffer; filled by MEMORY, read by COMPUTE or POST."""
    OUTPUT = 3
    """Rows in an output buffer; filled by COMPUTE or POST, read by MEMORY."""
    STRIPE = 4
    """Words of LHS banks; filled by WINDOW, read by COMPUTE."""

    @property
    def label(self) -> str:
        """Its name in channels."""
        return self.name.lower()


class Channel(NamedTuple):
    """A counter of tokens from one queue to one other.

    Attributes:
        unit: whose buffer it is about.
        resource: what is filled or freed.
        is_filled: whether a token says "filled" (to the reader) or "free" (back to the one that fills).
    """

    unit: Unit
    resource: Resource
    is_filled: bool

    @property
    def label(self) -> str:
        """Its name, such as "lut.rows.filled"."""
        return f"{self.unit.label}.{self.resource.label}.{'filled' if self.is_filled else 'free'}"


@dataclass(frozen=True)
class _Side:
    """What a queue fills and reads; it waits for "free" of the one and for "filled" of the other."""

    fills: tuple[Resource, ...]
    reads: tuple[Resource, ...]


_MEMORY = _Side((Resource.ROWS, Resource.WEIGHTS, Resource.RESIDUAL), (Resource.OUTPUT,))
_WINDOW = _Side((Resource.STRIPE,), (Resource.ROWS,))
_COMPUTE = _Side((Resource.OUTPUT,), (Resource.STRIPE, Resource.WEIGHTS, Resource.RESIDUAL))
_POST = _Side((Resource.OUTPUT,), (Resource.ROWS, Resource.RESIDUAL))

UNIT_OF = {
    Queue.LUT_WINDOW: Unit.LUT,
    Queue.LUT_COMPUTE: Unit.LUT,
    Queue.DSP_WINDOW: Unit.DSP,
    Queue.DSP_COMPUTE: Unit.DSP,
    Queue.POST: Unit.POST,
}
"""The unit of every queue but MEMORY, which serves all."""

_SIDES = {
    Queue.LUT_WINDOW: _WINDOW,
    Queue.DSP_WINDOW: _WINDOW,
    Queue.LUT_COMPUTE: _COMPUTE,
    Queue.DSP_COMPUTE: _COMPUTE,
    Queue.POST: _POST,
}

MEMORY_SLOTS = tuple(unit.label for unit in Unit)
"""The names of the channels in headers of MEMORY: units; which resource of theirs is meant follows from the instruction."""
WINDOW_SLOTS = ("rows", "stripe")
"""Those of WINDOW."""
COMPUTE_SLOTS = ("stripe", "weights", "output", "residual")
"""Those of COMPUTE."""
POST_SLOTS = ("rows", "residual", "output")
"""Those of POST."""
RESULT_RESOURCES = frozenset({Resource.OUTPUT, Resource.RESIDUAL})
"""What the result stage of COMPUTE takes and gives tokens of; the others belong to its execute stage."""


@cache
def channel_of(queue: Queue, slot: str, resource: Resource | None, *, is_wait: bool) -> Channel:
    """Return the channel that a slot of an instruction's header stands for.

    Args:
        queue: of the instruction.
        slot: the name in `waits` or `sends`.
        resource: which one an instruction of MEMORY is about, None elsewhere.
        is_wait: whether tokens are taken or given.

    Raises:
        KeyError: there is no such channel.
    """
    if queue is Queue.MEMORY:
        unit, side = Unit[slot.upper()], _MEMORY
        if resource is None or (unit is Unit.POST and resource is Resource.WEIGHTS) or resource is Resource.STRIPE:
            raise KeyError(slot)
    else:
        unit, side = UNIT_OF[queue], _SIDES[queue]
        resource = Resource[slot.upper()]
    return Channel(unit, resource, is_filled=is_wait != (resource in side.fills))


CHANNELS: tuple[Channel, ...] = tuple(
    Channel(unit, resource, is_filled)
    for unit in Unit
    for resource in Resource
    for is_filled in (True, False)
    if unit is not Unit.POST or resource in (Resource.ROWS, Resource.RESIDUAL, Resource.OUTPUT)
)
"""All channels."""
