"""Integer networks of random small ones: both executors agree, and each operator rounds what the float one computes."""

import numpy as np
import pytest
import torch
from small_cnns import STEPS, random_images, random_quantised, random_sites, signal_to_noise_db

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.kinds import KINDS, Role
from silicut.compress.quantisation.lowering import lower
from silicut.graph import capture, to_module
from silicut.graph.module import run_operator
from silicut.numerics import IntegerModule, QuantisedModule, dequantise, quantise, run_integer

SEEDS = range(50)


@pytest.fixture(scope="module", params=SEEDS)
def case(request):
    """A random network at random widths: what it is, and every tensor of the integer network by both executors."""
    module, sites, plan, quantised = random_quantised(request.param)
    images = random_images(1000 + request.param, 3)
    inputs = {quantised.network.inputs[0]: quantise(images.numpy(), quantised.inputs[0])}
    return module, sites, plan, quantised, images, inputs, run_integer(quantised.network, inputs)


def test_pytorch_equals_the_reference_on_every_tensor(case):
    *_, quantised, _, inputs, expected = case
    found = IntegerModule(quantised.network).run({name: torch.from_numpy(x) for name, x in inputs.items()})
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), values, err_msg=name)


def test_what_is_quantised_computes_the_same(case):
    module, sites, _, _, images, *_ = case
    torch.testing.assert_close(to_module(sites.network)(images), module(images), atol=1e-4, rtol=1e-4)


def test_each_operator_rounds_what_the_float_one_makes_of_the_same_numbers(case):
    """The float operator, on the numbers that the integers stand for, is at most half a step away.

    And a little more: multipliers have 16 bits, those of sums 14 and those of means ten or more; biases are rounded on the
    accumulators' scale.
    """
    _, sites, _, quantised, _, _, integers = case
    checked = set()
    for operator in sites.network.operators:
        if operator.outputs[0] in checked:  # a clamp that is part of the rounding before
            continue
        values = _operands(sites, quantised, integers, operator)
        run_operator(operator, values, batch=3)
        end = sites.ends.get(operator.name, operator.outputs[0])
        if end not in operator.outputs:
            run_operator(sites.network.producer[end], values, batch=3)
        for output in (end, *operator.outputs[1:]):
            sums = f"{operator.outputs[0]}.accumulators"
            reals = values[output].numpy()
            spread = _spread(operator, values, reals, quantised.quantisations)
            _compare(quantised, integers, output, reals, quantised.quantisations.get(sums), spread)
            checked.add(output)
    assert checked == set(quantised.origins.values()) - set(sites.network.inputs)


def _spread(operator, values, reals, quantisations):
    """How far short multipliers may move a result; those of an addition have 14 bits over one shift."""
    if operator.kind == "add":
        scales = {name: quantisations[name].scales[0] for name in operator.refs()}
        return 2.0**-13 * max(scales.values()) * sum(np.abs(values[name].numpy()) / scale for name, scale in scales.items())
    return np.abs(reals) * (2.0**-9 if "pool" in operator.kind else 2.0**-14)


def _operands(sites, quantised, integers, operator):
    """Return the numbers that an integer operator computes with, as floats: activations, rounded weights, float biases."""
    values = {name: torch.from_numpy(array.astype(np.float64)) for name, array in sites.network.parameters.items()}
    steps = quantised.quantisations
    for name in operator.refs():
        if name in integers:
            values[name] = torch.from_numpy(dequantise(integers[name], steps[name], np.float64))
    if KINDS[operator.kind].role is Role.LAYER:
        (source,) = (name for name in operator.refs() if name in sites.network.tensors)
        read = next(o for o in quantised.network.operators if o.name == operator.name).arguments["inputs"][0].name
        assert read == source or read.startswith(f"{source}.uint")
        values[source] = torch.from_numpy(dequantise(integers[read], steps[read], np.float64))
        scales = np.array(steps[f"{operator.outputs[0]}.accumulators"].scales) / steps[read].scales[0]
        rounded = quantised.network.parameters[f"{operator.name}.weight"].astype(np.float64)
        weight = rounded * scales.reshape(-1, *[1] * (rounded.ndim - 1))
        values[operator.arguments["weight"].name] = torch.from_numpy(weight)
    return values


def _compare(quantised, integers, name, expected, sums, spread):
    steps = quantised.quantisations[name]
    (scale,), (zero,) = steps.scales, steps.zero_points
    reachable = np.clip(expected, (steps.format.min - zero) * scale, (steps.format.max - zero) * scale)
    error = np.abs(dequantise(integers[name], steps, np.float64) - reachable)
    bias_error = 0.0 if sums is None else np.array(sums.scales).reshape(1, -1, *[1] * (expected.ndim - 2)) / 2
    assert (error <= 0.5 * scale + bias_error + spread).all(), (name, error.max() / scale)


def test_a_linear_layer_scales_its_last_axis_whatever_the_others():
    x = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    network = quantisable(capture(torch.nn.Linear(6, 7).eval(), x))
    sites, plan = find_sites(network), BitPlan.parse("8/8")
    found = lower(sites, plan, activation_quantisations(sites, plan, histograms(network, sites.limits, [x])))
    with torch.no_grad():
        torch.testing.assert_close(QuantisedModule(found)(x), to_module(network)(x), atol=0.05, rtol=0)


def test_all_steps_occur():
    taken = set().union(*(random_sites(seed)[0].taken for seed in range(12)))
    assert taken == set(STEPS)


def test_eight_bits_are_close_to_the_float_network():
    """Also where nothing is compared but ends: the median of the ratios; some networks amplify what is rounded."""
    ratios = []
    for seed in range(12):
        module, _, _, quantised = random_quantised(seed, lambda *_: BitPlan(default=LayerBits(8, 8)))
        images = random_images(seed)
        (name,) = quantised.network.outputs
        integers = run_integer(
            quantised.network, {quantised.network.inputs[0]: quantise(images.numpy(), quantised.inputs[0])}
        )
        ratios.append(signal_to_noise_db(module(images).detach(), dequantise(integers[name], quantised.outputs[0])))
    assert np.median(ratios) > 30
