"""Executors compared: equality is equality, a planted bit is found and named, noise is what the definition says."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from integer_networks import gated, images, residual
from torch import nn

import silicut
from silicut.flows.executors import EXECUTORS, FloatNetwork, OnnxRuntime, executor
from silicut.graph import capture
from silicut.numerics import QuantisedNetwork, dequantise, run_integer
from silicut.numerics.onnx import to_qdq
from silicut.records import BadFile, ConfigError
from silicut.report.comparison import Comparison


def reals(quantised, n=4):
    return dequantise(next(iter(images(quantised, n).values())), quantised.inputs[0])


def with_fault(quantised, operator, key, bit=0):
    """The network with one bit of one number changed: the first of a parameter that is not 0, or an argument."""
    network = quantised.network
    name = f"{operator}.{key}"
    if name in network.parameters:
        array = network.parameters[name].copy()
        array.flat[array.size // 2] ^= 1 << bit
        return QuantisedNetwork(
            dataclasses.replace(network, parameters={**network.parameters, name: array}),
            quantised.quantisations,
            quantised.origins,
        )
    operators = []
    for each in network.operators:
        changed = each
        if each.name == operator:
            value = each.arguments[key]
            fault = (value[0] ^ (1 << bit), *value[1:]) if isinstance(value, tuple) else value ^ (1 << bit)
            changed = each.with_arguments(**{key: fault})
        operators.append(changed)
    return QuantisedNetwork(
        dataclasses.replace(network, operators=tuple(operators)), quantised.quantisations, quantised.origins
    )


PLACES = [
    (residual, "conv1", "weight", "a.sums"),
    (residual, "depthwise", "weight", "b.sums"),
    (residual, "fc", "weight", "y"),
    (residual, "pointwise", "bias", "c.sums"),
    (residual, "pointwise", "input_zero_point", "c.sums"),
    (residual, "conv1.step", "shift", "a"),
    (residual, "pointwise.step", "output_zero_point", "c"),
    (residual, "add", "multipliers", "sum"),
    (residual, "add", "output_zero_point", "sum"),
    (residual, "clamp", "low", "clamped"),
    (residual, "average", "input_zero_point", "totals"),
    (gated, "sigmoid", "table", "gate"),
    (gated, "pad", "value", "padded"),
    (gated, "product", "input_zero_points", "products"),
    (gated, "again", "input_zero_point", "finer"),
]


@pytest.mark.parametrize(("make", "operator", "key", "tensor"), PLACES, ids=lambda each: getattr(each, "__name__", each))
def test_a_planted_bit_is_found_and_named(make, operator, key, tensor):
    good = make()
    bad = with_fault(good, operator, key, bit=8 if key == "multipliers" else 0)
    given = images(good, 24)
    found = silicut.compare(good, bad, given["x"], batch=5)
    first = found.first
    assert first is not None
    assert (first.tensor, first.operator.split(" ")[0]) == (tensor, operator)
    right, wrong = (run_integer(each.network, given) for each in (good, bad))
    differing = np.argwhere(right[tensor] != wrong[tensor])
    assert first.n_differing == len(differing)
    assert first.index == tuple(differing[0])
    assert (first.a, first.b) == (right[tensor][first.index], wrong[tensor][first.index])
    assert f"the first: {tensor}[{', '.join(map(str, first.index))}], made by {operator} (" in found.sentence


@pytest.mark.parametrize("bit", [3, 6])
def test_a_planted_bit_of_a_multiplier_is_found(bit):
    """One channel's factor; its lowest bits change no number, which is what a requantiser is for."""
    good = residual()
    bad = with_fault(good, "conv2.step", "multiplier", bit=bit + 5)
    first = silicut.compare(good, bad, images(good, 40)["x"]).first
    assert first is not None
    assert first.operator == "conv2.step (requantise)"


@pytest.mark.needs_ort
def test_a_planted_bit_is_found_in_a_file():
    good = residual()
    bad = to_qdq(with_fault(good, "depthwise", "weight", bit=6)).SerializeToString()
    found = silicut.compare(good, bad, reals(good, 16))
    assert found.first is not None
    assert (found.first.tensor, found.first.operator) == ("b", "depthwise (Conv)")


def test_two_implementations_are_equal():
    for make in (residual, gated):
        network = make()
        found = silicut.compare(executor(network, "reference"), executor(network, "pytorch"), reals(network))
        assert found.first is None
        assert [each.tensor for each in found.integers] == list(network.network.tensors)
        n = sum(each.n for each in found.integers)
        assert found.sentence == f"0 of {n:,} integers differ, in {len(found.integers)} tensors."
        assert found.roundings == ("half_even",)


