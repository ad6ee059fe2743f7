"""Networks of Hugging Face transformers: each prunes with proof, and what stays has a named reason; none crashes."""

import re

import numpy as np
import pytest
import torch
from foreign_networks import NETWORKS
from graph_checks import random_kept, randomised

from silicut.graph import capture, find_blocks, find_channels, keep_channels, prove_group, remove_blocks, to_module
from silicut.graph.onnx_writer import to_onnx, unsupported_operators

transformers = pytest.importorskip("transformers")
REASON = re.compile(
    r"[\w.]+ \(modeling_\w+\.py:\d+\): .+|[\w.]+ (spreads it over other channels|repeats it)|it is an output .*"
)


@pytest.fixture(scope="module", params=NETWORKS, ids=str)
def subject(request):
    if not hasattr(transformers, request.param.model):
        pytest.skip(f"this version of transformers has no {request.param.model}")
    torch.manual_seed(0)
    module = randomised(request.param.module(transformers))
    network = capture(module, request.param.example())
    return request.param, module, network, find_channels(network)


# Operators that the ONNX writer does not know: their sentences name them.
UNWRITTEN = {
    "BeitForImageClassification": "it mixes number types",
    "BitForImageClassification": "it uses the statistics of the batch",
    "MobileViTV2ForImageClassification": "operator im2col",
    "GPT2ForSequenceClassification": "operator cumsum",
    "LlamaForSequenceClassification": "operator cumsum",
}


def tensors(result):
    if isinstance(result, torch.Tensor):
        yield result
    elif result is not None:
        for part in result.values() if hasattr(result, "values") else result:
            yield from tensors(part)


def test_the_captured_network_equals_the_users(subject):
    foreign, module, network, _ = subject
    x = foreign.example(3, seed=1)
    with torch.no_grad():
        expected, found = list(tensors(module(x))), list(tensors(to_module(network)(x)))
    for a, b in zip(expected, found, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_all_groups_together_are_proved_and_some_alone(subject):
    foreign, _, network, channels = subject
    generator = np.random.default_rng(0)
    singles = [channels.groups[i] for i in generator.permutation(len(channels.groups))[:2]]
    for groups in [*([group] for group in singles), channels.groups]:
        assert prove_group(network, channels, random_kept(groups, generator), foreign.example(2, seed=2)) < 1e-9


def test_blocks_can_be_removed_and_the_rest_pruned(subject):
    foreign, _, network, channels = subject
    smaller = remove_blocks(network, find_blocks(network, channels)[::2])
    rest = find_channels(smaller)
    assert prove_group(smaller, rest, random_kept(rest.groups, np.random.default_rng(1)), foreign.example()) < 1e-9


def test_what_can_be_pruned_is_known_and_what_stays_has_a_named_reason(subject):
    foreign, _, _, channels = subject
    assert (len(channels.groups), sum(g.n_channels for g in channels.groups)) == foreign.groups
    for frozen in channels.frozen:
        assert REASON.fullmatch(frozen.reason), frozen.reason
    found = {frozen.reason.rpartition(": ")[2] for frozen in channels.frozen}
    assert {reason for reason in foreign.reasons if not any(reason in text for text in found)} == set()


@pytest.mark.needs_ort
def test_onnx_runtime_computes_the_pruned_network(subject):
    onnxruntime = pytest.importorskip("onnxruntime")
    foreign, _, network, channels = subject
    pruned = keep_channels(network, channels, random_kept(channels.groups, np.random.default_rng(3)))
    sentences = unsupported_operators(pruned)
    assert bool(sentences) == (foreign.model in UNWRITTEN), sentences
    if sentences:
        assert any(UNWRITTEN[foreign.model] in sentence for sentence in sentences)
        return
    x = foreign.example(3, seed=5)
    session = onnxruntime.InferenceSession(to_onnx(pruned), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = tensors(to_module(pruned)(x))
    for a, b in zip(session.run(None, {pruned.inputs[0]: x.numpy()}), expected, strict=True):
        assert np.abs(a - b.numpy()).max() <= 1e-4 * max(1, float(b.abs().max()))
