"""Small integer networks built by hand, with every kind of operator that files can hold."""

from __future__ import annotations

import numpy as np

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
    Multiply,
    Pad,
    Quantisation,
    QuantisedNetwork,
    Requantise,
    Reshape,
    Slice,
    SumPool2d,
    Transpose,
    to_network_operator,
)

INT32 = IntegerFormat(32)


class Growing:
    """An integer network that grows by one operator at a time, from one input of images."""

    def __init__(self, activations: str, shape: tuple[int, ...], scale: float, zero_point: int) -> None:
        self.format = IntegerFormat.of(activations)
        self.shapes = {"x": shape}
        self.quantisations = {"x": Quantisation.per_tensor(self.format, scale, zero_point)}
        self.operators, self.parameters = [], {}

    def add(self, operator, name, inputs, output, shape, quantisation):
        made, parameters = to_network_operator(operator, name, inputs, output)
        self.operators.append(made)
        self.parameters |= parameters
        self.shapes[output], self.quantisations[output] = shape, quantisation
        return output

    def layer(
        self, rng, name, source, output, n_out, *, weights, scale, zero_point, groups=1, kernel=3, rounding="half_even"
    ):
        """A convolution and its requantiser; weights of random scales for each channel."""
        format, before = IntegerFormat.of(weights), self.quantisations[source]
        n_in, *size = self.shapes[source]
        weight = rng.integers(format.min, format.max + 1, (n_out, n_in // groups, kernel, kernel)).astype(np.int8)
        n_taps = weight[0].size
        steps = before.scales[0] * rng.uniform(0.4, 1.6, n_out) / format.max / np.sqrt(n_taps)
        sums, shape = f"{output}.sums", (n_out, *size)
        conv = Convolution2d(
            weight=weight,
            bias=rng.integers(-99, 99, n_out),
            input_format=before.format,
            weight_format=format,
            input_zero_point=before.zero_points[0],
            padding=(kernel // 2,) * 4,
            groups=groups,
        )
        self.add(conv, name, [source], sums, shape, Quantisation.per_channel(INT32, steps, axis=1))
        factors = {"input_format": INT32, "output_format": self.format, "output_zero_point": zero_point}
        step = Requantise.by(steps / scale, rounding=rounding, **factors)
        return self.add(step, f"{name}.step", [sums], output, shape, self.of(scale, zero_point))

    def of(self, scale, zero_point):
        return Quantisation.per_tensor(self.format, scale, zero_point)

    def same(self, operator, name, inputs, output, shape):
        """An operator that keeps what integers stand for."""
        return self.add(operator, name, inputs, output, shape, self.quantisations[inputs[0]])

    def finished(self, output, origins=()):
        tensors = {name: Tensor((-1, *shape), self.quantisations[name].format.name) for name, shape in self.shapes.items()}
        network = Network(("x",), (output,), "tensor", tensors, tuple(self.operators), self.parameters, frozenset())
        return QuantisedNetwork(network, self.quantisations, dict(origins))


def residual(activations: str = "uint8", weights: str = "int8_narrow", seed: int = 0, rounding: str = "half_even"):
    """A residual network of depthwise and other convolutions, pools, concatenation and a fully connected end.

    Zero points are odd, even and at the end of the format; images are (n, 3, 12, 12).
    """
    rng, format = np.random.default_rng(seed), IntegerFormat.of(activations)
    unit = 2.56 / format.n_levels  # the range of activations is about the same in all formats
    low, middle = format.min, format.min + format.n_levels // 2 - 1
    net = Growing(activations, (3, 12, 12), 2 * unit, middle)
    how = {"weights": weights, "rounding": rounding}
    net.layer(rng, "conv1", "x", "a", 8, scale=1.5 * unit, zero_point=low, **how)
    net.layer(rng, "depthwise", "a", "b", 8, scale=1.2 * unit, zero_point=low, groups=8, **how)
    net.layer(rng, "pointwise", "b", "c", 8, scale=1.1 * unit, zero_point=middle, kernel=1, **how)
    add = Add.by(
        (1.1 / 1.7, 1.5 / 1.7),
        input_formats=(format, format),
        input_zero_points=(middle, low),
        output_format=format,
        output_zero_point=low + 1,
        rounding=rounding,
    )
    net.add(add, "add", ["c", "a"], "sum", (8, 12, 12), net.of(1.7 * unit, low + 1))
    pool = MaxPool2d(kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1), input_format=format)
    net.same(pool, "max_pool", ["sum"], "pooled", (8, 6, 6))
    net.same(Clamp(input_format=format, low=low + 1, high=format.max - 1), "clamp", ["pooled"], "clamped", (8, 6, 6))
    average = SumPool2d(kernel=(2, 2), stride=(2, 2), input_format=format, input_zero_point=low + 1)
    net.add(average, "average", ["clamped"], "totals", (8, 3, 3), Quantisation.per_tensor(INT32, 1.7 * unit / 4))
    ends = {"input_format": INT32, "output_format": format, "rounding": rounding}
    means = Requantise.by([1.7 / 4 / 1.3], output_zero_point=low + 1, **ends)
    net.add(means, "average.step", ["totals"], "means", (8, 3, 3), net.of(1.3 * unit, low + 1))
    net.layer(rng, "conv2", "means", "d", 8, scale=1.3 * unit, zero_point=low + 1, **how)
    net.same(Concatenate(input_formats=(format, format)), "join", ["means", "d"], "joined", (16, 3, 3))
    whole = SumPool2d(kernel=None, input_format=format, input_zero_point=low + 1)
    net.add(whole, "global", ["joined"], "total", (16, 1, 1), Quantisation.per_tensor(INT32, 1.3 * unit / 9))
    net.add(
        Requantise.by([1.3 / 9], output_zero_point=low, **ends), "global.step", ["total"], "e", (16, 1, 1), net.of(unit, low)
    )
    net.same(Reshape(input_format=format, shape=(-1,)), "flatten", ["e"], "flat", (16,))
    w = IntegerFormat.of(weights)
    head = Linear(
        weight=rng.integers(w.min, w.max + 1, (10, 16)).astype(np.int8),
        bias=rng.integers(-99, 99, 10),
        input_format=format,
        weight_format=w,
        input_zero_point=low,
    )
    scales = unit * rng.uniform(0.5, 2, 10)
    net.add(head, "fc", ["flat"], "y", (10,), Quantisation.per_channel(INT32, scales, axis=1))
    return net.finished("y", {"a": "relu1", "y": "logits"})


def gated(seed: int = 0):
    """A network of what `residual` has not: table, product, pad, slice, transpose, a requantiser between stored tensors."""
    rng, uint8 = np.random.default_rng(seed), IntegerFormat(8, is_signed=False)
    net = Growing("uint8", (4, 6, 6), 0.02, 100)
    sigmoid = Lookup.of(lambda x: 1 / (1 + np.exp(-x)), net.of(0.02, 100), net.of(1 / 256, 0))
    net.add(sigmoid, "sigmoid", ["x"], "gate", (4, 6, 6), net.of(1 / 256, 0))
    product = Multiply(input_formats=(uint8, uint8), input_zero_points=(100, 0))
    net.add(product, "product", ["x", "gate"], "products", (4, 6, 6), Quantisation.per_tensor(INT32, 0.02 / 256))
    step = Requantise.by([0.02 / 256 / 0.015], input_format=INT32, output_format=uint8, output_zero_point=60)
    net.add(step, "product.step", ["products"], "silu", (4, 6, 6), net.of(0.015, 60))
    pad = Pad(input_format=uint8, pads=((0, 0), (0, 0), (1, 0), (0, 2)), value=60)
    net.same(pad, "pad", ["silu"], "padded", (4, 7, 8))
    net.same(Slice(input_format=uint8, axis=3, start=1, stop=None, step=2), "slice", ["padded"], "part", (4, 7, 4))
    net.same(Transpose(input_format=uint8, axes=(0, 1, 3, 2)), "transpose", ["part"], "turned", (4, 4, 7))
    again = Requantise.by(
        [0.015 / 0.011], input_format=uint8, output_format=uint8, input_zero_point=60, output_zero_point=81
    )
    net.add(again, "again", ["turned"], "finer", (4, 4, 7), net.of(0.011, 81))
    net.layer(rng, "conv", "finer", "y", 5, weights="int4_narrow", scale=0.03, zero_point=0, kernel=1)
    return net.finished("y")


def images(quantised: QuantisedNetwork, n: int = 3, seed: int = 1):
    """Random integers of a network's input, over the whole format."""
    (name,), (steps,) = quantised.network.inputs, quantised.inputs
    shape = quantised.network.tensors[name].sizes(n)
    return {name: np.random.default_rng(seed).integers(steps.format.min, steps.format.max + 1, shape)}
