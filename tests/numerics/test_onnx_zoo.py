"""Untrained networks of the zoo in ONNX Runtime: no operator, fed with what the runtime had, is off by more than a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.graph import capture
from silicut.numerics import IntegerExecutor, quantise, run_integer
from silicut.numerics.onnx import from_qdq, stored_tensors, to_qdq
from silicut.numerics.onnx.steps import plain_name
from silicut.numerics.schema import INPUTS
from silicut.zoo import network as build

pytestmark = pytest.mark.needs_ort


def lowered(name, images):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(name).eval()
    network = quantisable(capture(module, images))
    sites, plan = find_sites(network), BitPlan(default=LayerBits(8, 8))
    return lower(sites, plan, activation_quantisations(sites, plan, histograms(network, list(sites.limits), [images])))


def executed(model, given):
    runtime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    outputs = {output.name for output in model.graph.output}
    names = [name for name in stored_tensors(model) if name not in outputs]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(None, {session.get_inputs()[0].name: given})
    return {plain_name(output.name): value for output, value in zip(session.get_outputs(), values, strict=True)}


def off(quantised, found):
    """Return the greatest difference and the part of differing elements over all operators on the runtime's own tensors."""
    operators, values, worst, n_off, n = IntegerExecutor(quantised.network).operators, dict(found), 0, 0, 0
    for operator in quantised.network.operators:
        output = operator.outputs[0]
        made = operators[operator.name].run(*(values[reference.name] for reference in operator.arguments[INPUTS]))
        if output in found and found[output].dtype.kind in "iu":
            difference = np.abs(made.astype(int) - found[output])
            worst, n_off, n = max(worst, int(difference.max())), n_off + np.count_nonzero(difference), n + made.size
        values[output] = found[output] if output in found and found[output].dtype.kind in "iu" else made
    return worst, n_off / n


@pytest.mark.parametrize("name", ["resnet18", "mobilenet-v2"])
def test_no_operator_is_off_by_more_than_a_step(name):
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    quantised = lowered(name, images)
    found = executed(to_qdq(quantised), images.numpy())
    worst, off_frac = off(quantised, found)
    assert worst <= 1
    assert off_frac < 1e-4
    again = from_qdq(to_qdq(quantised))
    given = {quantised.network.inputs[0]: quantise(images.numpy(), quantised.inputs[0])}
    first, second = run_integer(again.network, given), run_integer(quantised.network, given)
    assert all(np.array_equal(first[tensor], values) for tensor, values in second.items())
