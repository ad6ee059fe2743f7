"""Random small integer networks of everything that the accelerator executes, and random builds of it."""

from __future__ import annotations

import numpy as np

from silicut.accelerators.gemm.config import Buffers, DspCore, GemmConfig, LutCore, Memory
from silicut.graph import Network, Tensor
from silicut.numerics import (
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerFormat,
    Linear,
    Lookup,
    MaxPool2d,
    Pad,
    Requantise,
    Reshape,
    Rounding,
    Slice,
    SumPool2d,
    to_network_operator,
)


class RandomNetwork:
    """Grows a network operator by operator; every tensor made so far may be read again."""

    def __init__(self, seed: int, n_steps: int = 7) -> None:
        self.rng = np.random.default_rng(seed)
        self.operators, self.parameters, self.tensors = [], {}, {}
        self.formats, self.zero_points, self.shapes = {}, {}, {}
        self.number = 0
        size = (int(self.rng.integers(1, 12)), int(self.rng.integers(4, 11)), int(self.rng.integers(4, 11)))
        self.declare("x", size, self.format(), None)
        self.last = "x"
        for _ in range(n_steps):
            self.step()
        self.end()

    @property
    def network(self) -> Network:
        read = {name for operator in self.operators for name in operator.refs()}
        outputs = tuple(name for name in self.tensors if name not in read)
        structure = "tensor" if len(outputs) == 1 else "tuple"
        return Network(("x",), outputs, structure, self.tensors, tuple(self.operators), self.parameters, frozenset())

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def format(self) -> IntegerFormat:
        return IntegerFormat(int(self.rng.integers(1, 9)), is_signed=bool(self.rng.integers(2)))

    def declare(self, name, shape, format, zero_point):
        if zero_point is None:
            zero_point = int(self.rng.integers(format.min, format.max + 1))
        self.tensors[name] = Tensor((-1, *shape), format.name)
        self.formats[name], self.zero_points[name], self.shapes[name] = format, zero_point, tuple(shape)
        return name

    def emit(self, operator, inputs, shape, zero_point=None):
        self.number += 1
        name = f"{operator.kind}{self.number}"
        made, parameters = to_network_operator(operator, name, inputs, f"{name}.out")
        self.operators.append(made)
        self.parameters |= parameters
        self.last = self.declare(f"{name}.out", shape, operator.output_format, zero_point)
        return self.last

    def weights(self, shape):
        bits = int(self.rng.integers(1, 9))
        format = IntegerFormat(bits)
        values = self.rng.integers(format.min, format.max + 1, shape)
        if self.rng.integers(2):  # some filters need fewer bits than others
            few = IntegerFormat(min(bits, 4))
            half = len(values) // 2
            values[half:] = np.clip(values[half:], few.min, few.max)
        return values.astype(np.int8), format

    def requantise(self, source, largest):
        """Numbers of some format from sums of about that size."""
        format, shape = self.format(), self.shapes[source]
        zero_point = self.pick(format.min, int(self.rng.integers(format.min, format.max + 1)))
        n = self.pick(1, shape[0])
        factors = format.n_levels / (largest + 1) * self.rng.uniform(0.3, 2, n)
        step = Requantise.by(
            factors,
            input_format=self.formats[source],
            output_format=format,
            input_zero_point=self.pick(0, 5) if self.formats[source].bits == 32 else self.zero_points[source],
            output_zero_point=zero_point,
            rounding=self.pick(*Rounding),
        )
        return self.emit(step, [source], shape, zero_point)

    def step(self):
        maps = [name for name, shape in self.shapes.items() if len(shape) == 3 and self.formats[name].bits <= 8]
        source = self.pick(self.last if self.last in maps else maps[-1], self.pick(*maps[-4:]))
        kinds = (
            self.convolution,
            self.convolution,
            self.residual,
            self.residual,
            self.pool,
            self.average,
            self.slice_map,
            self.pad,
            self.join,
            self.single,
            self.channels,
        )
        self.pick(*kinds)(source)

    def convolution(self, source, n_out=None, same_size=False):
        c, h, w = self.shapes[source]
        kernel = self.pick((1, 1), (3, 3), (3, 3), (1, 3), (2, 3))
        if same_size:
            kernel = self.pick((1, 1), (3, 3))
        dilation = self.pick((1, 1), (1, 1), (1, 2), (2, 1)) if not same_size else (1, 1)
        groups = self.pick(1, 1, 1, c, *(g for g in (2, 3) if c % g == 0))
        n_out = n_out or int(self.rng.integers(1, 21))
        if n_out % groups:
            n_out = groups * self.pick(1, 2) if not same_size else n_out
            groups = groups if n_out % groups == 0 else 1
        weight, format = self.weights((n_out, c // groups, *kernel))
        if same_size:
            padding, stride = (kernel[0] // 2, kernel[1] // 2) * 2, (1, 1)
        else:
            padding = tuple(int(n) for n in self.rng.integers(0, 3, 4))
            stride = self.pick((1, 1), (2, 2), (1, 2), (3, 1))
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        rooms = (h + padding[0] + padding[2] - extents[0], w + padding[1] + padding[3] - extents[1])
        if min(rooms) < 0:
            return self.single(source)
        layer = Convolution2d(
            weight=weight,
            bias=self.pick(None, self.rng.integers(-60, 60, n_out)),
            input_format=self.formats[source],
            weight_format=format,
            input_zero_point=self.zero_points[source],
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
        shape = (n_out, rooms[0] // stride[0] + 1, rooms[1] // stride[1] + 1)
        sums = self.emit(layer, [source], shape, 0)
        return self.requantise(sums, 2 * np.sqrt(layer.bounds.partial) + 1)

    def residual(self, source):
        """A convolution of the same shape, and its sum with what it reads; a narrower copy sometimes."""
        own = self.convolution(source, self.shapes[source][0], same_size=True)
        if self.shapes[own] != self.shapes[source]:
            return own
        names = self.pick([own, source], [source, own])
        format = self.format()
        zero_point = int(self.rng.integers(format.min, format.max + 1))
        factors = tuple(format.n_levels / self.formats[name].n_levels * self.rng.uniform(0.3, 1) for name in names)
        add = Add.by(
            factors,
            input_formats=tuple(self.formats[name] for name in names),
            input_zero_points=tuple(self.zero_points[name] for name in names),
            output_format=format,
            output_zero_point=zero_point,
            rounding=self.pick(*Rounding),
        )
        total = self.emit(add, names, self.shapes[own], zero_point)
        if self.rng.integers(2):
            self.requantise(total, format.n_levels)
        return total

    def pool(self, source):
        c, h, w = self.shapes[source]
        pad = tuple(int(n) for n in self.rng.integers(0, 2, 4))
        layer = MaxPool2d(kernel=(2, 3), stride=self.pick((1, 1), (2, 2)), padding=pad, input_format=self.formats[source])
        rooms = (h + pad[0] + pad[2] - 2, w + pad[1] + pad[3] - 3)
        if min(rooms) < 0:
            return self.single(source)
        shape = (c, rooms[0] // layer.stride[0] + 1, rooms[1] // layer.stride[1] + 1)
        return self.emit(layer, [source], shape, self.zero_points[source])

    def average(self, source):
        c, h, w = self.shapes[source]
        if min(h, w) < 2:
            return self.single(source)
        layer = SumPool2d(
            kernel=(2, 2),
            stride=(2, 1),
            padding=(0, 1, 0, 1),
            input_format=self.formats[source],
            input_zero_point=self.zero_points[source],
        )
        sums = self.emit(layer, [source], (c, (h - 2) // 2 + 1, w + 1), 0)
        return self.requantise(sums, self.formats[source].n_levels * 4)

    def slice_map(self, source):
        c, h, w = self.shapes[source]
        rows = self.emit(
            Slice(input_format=self.formats[source], axis=2, step=2), [source], (c, -(-h // 2), w), self.zero_points[source]
        )
        if self.rng.integers(2):
            return rows
        return self.emit(
            Slice(input_format=self.formats[source], axis=3, step=2),
            [rows],
            (c, -(-h // 2), -(-w // 2)),
            self.zero_points[source],
        )

    def pad(self, source):
        c, h, w = self.shapes[source]
        if self.rng.integers(2):
            before, after = (int(n) for n in self.rng.integers(0, 10, 2))
            pads, shape = ((0, 0), (before, after), (0, 0), (0, 0)), (c + before + after, h, w)
        else:
            pads, shape = ((0, 0), (0, 0), (1, 0), (2, 1)), (c, h + 1, w + 3)
        layer = Pad(input_format=self.formats[source], pads=pads, value=self.zero_points[source])
        return self.emit(layer, [source], shape, self.zero_points[source])

    def join(self, source):
        alike = [
            name
            for name, shape in self.shapes.items()
            if shape[1:] == self.shapes[source][1:] and self.formats[name] == self.formats[source] and len(shape) == 3
        ]
        names = [source, *self.rng.permutation(alike)[:2].tolist()]
        join = Concatenate(input_formats=(self.formats[source],) * len(names))
        shape = (sum(self.shapes[name][0] for name in names), *self.shapes[source][1:])
        return self.emit(join, names, shape, self.zero_points[source])

    def channels(self, source):
        """Some of the channels."""
        c, h, w = self.shapes[source]
        start = int(self.rng.integers(0, c))
        stop = int(self.rng.integers(start + 1, c + 1))
        step = self.pick(1, 2)
        layer = Slice(input_format=self.formats[source], axis=1, start=start, stop=stop, step=step)
        return self.emit(layer, [source], (len(range(start, stop, step)), h, w), self.zero_points[source])

    def single(self, source):
        """A function, a clamp or a requantisation of single numbers."""
        format, shape = self.formats[source], self.shapes[source]
        kind = self.pick("lookup", "clamp", "requantise")
        if kind == "requantise":
            return self.requantise(source, format.n_levels)
        if kind == "clamp":
            low, high = sorted(int(n) for n in self.rng.integers(format.min, format.max + 1, 2))
            return self.emit(Clamp(input_format=format, low=low, high=high), [source], shape, self.zero_points[source])
        output = self.format()
        table = self.rng.integers(output.min, output.max + 1, format.n_levels)
        return self.emit(Lookup(table=table, input_format=format, output_format=output), [source], shape)

    def end(self):
        """A fully connected layer behind a flattened or pooled map."""
        source = self.last
        format, (c, h, w) = self.formats[source], self.shapes[source]
        flat = self.emit(Reshape(input_format=format, shape=(-1,)), [source], (c * h * w,), self.zero_points[source])
        weight, weight_format = self.weights((int(self.rng.integers(1, 30)), c * h * w))
        layer = Linear(
            weight=weight,
            bias=self.rng.integers(-60, 60, len(weight)),
            input_format=format,
            weight_format=weight_format,
            input_zero_point=self.zero_points[flat],
        )
        sums = self.emit(layer, [flat], (len(weight),), 0)
        self.requantise(sums, 2 * np.sqrt(layer.bounds.partial) + 1)


def random_config(seed: int) -> GemmConfig:
    """A build of random sizes, of one core or both."""
    rng = np.random.default_rng(seed)

    def number(low, high):
        return int(rng.integers(low, high + 1))

    cores = number(0, 3)
    passes = (1, 2, 4)[number(0, 2)]
    four, two = ((2, 1), (4, 2))[number(0, 1) if passes > 1 else 0]
    lut = LutCore(
        n_rows=number(1, 9),
        n_columns=number(1, 17),
        word_bits=32 * number(1, 5),
        lhs_depth=number(60, 400),
        rhs_depth=number(60, 400),
    )
    dsp = DspCore(
        n_rows=number(1, 3),
        n_inputs=number(2, 17),
        n_outputs=passes * number(1, 6),
        n_passes=passes,
        lhs_depth=number(60, 400),
        rhs_depth=number(60, 400),
        macs_per_slice_4bit=four,
        macs_per_slice_8bit=two,
    )
    refresh, has_core_ports = number(0, 1), number(0, 2) == 0
    n_ports = number(1, 3)
    return GemmConfig(
        name=f"random{seed}",
        lut=None if cores == 1 else lut,
        dsp=None if cores == 2 else dsp,
        memory=Memory(
            n_ports=2 * n_ports if has_core_ports else n_ports,
            latency_cycles=number(0, 60),
            refresh_every=200 * refresh,
            refresh_cycles=9 * refresh,
            has_core_ports=has_core_ports,
        ),
        buffers=Buffers(
            feature_words=number(300, 3000),
            residual_words=number(200, 2000),
            output_words=number(300, 2000),
            table_entries=number(20, 300),
        ),
        n_lanes=number(1, 9),
        n_vector_lanes=number(1, 9),
        fill_bits=32 * number(1, 4),
    )
