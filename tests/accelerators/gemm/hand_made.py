"""Programs written by hand for single layers, and what the integer operators say they must give.

One layer, one core, everything on the chip at once, pixels in groups. No compiler is involved: these programs are the
independent raw material for tests of the machine.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.program import (
    ROUNDINGS,
    Depthwise,
    Expand,
    ExpandColumns,
    Gemm,
    Layer,
    LoadLookup,
    LoadResidual,
    LoadRows,
    LoadTable,
    LoadWeights,
    Pool,
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
    SetProduct,
    SetRequantise,
    SetResidual,
    SetResidualMap,
    SetResidualSlab,
    SetSlab,
    SetTaps,
    Slab,
    Store,
    TensorPlace,
    Unit,
    depthwise_lines,
    dsp_lines,
    lookup_words,
    lut_lines,
    row_words,
    table_words,
)
from silicut.accelerators.gemm.program.tiles import CoreShape
from silicut.numerics import Add, Convolution2d, IntegerFormat, Lookup, MaxPool2d, Requantise, Rounding, SumPool2d

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
        held = words // format.bits * element_bits if unit is Unit.DSP else words
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
            base=base,
            ring_rows=place.shape[1],
            row_words=words,
        )
    )


def store(w, unit, place, copy_place):
    n = place.slab_words(place.slabs[0])
    waits = {unit.label: 1}
    w.emit(Store(unit=unit, dram_address=place.slabs[0].address, address=0, n_words=n, waits=waits))
    if copy_place is not None:
        m = copy_place.slab_words(copy_place.slabs[0])
        w.emit(Store(unit=unit, dram_address=copy_place.slabs[0].address, address=n, n_words=m))


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


def k_order(place, kernel, group=None):
    """Return (channel or -1, ky, kx) of every element of a row of the matrix."""
    order = []
    for slab in place.slabs:
        channels = [*slab.channels, *[-1] * (slab.pitch - len(slab.channels))]
        if group is not None:
            channels = channels[group]
        order += [(c, ky, kx) for ky in range(kernel[0]) for kx in range(kernel[1]) for c in channels]
    return order


def weight_rows(weight, order):
    """Return weights (filters, k) in the order of the rows of the matrix."""
    rows = np.zeros((len(weight), len(order)), np.int64)
    for i, (c, ky, kx) in enumerate(order):
        if c >= 0:
            rows[:, i] = weight[:, c, ky, kx]
    return rows


def tile_lines(rows, unit, weight_format, shape, element_bits):
    """Return the lines of all tiles, one below the other."""
    n_tiles = -(-len(rows) // shape.n_filters)
    padded = np.zeros((n_tiles * shape.n_filters, rows.shape[1]), np.int64)
    padded[: len(rows)] = rows
    tiles = np.split(padded, n_tiles)
    if unit is Unit.LUT:
        return np.concatenate([lut_lines(tile, weight_format, shape.bank_bits) for tile in tiles])
    return np.concatenate([dsp_lines(t, element_bits, shape.bank_bits // 8, shape.n_passes) for t in tiles])


def load_weights(w, unit, lines, shape):
    address = w.put(lines, "weights")
    sends = frozenset({unit.label})
    w.emit(LoadWeights(unit=unit, dram_address=address, rhs_base=0, n_lines=len(lines), n_banks=shape.n_banks, sends=sends))


def convolution_program(conv, steps, unit, in_shape, *, parts=None, residual_parts=None, n_parts_of_sum=1, config=TINY):
    """A convolution on one core. Weights, features and outputs lie on the chip as a whole; pixels come in groups."""
    w, shape = Writer(config), CoreShape.of(unit, config)
    parts = parts or [range(in_shape[0])]
    place = w.place("x", in_shape, conv.input_format, parts)
    out_size = conv._windows.output_size(*in_shape[1:])
    n_out = len(conv.weight)
    out = w.place("y", (n_out, *out_size), steps.format, [range(n_out)])
    copy = w.place("copy", (n_out, *out_size), steps.copy.output_format, [range(n_out)]) if steps.copy else None
    other = w.place("z", (n_out, *out_size), steps.add.input_formats[1], residual_parts) if steps.add else None

    narrow = conv.input_format.bits <= 4 and conv.weight_format.bits <= 4
    element_bits = 4 if narrow else 8
    bits = conv.input_format.bits if unit is Unit.LUT else element_bits
    flip = unit is Unit.DSP and (conv.input_format.is_signed if narrow else not conv.input_format.is_signed)
    offset = (-8 if narrow else 128) * flip
    tables = load_slabs(w, place, unit, element_bits)
    padding, zero = conv.padding, conv.input_zero_point
    geometry = (conv.weight.shape[2:], conv.stride, padding, conv.dilation, out_size[1])
    set_windows(w, unit, place, *geometry, bits, zero, int(flip))
    bases = load_residual(w, other, unit) if other else ()
    weight_sums = conv.weight.astype(np.int64).sum(axis=(1, 2, 3))
    bias = (conv.bias if conv.bias is not None else 0) + (offset - zero) * weight_sums
    set_steps(w, unit, steps, bias, out, copy, other, bases, table_base=config.buffers.table_entries - 3)
    all_groups(w, conv, unit, shape, place, tables, out_size, element_bits, n_parts_of_sum, other is not None)
    store(w, unit, out, copy)
    return w.finished(["x", *(["z"] if other else [])], ["y", *(["copy"] if copy else [])])


def all_groups(w, conv, unit, shape, place, tables, out_size, element_bits, n_parts, has_residual):
    cpg, fpg = conv.weight.shape[1], len(conv.weight) // conv.groups
    kernel = conv.weight.shape[2:]
    all_rows, orders = [], []
    for g in range(conv.groups):
        group = None if conv.groups == 1 else slice(g * cpg, (g + 1) * cpg)
        order = k_order(place, kernel, group)
        if group is not None:
            order = [(c - g * cpg, ky, kx) for c, ky, kx in order]
        orders.append(order)
        all_rows.append(weight_rows(conv.weight[g * fpg : (g + 1) * fpg], order))
    state = {"expansions": 0}
    for g in range(conv.groups):
        for i, table in enumerate(tables):
            first, n = (g * cpg, cpg) if conv.groups > 1 else (0, None)
            set_slab(w, unit, i, table, first, n)
        is_last = g == conv.groups - 1
        one_group(
            w, conv, unit, shape, all_rows[g], segments(place, kernel, conv, cpg), out_size, element_bits,
            n_parts, has_residual, g * fpg, is_last, state,
        )  # fmt: skip


def segments(place, kernel, conv, cpg):
    """Return the elements of each segment."""
    lengths = []
    for slab in place.slabs:
        if conv.groups == 1 and conv.dilation[1] == 1:
            lengths += [kernel[1] * slab.pitch] * kernel[0]
        else:
            lengths += [slab.pitch if conv.groups == 1 else cpg] * (kernel[0] * kernel[1])
    return lengths


def one_group(
    w, conv, unit, shape, rows, lengths, out_size, element_bits, n_parts, has_residual, first_filter, is_last, state
):
    """Weights of one group of a convolution, then all its pixels in pieces that fill half of the LHS banks."""
    per_word = shape.bank_bits if unit is Unit.LUT else shape.bank_bits // element_bits
    a = conv.input_format.bits if unit is Unit.LUT else 1
    cuts = np.array_split(np.arange(len(lengths)), n_parts)
    edges = np.cumsum([0, *lengths])
    pieces = [rows[:, edges[cut[0]] : edges[cut[-1] + 1]] for cut in cuts]
    n_words = [-(-piece.shape[1] // per_word) for piece in pieces]
    lines = [tile_lines(piece, unit, conv.weight_format, shape, element_bits) for piece in pieces]
    starts = np.cumsum([0, *map(len, lines)])
    load_weights(w, unit, np.concatenate(lines), shape)
    if state["expansions"]:  # the weights of the group before must not be overwritten while they are read
        last = w.queues[Queue.MEMORY][-1]
        w.queues[Queue.MEMORY][-1] = dataclasses.replace(last, waits={unit.label: 1})
    n_pixels, n_stripe = out_size[0] * out_size[1], a * sum(n_words)
    state["n_pixels"] = n_pixels
    step = shape.n_rows if n_parts > 1 else max(1, shape.lhs_depth // n_stripe) * shape.n_rows
    for start in range(0, n_pixels, step):
        n = min(step, n_pixels - start)
        ends = is_last and start + n == n_pixels
        base = 0
        for i, cut in enumerate(cuts):
            first_of_queue = state["expansions"] == 0
            state["expansions"] += 1
            w.emit(
                Expand(
                    queue=WINDOW[unit],
                    first_pixel=start,
                    n_pixels=n,
                    lhs_base=base,
                    first_segment=int(cut[0]),
                    n_segments=len(cut),
                    waits={"rows": int(first_of_queue), "stripe": int(i == 0 and not first_of_queue)},
                    sends=frozenset({"stripe"} if i == len(cuts) - 1 else ()),
                )
            )
            base += a * n_words[i]
        emit_products(
            w, conv, unit, shape, (start, n), n_words, starts, len(rows), first_filter, ends, state, has_residual, a
        )


def emit_products(w, conv, unit, shape, pixels, n_words, starts, n_filters, first_filter, ends, state, has_residual, a):
    """The products of one piece of pixels, tile by tile if sums are cut."""
    queue, n_parts = COMPUTE[unit], len(n_words)
    is_lut = unit is Unit.LUT
    bits = (conv.input_format.bits, conv.weight_format.bits)
    if not is_lut:
        bits = (4, 4) if max(bits) <= 4 else (8, 8)
    signed = (int(conv.input_format.is_signed), int(conv.weight_format.is_signed)) if is_lut else (int(bits[0] == 8), 1)
    tiles = range(0, n_filters, shape.n_filters if n_parts > 1 else n_filters)
    for t in tiles:
        n = min(shape.n_filters, n_filters - t) if n_parts > 1 else n_filters
        for i, words in enumerate(n_words):
            w.emit(
                SetProduct(
                    queue=queue,
                    n_words=words,
                    lhs_bits=bits[0],
                    rhs_bits=bits[1],
                    lhs_signed=signed[0],
                    rhs_signed=signed[1],
                )
            )
            lines = words * (bits[1] if is_lut else shape.n_passes)
            is_first_gemm, is_end = t == 0 and i == 0, t == tiles[-1] and i == n_parts - 1
            new_weights = is_first_gemm and pixels[0] == 0
            needs_residual = has_residual and state.setdefault("residual", True) and i == n_parts - 1
            state["residual"] = state.get("residual", True) and not needs_residual
            last_of_group = is_end and pixels[0] + pixels[1] == state["n_pixels"]
            w.emit(
                Gemm(
                    queue=queue,
                    lhs_base=a * sum(n_words[:i]),
                    rhs_base=int(starts[i]) + t // shape.n_filters * lines,
                    first_pixel=pixels[0],
                    n_pixels=pixels[1],
                    first_filter=first_filter + t,
                    n_filters=n,
                    is_first=int(i == 0),
                    is_last=int(i == n_parts - 1),
                    waits={"stripe": int(is_first_gemm), "weights": int(new_weights), "residual": int(needs_residual)},
                    sends=frozenset(
                        {
                            *(["stripe"] if is_end else []),
                            *(["output"] if is_end and ends else []),
                            *(["weights"] if last_of_group else []),
                        }
                    ),
                )
            )


def depthwise_program(conv, steps, in_shape, config=TINY):
    """A depthwise convolution on the DSP core: blocks of channels, one output row (of each bank) at a time."""
    unit = Unit.DSP
    w, shape = Writer(config), CoreShape.of(unit, config)
    place = w.place("x", in_shape, conv.input_format, [range(in_shape[0])])
    out_size = conv._windows.output_size(*in_shape[1:])
    out = w.place("y", (in_shape[0], *out_size), steps.format, [range(in_shape[0])])
    narrow = conv.input_format.bits <= 4 and conv.weight_format.bits <= 4
    bits = 4 if narrow else 8
    flip = conv.input_format.is_signed if narrow else not conv.input_format.is_signed
    offset = (-8 if narrow else 128) * flip
    tables = load_slabs(w, place, unit, bits)
    kernel = conv.weight.shape[2:]
    set_windows(w, unit, place, kernel, conv.stride, conv.padding, (conv.dilation[0], 1), out_size[1], bits,
                conv.input_zero_point, int(flip))  # fmt: skip
    set_slab(w, unit, 0, tables[0])
    bias = conv.bias + (offset - conv.input_zero_point) * conv.weight.astype(np.int64).sum(axis=(1, 2, 3))
    set_steps(w, unit, steps, bias, out, None)
    queue = Queue.DSP_COMPUTE
    w.emit(SetTaps(height=kernel[0], width=kernel[1], stride_x=conv.stride[1], bits=bits))
    lanes = shape.bank_bits // bits
    blocks = [(c, min(lanes, in_shape[0] - c)) for c in range(0, in_shape[0], lanes)]
    lines = [depthwise_lines(conv.weight[c : c + n, 0], bits, shape.bank_bits // 8, shape.n_banks) for c, n in blocks]
    load_weights(w, unit, np.concatenate(lines), shape)
    jobs = [(y, b) for y in range(0, out_size[0], shape.n_rows) for b in range(len(blocks))]
    for job, (y, b) in enumerate(jobs):
        (c, n), n_rows, first, last = blocks[b], min(shape.n_rows, out_size[0] - y), job == 0, job == len(jobs) - 1
        w.emit(
            ExpandColumns(
                first_row=y,
                n_rows=n_rows,
                first_column=0,
                n_columns=out_size[1],
                lhs_base=0,
                slab=0,
                first_channel=c,
                n_channels=n,
                waits={"rows": int(first), "stripe": int(not first)},
                sends=frozenset({"stripe"}),
            )  # fmt: skip
        )
        w.emit(
            Depthwise(
                queue=queue,
                lhs_base=0,
                rhs_base=sum(map(len, lines[:b])),
                first_row=y,
                n_rows=n_rows,
                first_column=0,
                n_columns=out_size[1],
                first_channel=c,
                n_channels=n,
                waits={"stripe": 1, "weights": int(first)},
                sends=frozenset({"stripe", *(["output"] if last else [])}),
            )  # fmt: skip
        )
    store(w, unit, out, None)
    return w.finished(["x"], ["y"])


def pool_program(pool, steps, in_shape, *, parts=None, config=TINY):
    """A pool in POST; one instruction a slab of the input, all pixels."""
    w, unit = Writer(config), Unit.POST
    parts = parts or [range(in_shape[0])]
    place = w.place("x", in_shape, pool.input_format, parts)
    kernel = pool.kernel or in_shape[1:]
    windows = pool._windows if isinstance(pool, MaxPool2d) else pool._windows(kernel)
    out_size = windows.output_size(*in_shape[1:])
    order = [c for part in parts for c in part]
    out = w.place("y", (in_shape[0], *out_size), steps.format, [order])
    tables = load_slabs(w, place, unit)
    is_max = isinstance(pool, MaxPool2d)
    pad = pool.input_format.min if is_max else pool.input_zero_point
    dilation = pool.dilation if is_max else (1, 1)
    bits = pool.input_format.bits
    set_windows(w, unit, place, kernel, pool.stride, pool.padding, dilation, out_size[1], bits, pad)
    for i, table in enumerate(tables):
        set_slab(w, unit, i, table)
    bias = -steps.requantise.input_zero_point if is_max else -pool.input_zero_point * kernel[0] * kernel[1]
    set_steps(w, unit, steps, np.array([bias]), out, None)
    at = 0
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        w.emit(
            Pool(
                is_max=int(is_max),
                slab=i,
                first_channel=0,
                n_channels=len(part),
                first_pixel=0,
                n_pixels=out_size[0] * out_size[1],
                output_channel=at,
                waits={"rows": int(i == 0)},
                sends=frozenset({"output"} if last else ()),
            )  # fmt: skip
        )
        at += len(part)
    store(w, unit, out, None)
    return w.finished(["x"], ["y"])


def random_format(rng, most=8, signed=None):
    bits = int(rng.integers(1, most + 1))
    return IntegerFormat(bits, is_signed=bool(rng.integers(2)) if signed is None else signed)


def random_numbers(rng, format, shape):
    return rng.integers(format.min, format.max + 1, shape).astype(format.dtype)


def random_steps(rng, n_channels, sums, *, kinds=(), rounding=None):
    """Steps whose factors spread typical sums over the output format."""
    rounding = rounding or list(Rounding)[rng.integers(len(Rounding))]
    out = random_format(rng)
    spread = max(1.0, float(np.abs(sums).mean()) * 2)
    factors = out.n_levels / spread * rng.uniform(0.3, 1.0, n_channels)
    zero = int(rng.integers(out.min, out.max + 1))
    requantise = Requantise.by(factors, input_format=INT32, output_format=out, output_zero_point=zero, rounding=rounding)
    add = lookup = copy = None
    if "add" in kinds:
        second, end = random_format(rng), random_format(rng)
        zeros = (zero, int(rng.integers(second.min, second.max + 1)))
        add = Add.by(
            tuple(rng.uniform(0.1, 1.5, 2)),
            input_formats=(out, second),
            input_zero_points=zeros,
            output_format=end,
            output_zero_point=int(rng.integers(end.min, end.max + 1)),
            rounding=rounding,
        )
        out = end
    if "lookup" in kinds:
        end = random_format(rng)
        lookup = Lookup(table=random_numbers(rng, end, out.n_levels), input_format=out, output_format=end)
        out = end
    if "copy" in kinds:
        end = random_format(rng)
        copy = Requantise.by(
            [float(rng.uniform(0.05, 1.2))],
            input_format=out,
            output_format=end,
            input_zero_point=int(rng.integers(out.min, out.max + 1)),
            output_zero_point=int(rng.integers(end.min, end.max + 1)),
            rounding=rounding,
        )
    return Steps(requantise=requantise, add=add, lookup=lookup, copy=copy)


def random_convolution(rng, unit, in_shape, *, groups=1, kernel=None, n_out=None):
    """A convolution that a core can do, of random formats and geometry."""
    if unit is Unit.LUT:
        a, wf = random_format(rng), random_format(rng)
    else:
        a, wf = random_format(rng), random_format(rng, signed=True)
    kernel = kernel or tuple(int(n) for n in rng.integers(1, 4, 2))
    n_out = n_out or int(rng.integers(1, 11))
    n_out = -(-n_out // groups) * groups
    return Convolution2d(
        weight=random_numbers(rng, wf, (n_out, in_shape[0] // groups, *kernel)),
        bias=rng.integers(-99, 100, n_out),
        input_format=a,
        weight_format=wf,
        input_zero_point=int(rng.integers(a.min, a.max + 1)),
        stride=tuple(int(n) for n in rng.integers(1, 3, 2)),
        padding=tuple(int(n) for n in rng.integers(0, 2, 4)),
        dilation=(1, 1) if rng.integers(2) else tuple(int(n) for n in rng.integers(1, 3, 2)),
        groups=groups,
    )


__all__ = [
    "SumPool2d",
    "Writer",
    "convolution_program",
    "depthwise_program",
    "pool_program",
    "random_convolution",
    "random_format",
    "random_numbers",
    "random_steps",
]