@pytest.mark.needs_ort
def test_the_runtime_is_compared_where_it_has_integers():
    network = residual()
    found = silicut.compare(network, executor(network, "onnxruntime"), reals(network))
    stored = {name for name, steps in network.quantisations.items() if steps.format.bits <= 8}
    assert {each.tensor for each in found.integers} == stored
    assert sum(each.n_differing for each in found.integers) < 0.001 * sum(each.n for each in found.integers)
    assert [each.tensor for each in found.reals] == ["y"]


class Small(nn.Module):
    """A float network whose tensors an integer network stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return torch.relu(self.conv(x))


def test_noise_is_signal_over_the_difference():
    from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
    from silicut.compress.quantisation.calibration import activation_quantisations, histograms
    from silicut.compress.quantisation.lowering import lower

    x = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Small().eval()
    network = quantisable(capture(module, x))
    sites, plan = find_sites(network), BitPlan(default=LayerBits(4, 4))
    quantised = lower(sites, plan, activation_quantisations(sites, plan, histograms(network, list(sites.limits), [x])))
    with torch.no_grad():
        wanted = module(x).numpy().astype(np.float64)
    (output,) = quantised.network.outputs
    integers = run_integer(quantised.network, {"x": silicut.numerics.quantise(x.numpy(), quantised.inputs[0])})[output]
    error = wanted - dequantise(integers, quantised.outputs[0], np.float64)
    for a, b in ((module, quantised), (network, quantised)):
        found = silicut.compare(a, b, x.numpy(), batch=4)
        last = found.reals[-1]
        assert last.tensor == output
        assert last.sqnr_db == pytest.approx(10 * np.log10((wanted**2).sum() / (error**2).sum()), rel=1e-4)
        assert last.largest == pytest.approx(np.abs(error).max(), rel=1e-4)
        assert last.largest_steps == pytest.approx(np.abs(error).max() / quantised.outputs[0].scales[0], rel=1e-4)
        assert np.abs(error)[last.index] == pytest.approx(np.abs(error).max(), rel=1e-4)
    assert [each.tensor for each in silicut.compare(quantised, network, x.numpy()).reals] == list(
        dict.fromkeys(quantised.origins.values())
    )


def test_a_comparison_is_a_record(tmp_path):
    good = residual()
    found = silicut.compare(good, with_fault(good, "conv1", "weight", 3), images(good)["x"])
    found.save(tmp_path / "comparison.json")
    assert Comparison.load(tmp_path / "comparison.json") == found


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((2, 3, 12, 11), np.float32), "inputs of reference must have shape (n, 3, 12, 12), not (2, 3, 12, 11)"),
        (np.full((2, 3, 12, 12), 256), "input x must hold uint8 (0..255), not numbers of 256..256"),
        (
            np.zeros((0, 3, 12, 12)),
            "inputs must be arrays with the same number of images, at least one, along their first axis",
        ),
        ([np.zeros((2, 3, 12, 12))] * 2, "inputs must be 1 arrays (x), not 2"),
    ],
)
def test_wrong_inputs_are_refused(inputs, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        silicut.compare(residual(), residual(), inputs)


def test_wrong_executors_are_refused():
    network = residual()
    with pytest.raises(ConfigError, match=rf"^executor must be one of {', '.join(EXECUTORS)}, not 'rtl'$"):
        executor(network, "rtl")
    with pytest.raises(
        ConfigError, match=r"^executor must be one of reference, pytorch, simulator, onnxruntime for an integer network, not"
    ):
        executor(network, "float")
    float_network = capture(Small().eval(), torch.zeros(2, 3, 12, 12))
    with pytest.raises(
        ConfigError, match=r"^reference and float must have tensors in common; they are of different networks$"
    ):
        silicut.compare(gated(), Other(), np.zeros((2, 4, 6, 6)))
    with pytest.raises(ConfigError, match=r"^inputs of float must hold floats"):
        FloatNetwork(float_network).tensors([np.zeros((2, 3, 12, 12), np.int8)])
    with pytest.raises(BadFile, match=r"does not exist; check the path$"):
        OnnxRuntime("nowhere.onnx")


class Other:
    """An executor without a tensor in common with any other."""

    name = "float"
    quantisations, origins, makers, roundings, input_shape, batch = {}, {}, {}, (), None, None

    def tensors(self, inputs):
        return {"elsewhere": inputs[0]}
