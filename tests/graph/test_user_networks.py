"""Networks of the kinds that people prune: their groups, the proof of every one, and the pruned network in ONNX Runtime."""

import numpy as np
import pytest
import torch
from awkward_networks import Case
from graph_checks import assert_proved, outputs_of, random_kept, randomised
from user_networks import CASES, RECURRENT

from silicut.graph import capture, find_channels, keep_channels, remove_blocks, to_module
from silicut.graph.blocks import find_blocks
from silicut.graph.onnx_writer import to_onnx


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def subject(request):
    case: Case = request.param
    network = capture(randomised(case.module), case.example())
    return case, network, find_channels(network)


def flat(result):
    """The tensors of a nested result in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in flat(part)]


def test_the_captured_network_equals_the_users(subject):
    case, network, _ = subject
    for batch in case.batches:
        inputs = case.example(batch, seed=batch)
        with torch.no_grad():
            expected, found = flat(case.module(*inputs)), outputs_of(to_module(network)(*inputs))
        for a, b in zip(expected, found, strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-5)


def test_the_groups_are_those_a_person_finds(subject):
    case, _, channels = subject
    assert {group.name: group.n_channels for group in channels.groups} == case.groups
    assert {g.name: g.changed_statistics for g in channels.groups if g.changed_statistics} == case.statistics
    frozen = {f.operators[0]: f for f in channels.frozen if f.reason != "it is an output of the network"}
    assert {name: f.n_channels for name, f in frozen.items()} == {name: n for name, (n, _) in case.frozen.items()}
    for name, (_, reason) in case.frozen.items():
        assert reason in frozen[name].reason


def test_every_group_is_proved_alone_and_all_together(subject):
    _, network, channels = subject
    assert_proved(network, channels)


def test_a_pruned_network_runs_at_other_batch_sizes_and_can_be_pruned_again(subject):
    case, network, channels = subject
    kept = {group.name: np.arange(0, group.n_channels, 2) for group in channels.groups}
    pruned = keep_channels(network, channels, kept)
    for batch in case.batches:
        to_module(pruned)(*case.example(batch))
    again = find_channels(pruned)
    if not case.may_change_kind:
        assert {g.name: g.n_channels for g in again.groups} == {n: len(k) for n, k in kept.items()}
    assert_proved(pruned, again, n_single=0, n_all=1)


def test_blocks_can_be_removed_and_the_rest_pruned(subject):
    _, network, channels = subject
    blocks = find_blocks(network, channels)
    for removed in [[block] for block in blocks] + [list(blocks)]:
        smaller = remove_blocks(network, removed)
        assert_proved(smaller, find_channels(smaller), n_single=0, n_all=1)


@pytest.mark.needs_ort
def test_onnx_runtime_computes_the_pruned_network(subject):
    onnxruntime = pytest.importorskip("onnxruntime")
    case, network, channels = subject
    if case is RECURRENT:
        pytest.skip("LSTMs are not written")
    pruned = keep_channels(network, channels, random_kept(channels.groups, np.random.default_rng(1)))
    for variant in (network, pruned):
        for batch in (None, 3):
            inputs = case.example(3, seed=5)
            session = onnxruntime.InferenceSession(to_onnx(variant, batch=batch), providers=["CPUExecutionProvider"])
            found = session.run(None, dict(zip(variant.inputs, (x.numpy() for x in inputs), strict=True)))
            with torch.no_grad():
                expected = outputs_of(to_module(variant)(*inputs))
            for a, b in zip(found, expected, strict=True):
                assert a.shape == b.shape
                assert np.abs(a - b.numpy()).max() <= 1e-4 * max(1, float(b.abs().max()))
