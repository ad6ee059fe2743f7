"""Pieces of programs written by hand: memory, places, registers, loads and stores of whole tensors."""

from __future__ import annotations

import dataclasses

import numpy as np

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.program import (
    ROUNDINGS,
    Layer,
    LoadLookup,
    LoadResidual,
    LoadRows,
    LoadTable,
    Program,
    Queue,
    Region,
    SetConstant,
    SetCopy,
    SetKernel,
    SetLookup,
    SetMap,
    SetOutput,
    SetPixels,
    SetRequantise,
    SetResidual,
    SetResidualMap,
    SetResidualSlab,
    SetSlab,
    Slab,
    Store,
    TensorPlace,
    Unit,
    lookup_words,
    row_words,
    table_words,
)
from silicut.numerics import Add, IntegerFormat, Lookup, Requantise

WINDOW = {Unit.LUT: Queue.LUT_WINDOW, Unit.DSP: Queue.DSP_WINDOW, Unit.POST: Queue.POST}
COMPUTE = {Unit.LUT: Queue.LUT_COMPUTE, Unit.DSP: Queue.DSP_COMPUTE, Unit.POST: Queue.POST}
INT32 = IntegerFormat(32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """What follows a sum: a requantiser, and perhaps an addition, a function and a copy."""

    requantise: Requantise
    add: Add | None = None
    lookup: Lookup | None = None
    copy: Requantise | None = None

    @property
    def format(self):
        last = self.lookup or self.add or self.requantise
        return last.output_format

    def run(self, sums, residual=None):
        values = self.requantise.run(sums)
        values = self.add.run(values, residual) if self.add else values
        values = self.lookup.run(values) if self.lookup else values
        return values, self.copy.run(values) if self.copy else None


class Writer:
    """Grows a program: memory, places, queues."""

    def __init__(self, config=TINY):
        self.config = config
        self.queues = {queue: [] for queue in Queue}
        self.image, self.places, self.n_words = [], {}, 0

    def emit(self, instruction):
        self.queues[Queue(instruction.queue)].append(instruction)

    def reserve(self, n_words):
        start, self.n_words = self.n_words, self.n_words + n_words
        return start

    def put(self, words, what):
        words = np.asarray(words, np.uint64).reshape(-1)
        address = self.reserve(len(words))
        self.image.append(Region(address, words, what))
        return address

    def place(self, name, shape, format, parts, pitches=None):
        slabs = []
        for i, channels in enumerate(parts):
            pitch = pitches[i] if pitches else -(-len(channels) // 8) * 8
            n_words = shape[1] * row_words(shape[2] * pitch, format.bits)
            slabs.append(Slab(channels=tuple(channels), pitch=pitch, address=self.reserve(n_words)))
        self.places[name] = TensorPlace(shape=shape, format=format.name, slabs=tuple(slabs))
        return self.places[name]

    def finished(self, inputs, outputs):
        return Program(
            config=self.config,
            queues={queue: tuple(instructions) for queue, instructions in self.queues.items()},
            memory_words=self.n_words,
            image=tuple(self.image),
            places=self.places,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            layers=(Layer(name="layer", n_macs=1000),),
        )


def load_slabs(w, place, unit, element_bits=8, send=True):
    """Load whole slabs into the feature buffer; return registers for each."""
    format, (_, height, width) = place.number_format, place.packed_shape
    base, tables = 0, []
    for i, slab in enumerate(place.slabs):
        words = row_words(width * slab.pitch, format.bits)
        held = words if unit is Unit.LUT else words // format.bits * element_bits
        fields = {f"to_{u.label}": int(u is unit) for u in Unit} | {
            f"{u.label}_address": base if u is unit else 0 for u in Unit
        }
        is_last = i == len(place.slabs) - 1
        w.emit(
            LoadRows(
                dram_address=slab.address,
                n_words=height * words,
                bits=format.bits,
                is_signed=int(format.is_signed),
                wide_elements=int(element_bits == 8),
                sends=frozenset({unit.label} if is_last and send else ()),
                **fields,
            )
        )
        tables.append((slab.pitch, base, height, held))
        base += height * held
    return tables


def set_windows(w, unit, place, kernel, stride, padding, dilation, out_width, bits, pad_value, flip=0):
    queue, (_, height, width) = WINDOW[unit], place.packed_shape
    w.emit(
        SetMap(
            queue=queue,
            height=height,
            width=width,
            output_width=out_width,
            bits=bits,
            is_signed=int(place.number_format.is_signed),
            flip=flip,
            pad_value=pad_value & ((1 << bits) - 1),
        )
    )
    w.emit(
        SetKernel(
            queue=queue,
            n_slabs=len(place.slabs),
            height=kernel[0],
            width=kernel[1],
            stride_y=stride[0],
            stride_x=stride[1],
            dilation_y=dilation[0],
            dilation_x=dilation[1],
            pad_top=padding[0],
            pad_left=padding[1],
        )
    )


def set_slab(w, unit, index, table, first=0, n=None):
    pitch, base, ring_rows, words = table
    w.emit(
        SetSlab(
            queue=WINDOW[unit],
            index=index,
            pitch=pitch,
            first_channel=first,
            n_channels=pitch if n is None else n,
            base=base,
            ring_rows=ring_rows,
            row_words=words,
        )
    )


def set_steps(w, unit, steps, bias, place, copy_place, residual_place=None, residual_bases=(), table_base=0):
    """Set all registers of the result part; outputs are one slab each, output 0 at word 0."""
    queue, r = COMPUTE[unit], steps.requantise
    width = place.shape[2]
    w.emit(SetPixels(queue=queue, width=width))
    entries = table_words(*np.broadcast_arrays(bias, r.multiplier, r.shift))
    address = w.put(entries, "tables")
    uses_table = int(len(entries) > 1 or unit is not Unit.POST)
    if uses_table:
        n = w.config.buffers.table_entries
        first = min(len(entries), n - table_base)
        for start, count, base in ((0, first, table_base), (first, len(entries) - first, 0)):
            if count:
                load = LoadTable(unit=unit, dram_address=address + start, base=base, n_entries=count)
                w.queues[Queue.MEMORY].insert(0, load)
    else:
        m, s = int(r.multiplier[0]), int(r.shift[0])
        w.emit(SetConstant(queue=queue, bias=int(np.atleast_1d(bias)[0]), multiplier=m, shift=s))
    w.emit(
        SetRequantise(
            queue=queue,
            is_enabled=1,
            uses_table=uses_table,
            table_base=table_base,
            rounding=ROUNDINGS.index(r.rounding),
            zero_point=r.output_zero_point,
            low=r.output_format.min,
            high=r.output_format.max,
        )
    )
    set_addition(w, queue, steps.add)
    if residual_place is not None:
        set_residual_slabs(w, unit, residual_place, residual_bases)
    set_function(w, unit, steps)
    n_words = place.slab_words(place.slabs[0])
    for number, where, base in ((0, place, 0), (1, copy_place, n_words)):
        if where is not None:
            set_output(w, queue, number, where, base)
    if steps.copy is not None:
        c = steps.copy
        w.emit(
            SetCopy(
                queue=queue,
                multiplier=int(c.multiplier[0]),
                shift=int(c.shift[0]),
                input_zero_point=c.input_zero_point,
                zero_point=c.output_zero_point,
                low=c.output_format.min,
                high=c.output_format.max,
                rounding=ROUNDINGS.index(c.rounding),
            )
        )


def set_addition(w, queue, add):
    a = add
    w.emit(
        SetResidual(
            queue=queue,
            is_enabled=int(a is not None),
            multiplier=a.multipliers[0] if a else 0,
            residual_multiplier=a.multipliers[1] if a else 0,
            shift=a.shift if a else 0,
            zero_point=a.input_zero_points[0] if a else 0,
            residual_zero_point=a.input_zero_points[1] if a else 0,
            output_zero_point=a.output_zero_point if a else 0,
            low=a.output_format.min if a else 0,
            high=a.output_format.max if a else 0,
            rounding=ROUNDINGS.index(a.rounding) if a else 0,
        )
    )


def set_residual_slabs(w, unit, place, bases):
    queue, format, (_, height, width) = COMPUTE[unit], place.number_format, place.shape
    w.emit(
        SetResidualMap(
            queue=queue, n_slabs=len(place.slabs), first_channel=0, bits=format.bits, is_signed=int(format.is_signed)
        )
    )
    first = 0
    for i, (slab, base) in enumerate(zip(place.slabs, bases, strict=True)):
        w.emit(
            SetResidualSlab(
                queue=queue,
                index=i,
                first_channel=first,
                n_channels=len(slab.channels),
                pitch=slab.pitch,
                base=base,
                ring_rows=height,
                row_words=row_words(width * slab.pitch, format.bits),
            )
        )
        first += len(slab.channels)


def set_function(w, unit, steps):
    queue, f, table = COMPUTE[unit], steps.lookup, steps.lookup
    if f is not None:
        address = w.put(lookup_words(table.table), "tables")
        w.queues[Queue.MEMORY].insert(0, LoadLookup(unit=unit, dram_address=address, table=1))
    w.emit(
        SetLookup(
            queue=queue,
            is_enabled=int(f is not None),
            table=int(f is not None),
            first=f.input_format.min if f else 0,
            is_signed=int(steps.format.is_signed),
            low=steps.format.min,
            high=steps.format.max,
        )
    )


def set_output(w, queue, number, place, base):
    slab, bits = place.slabs[0], place.number_format.bits
    words = row_words(place.shape[2] * slab.pitch, bits)
    w.emit(
        SetOutput(
            queue=queue,
            output=number,
            is_enabled=1,
            bits=bits,
            pitch=slab.pitch,
            first_channel=0,
            base=base,
            ring_rows=place.shape[1],
            row_words=words,
        )
    )


def store(w, unit, place, copy_place):
    n = place.slab_words(place.slabs[0])
    waits = {unit.label: 1}
    w.emit(Store(unit=unit, dram_address=place.slabs[0].address, address=0, n_words=n, kept_bytes=0, waits=waits))
    if copy_place is not None:
        m = copy_place.slab_words(copy_place.slabs[0])
        w.emit(Store(unit=unit, dram_address=copy_place.slabs[0].address, address=n, n_words=m, kept_bytes=0))


def load_residual(w, place, unit):
    """Load a whole tensor into the residual buffer; return the base of each slab."""
    base, bases = 0, []
    for i, slab in enumerate(place.slabs):
        n = place.slab_words(slab)
        fields = {f"to_{u.label}": int(u is unit) for u in Unit} | {
            f"{u.label}_address": base if u is unit else 0 for u in Unit
        }
        sends = frozenset({unit.label} if i == len(place.slabs) - 1 else ())
        w.emit(LoadResidual(dram_address=slab.address, n_words=n, sends=sends, **fields))
        bases.append(base)
        base += n
    return bases
