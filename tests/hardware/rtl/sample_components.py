"""Small components whose behaviour is plain."""

from amaranth.hdl import Instance, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from silicut.hardware.rtl import MemoryPort


class Increment(wiring.Component):
    """o is a + step, one cycle later."""

    def __init__(self, step=1):
        self._step = step
        super().__init__({"a": In(signed(5)), "o": Out(signed(6))})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.a + self._step)
        return m


class Increments(wiring.Component):
    """Several increments side by side, by the steps given."""

    def __init__(self, steps):
        self._steps = steps
        layout = data.ArrayLayout(signed(5), len(steps))
        super().__init__({"a": In(layout), "o": Out(data.ArrayLayout(signed(6), len(steps)))})

    def elaborate(self, platform):
        m = Module()
        for i, step in enumerate(self._steps):
            m.submodules[f"unit{i}"] = unit = Increment(step)
            m.d.comb += [unit.a.eq(self.a[i]), self.o[i].eq(unit.o)]
        return m


class Echo(wiring.Component):
    """Ports of many shapes, one cycle later; and how many cycles since reset, from 5."""

    def __init__(self):
        matrix = data.ArrayLayout(data.ArrayLayout(signed(7), 3), 2)
        shapes = {"bit": 1, "word": 64, "wide": 100, "small": signed(3), "matrix": matrix}
        ports = {f"i_{name}": In(shape) for name, shape in shapes.items()}
        ports |= {f"o_{name}": Out(shape) for name, shape in shapes.items()}
        self._names = list(shapes)
        super().__init__({**ports, "count": Out(8, init=5), "is_odd": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [getattr(self, f"o_{name}").eq(getattr(self, f"i_{name}")) for name in self._names]
        m.d.sync += self.count.eq(self.count + 1)
        m.d.comb += self.is_odd.eq(self.i_word[0])
        return m


class Fifo(wiring.Component):
    """A stream through a queue of four."""

    def __init__(self, breaks_contract=False):
        payload = data.ArrayLayout(8, 5)
        self._breaks = breaks_contract
        super().__init__({"i": In(stream.Signature(payload)), "o": Out(stream.Signature(payload))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=40, depth=4)
        m.d.comb += [
            fifo.w_data.eq(self.i.payload.as_value()),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            self.o.payload.eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
        ]
        if self._breaks:
            toggle = Signal(4)
            m.d.sync += toggle.eq(toggle + 1)
            m.d.comb += self.o.valid.eq(fifo.r_rdy & toggle.any())
        return m


class Both(wiring.Component):
    """An interface with ports in both directions: what goes there is one more than what came back a cycle before."""

    def __init__(self):
        super().__init__({"pair": Out(wiring.Signature({"there": Out(4), "back": In(4)}))})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.pair.there.eq(self.pair.back + 1)
        return m


class Copier(wiring.Component):
    """A master that copies bursts of n_beats, one behind the other, and adds 1 to each beat.

    breaks: a rule that it does not keep: "stays" (addresses change while they wait) or "last" (no beat of a write is).
    """

    def __init__(self, beat_bits, n_beats, breaks=""):
        self._bits, self._n_beats, self._breaks = beat_bits, n_beats, breaks
        ports = {"source": In(16), "target": In(16), "n_bursts": In(8), "n_done": Out(8)}
        super().__init__({**ports, "port": Out(MemoryPort(beat_bits))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=self._bits, depth=2 * self._n_beats)
        port, n_bytes = self.port, self._n_beats * self._bits // 8
        n_read, n_written, n_beat, drift = Signal(8), Signal(8), Signal(8), Signal(3)
        m.d.sync += drift.eq(drift + 1)
        m.d.comb += [
            port.araddr.eq(self.source + n_read * n_bytes + (drift << 3 if self._breaks == "stays" else 0)),
            port.arlen.eq(self._n_beats - 1),
            port.arvalid.eq(n_read != self.n_bursts),
            fifo.w_data.eq(port.rdata + 1),
            fifo.w_en.eq(port.rvalid),
            port.rready.eq(fifo.w_rdy),
            port.awaddr.eq(self.target + n_written * n_bytes),
            port.awlen.eq(self._n_beats - 1),
            port.awvalid.eq(n_written != self.n_bursts),
            port.wdata.eq(fifo.r_data),
            port.wvalid.eq(fifo.r_rdy),
            fifo.r_en.eq(port.wready),
            port.wlast.eq((n_beat == self._n_beats - 1) & (self._breaks != "last")),
            port.bready.eq(1),
        ]
        with m.If(port.arvalid & port.arready):
            m.d.sync += n_read.eq(n_read + 1)
        with m.If(port.awvalid & port.awready):
            m.d.sync += n_written.eq(n_written + 1)
        with m.If(port.wvalid & port.wready):
            m.d.sync += n_beat.eq(n_beat + 1)
            with m.If(n_beat == self._n_beats - 1):
                m.d.sync += n_beat.eq(0)
        with m.If(port.bvalid):
            m.d.sync += self.n_done.eq(self.n_done + 1)
        return m


class Foreign(wiring.Component):
    """A component with an instance of something that is not there."""

    a: In(1)
    o: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = Instance("somewhere_else", i_a=self.a, o_o=self.o)
        return m
