"""The head of a queue: takes instructions apart, waits for their tokens, and starts them in order."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.program import INSTRUCTIONS, Queue, Resource
from silicut.accelerators.gemm.program.memory_instructions import Sync
from silicut.accelerators.gemm.program.queues import CHANNELS, RESULT_RESOURCES, Channel, channel_of
from silicut.accelerators.gemm.rtl.registers import fields_layout
from silicut.accelerators.gemm.rtl.stages import wired
from silicut.hardware import OPCODE_BITS, WAIT_BITS, WORD_BITS, QueueFormat

_NO_RESOURCE = 7


def queue_channels(queue: Queue, *, is_wait: bool) -> tuple[Channel, ...]:
    """Return the channels from which a queue takes tokens, or to which it sends them, in the order of CHANNELS."""
    found = {channel_of(queue, slot, resource, is_wait=is_wait) for slot, resource in _meanings(queue)}
    return tuple(channel for channel in CHANNELS if channel in found)


def _meanings(queue: Queue) -> list[tuple[str, Resource | None]]:
    """Return the slots of a queue's headers, each with the resources that its instructions may be about."""
    slots = INSTRUCTIONS.by_name[queue].waits
    if queue is not Queue.MEMORY:
        return [(slot, None) for slot in slots]
    resources = [resource for resource in Resource if resource is not Resource.STRIPE]
    every = [(slot, resource) for slot in slots for resource in resources]
    return [meaning for meaning in every if meaning != ("post", Resource.WEIGHTS)]


class Dispatcher(wiring.Component):
    """Starts the instruction at the head of its queue when the stage is free and all tokens are there.

    In the queues of products, tokens of results (outputs and residuals) are not waited for: they are asked of the stage
    behind, as `later`.

    Args:
        queue: whose headers it reads.
        token_depth: the most tokens that a channel holds.

    Members, in one cycle, combinational of the word at the head and of the counters:
        words: In, stream of instructions, 128 bits.
        counts: In, tokens of each of queue_channels(queue, is_wait=True).
        is_free: In, the stage takes an instruction in this cycle. It may look at the head to say so.
        is_waiting: Out, there is an instruction at the head; opcode, layer, payload, sends and later are its.
        is_dispatched: Out, it starts in this cycle; the next word is at the head in the next one.
        n_taken: Out, tokens that are taken of each channel in this cycle.
        opcode, layer: Out.
        payload: Out, the instruction's own fields, from bit 0 on.
        sends: Out, to which of queue_channels(queue, is_wait=False) it gives a token, by bit.
        later: Out, tokens that its result needs, of each channel.
    """

    def __init__(self, queue: Queue, token_depth: int) -> None:
        self._queue, self._format = queue, INSTRUCTIONS.by_name[queue]
        self._takes, self._gives = queue_channels(queue, is_wait=True), queue_channels(queue, is_wait=False)
        header, n = self._format.header, len(self._takes)
        tokens = data.ArrayLayout(WAIT_BITS, n)
        outputs = {
            "is_waiting": 1,
            "is_dispatched": 1,
            "n_taken": tokens,
            "later": tokens,
            "opcode": OPCODE_BITS,
            "layer": 9,
        }
        outputs |= {"payload": WORD_BITS - header.n_bits, "sends": len(self._gives)}
        inputs = {"counts": In(data.ArrayLayout(range(token_depth + 1), n)), "is_free": In(1)}
        ports = {name: Out(shape) for name, shape in outputs.items()}
        super().__init__({"words": In(stream.Signature(WORD_BITS)), **inputs, **ports})

    def elaborate(self, platform: Any) -> Module:
        """Take the header apart and compare."""
        m = Module()
        layout = fields_layout(self._format.header.fields)
        header = data.View(layout, self.words.payload[: self._format.header.n_bits])
        m.d.comb += [self.opcode.eq(header.opcode), self.layer.eq(header.layer)]
        m.d.comb += self.payload.eq(self.words.payload[self._format.header.n_bits :])
        resource = wired(m, _resource(self._queue, self._format, self.opcode, self.payload))
        are_there = []
        for i, channel in enumerate(self._takes):
            asked = wired(m, self._of_channel(channel, resource, header, "wait"))
            if self._is_of_result(channel):
                m.d.comb += self.later[i].eq(asked)
            else:
                are_there.append(self.counts[i] >= asked)
                m.d.comb += self.n_taken[i].eq(Mux(self.is_dispatched, asked, 0))
        sends = Cat(self._of_channel(channel, resource, header, "send") for channel in self._gives)
        m.d.comb += [self.sends.eq(sends), self.is_waiting.eq(self.words.valid)]
        m.d.comb += self.is_dispatched.eq(self.words.valid & self.is_free & Cat(are_there).all())
        m.d.comb += self.words.ready.eq(self.is_dispatched)
        return m

    def _is_of_result(self, channel: Channel) -> bool:
        return self._queue in (Queue.LUT_COMPUTE, Queue.DSP_COMPUTE) and channel.resource in RESULT_RESOURCES

    def _of_channel(self, channel: Channel, resource: Any, header: Any, what: str) -> Any:
        """Return the field of the header that means a channel, 0 if the instruction is about another resource."""
        if self._queue is not Queue.MEMORY:
            return header[f"{what}_{channel.resource.label}"]
        is_meant = resource == channel.resource
        field = header[f"{what}_{channel.unit.label}"]
        return Mux(is_meant, field, 0)


def _resource(queue: Queue, format: QueueFormat, opcode: Any, payload: Any) -> Any:
    """Return the number of the resource that an instruction is about; 7 for none."""
    if queue is not Queue.MEMORY:
        return Const(_NO_RESOURCE, 3)
    by_opcode = [Const(_NO_RESOURCE, 3)] * (1 << OPCODE_BITS)
    for number, kind in enumerate(format.kinds):
        resource = getattr(kind, "resource", None)
        if kind is Sync:
            by_opcode[number] = Cat(payload[: fields_layout(format.layouts[kind].fields).size], Const(0, 1))
        elif isinstance(resource, Resource):
            by_opcode[number] = Const(resource, 3)
    return Array(by_opcode)[opcode]
