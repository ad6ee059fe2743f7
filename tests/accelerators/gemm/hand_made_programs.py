"""Programs written by hand for single layers.

One layer, one core, everything on the chip at once, pixels in groups. No compiler is involved: these programs are the
independent raw material for tests of the machine.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from program_pieces import COMPUTE, WINDOW, Writer, load_residual, load_slabs, set_slab, set_steps, set_windows, store

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.program import (
    Depthwise,
    Expand,
    ExpandColumns,
    Gemm,
    LoadWeights,
    Pool,
    Queue,
    SetProduct,
    SetTaps,
    Unit,
    depthwise_lines,
    dsp_lines,
    lut_lines,
)
from silicut.accelerators.gemm.program.tiles import CoreShape
from silicut.numerics import MaxPool2d


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
            w,
            conv,
            unit,
            shape,
            all_rows[g],
            segments(place, kernel, conv, cpg),
            out_size,
            element_bits,
            n_parts,
            has_residual,
            g * fpg,
            is_last,
            state,
        )


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
    set_windows(
        w,
        unit,
        place,
        kernel,
        conv.stride,
        conv.padding,
        (conv.dilation[0], 1),
        out_size[1],
        bits,
        conv.input_zero_point,
        int(flip),
    )
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
            )
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
            )
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
    bits = 4 if pool.input_format.bits <= 4 else 8
    tables = load_slabs(w, place, unit, bits)
    is_max = isinstance(pool, MaxPool2d)
    pad = pool.input_format.min if is_max else pool.input_zero_point
    dilation = pool.dilation if is_max else (1, 1)
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
            )
        )
        at += len(part)
    store(w, unit, out, None)
    return w.finished(["x"], ["y"])
