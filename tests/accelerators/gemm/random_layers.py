"""Random formats, numbers and layers, whose integer operators say what programs must give."""

from __future__ import annotations

import numpy as np
from program_pieces import Steps

from silicut.accelerators.gemm.program import Unit
from silicut.numerics import Add, Convolution2d, IntegerFormat, Lookup, Requantise, Rounding

INT32 = IntegerFormat(32)


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
