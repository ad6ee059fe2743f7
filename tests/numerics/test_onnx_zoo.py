"""Untrained networks of the zoo in ONNX Runtime: every integer is that of the integer network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.graph import capture
from silicut.numerics import quantise, run_integer
from silicut.numerics.onnx import from_qdq, stored_tensors, to_qdq
from silicut.numerics.onnx.steps import plain_name
from silicut.zoo import network as build

pytestmark = pytest.mark.needs_ort
CPU = Path("/proc/cpuinfo")
needs_vnni = pytest.mark.skipif(
    not CPU.exists() or "vnni" not in CPU.read_text(), reason="without VNNI the runtime may saturate sums of int8 products"
)


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


@needs_vnni
@pytest.mark.parametrize("name", ["resnet18", "mobilenet-v2"])
def test_the_runtime_makes_the_very_integers(name):
    """Not one differs, through all layers: an untrained network would spread a single step."""
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    quantised = lowered(name, images)
    found = executed(to_qdq(quantised), images.numpy())
    given = {quantised.network.inputs[0]: quantise(images.numpy(), quantised.inputs[0])}
    wanted = run_integer(quantised.network, given)
    stored = {tensor for tensor in wanted if tensor in found and found[tensor].dtype.kind in "iu"}
    assert len(stored) > 20
    for tensor in stored:
        np.testing.assert_array_equal(found[tensor], wanted[tensor], err_msg=tensor)
    again = from_qdq(to_qdq(quantised))
    first = run_integer(again.network, given)
    assert all(np.array_equal(first[tensor], values) for tensor, values in wanted.items())
    for tensor, steps in quantised.quantisations.items():
        read = again.quantisations[tensor]
        assert read.zero_points[0] == steps.zero_points[0]
        np.testing.assert_allclose(read.scales, steps.scales, rtol=0 if tensor in stored else 1e-3)  # sums: of the factor
