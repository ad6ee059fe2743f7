"""What runs where, which operators are one layer, and why others stay on the host."""

import numpy as np
import pytest
from integer_networks import gated, residual
from random_integer_networks import RandomNetwork

from silicut.accelerators.gemm.compile import Where, partition
from silicut.graph import Network, Tensor
from silicut.numerics import (
    ACCUMULATOR,
    Concatenate,
    Convolution2d,
    IntegerFormat,
    Linear,
    Multiply,
    Pad,
    Requantise,
    Reshape,
    Slice,
    Transpose,
    to_network_operator,
)

UINT8 = IntegerFormat(8, is_signed=False)


def chain(*steps, shape):
    """A network of operators, each of which reads what the one before it made, from shape to shape."""
    operators, parameters, tensors = [], {}, {"t0": Tensor((-1, *shape), steps[0][0].input_formats[0].name)}
    for i, (operator, made) in enumerate(steps):
        inputs = [f"t{i}"] * len(operator.input_formats)
        one, arrays = to_network_operator(operator, f"step{i}", inputs, f"t{i + 1}")
        operators.append(one)
        parameters |= arrays
        tensors[f"t{i + 1}"] = Tensor((-1, *made), operator.output_format.name)
    return Network(("t0",), (f"t{len(steps)}",), "tensor", tensors, tuple(operators), parameters, frozenset())


def test_layers_take_what_follows_them():
    layers = {layer.name: layer for layer in partition(residual().network).layers}
    assert [(name, layer.source, layer.epilogue.made) for name, layer in layers.items()] == [
        ("conv1", "x", ("a",)),
        ("depthwise", "a", ("b",)),
        ("pointwise", "b", ("sum",)),
        ("max_pool", "sum", ("clamped",)),
        ("average", "clamped", ("means",)),
        ("conv2", "means", ("d",)),
        ("global", "joined", ("e",)),
    ]
    assert layers["pointwise"].epilogue.residual == "a"
    assert layers["pointwise"].operators == ("pointwise", "pointwise.step", "add")


def test_joins_and_flattenings_are_no_layers():
    parts = partition(residual().network)
    assert list(parts.aliases) == ["joined", "flat"]
    assert [row.operator for row in parts.assignments if row.where is Where.LAYOUT] == ["join", "flatten"]


def test_what_the_host_keeps_takes_all_behind_it_along():
    parts = partition(gated().network)
    assert [(row.operator, row.reason) for row in parts.on_host][:3] == [
        ("product", "the accelerator has no multiply"),
        ("product.step", "it reads products, which the host makes"),
        ("pad", "it reads silu, which the host makes"),
    ]
    assert parts.outputs == ("gate",)
    assert [layer.name for layer in parts.layers] == ["sigmoid"]


@pytest.mark.parametrize(
    ("operator", "shape", "made", "reason"),
    [
        (Transpose(input_format=UINT8, axes=(0, 1, 3, 2)), (2, 3, 4), (2, 4, 3), "the accelerator has no transpose"),
        (Multiply(input_formats=(UINT8, UINT8)), (2, 3, 4), (2, 3, 4), "the accelerator has no multiply"),
        (
            Slice(input_format=UINT8, axis=2, start=1),
            (2, 3, 4),
            (2, 2, 4),
            "a slice of a map must start at 0 with a step of at most 63",
        ),
        (
            Pad(input_format=UINT8, pads=((0, 0), (1, 0), (1, 0), (0, 0))),
            (2, 3, 4),
            (3, 4, 4),
            "a pad must be of channels or of the map, not of both",
        ),
        (
            Concatenate(input_formats=(UINT8, UINT8), axis=2),
            (2, 3, 4),
            (2, 6, 4),
            "channels alone can be joined, not axis 2",
        ),
        (
            Reshape(input_format=UINT8, shape=(4, 3, 2)),
            (2, 3, 4),
            (4, 3, 2),
            "a map can be flattened, not be made (4, 3, 2) of (2, 3, 4)",
        ),
        (
            Requantise.by([2.0**9], input_format=UINT8, output_format=IntegerFormat(12)),
            (2, 3, 4),
            (2, 3, 4),
            "tensors must have at most 8 bits, not be int12",
        ),
        (
            Linear(weight=np.ones((3, 4), np.int8), input_format=UINT8, weight_format=IntegerFormat(2)),
            (4,),
            (3,),
            "its sums must be read by one requantiser alone and be no output",
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_reasons(operator, shape, made, reason):
    (row,) = partition(chain((operator, made), shape=shape)).on_host
    assert row.reason == reason


def test_an_addition_waits_for_the_later_of_its_inputs():
    """The layer that takes an addition runs behind the one that makes the other input, wherever its own product stands."""
    for seed in range(40):
        network = RandomNetwork(seed).network
        parts, known = partition(network), set(network.inputs)
        for layer in parts.layers:
            needed = {layer.source, layer.epilogue.residual} - {""}
            while needed & parts.aliases.keys():
                needed = {
                    source
                    for name in needed
                    for source in (
                        [r.name for r in parts.aliases[name].arguments["inputs"]] if name in parts.aliases else [name]
                    )
                }
            assert needed <= known
            known |= set(layer.epilogue.made)
        assert parts.on_host == ()


def test_wide_multipliers_stay_on_the_host():
    conv = Convolution2d(weight=np.ones((1, 1, 1, 1), np.int8), input_format=UINT8, weight_format=IntegerFormat(2))
    step = Requantise(
        multiplier=np.array([1 << 24]), shift=np.array([30]), input_format=ACCUMULATOR, output_format=IntegerFormat(8)
    )
    parts = partition(chain((conv, (1, 2, 2)), (step, (1, 2, 2)), shape=(1, 2, 2)))
    assert [row.reason for row in parts.on_host] == [
        "its sums must be read by one requantiser alone and be no output",
        "it reads t1, which the host makes",
    ]
