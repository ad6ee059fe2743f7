"""Channel groups of awkward networks: what they are, and the proof of every one."""

import numpy as np
import pytest
import torch
from awkward_networks import CASES
from graph_checks import assert_proved, assert_same_outputs, randomised

from silicut.graph import capture, find_channels, keep_channels, to_module


@pytest.fixture(scope="module")
def captured():
    networks = {}

    def capture_once(case):
        if case.name not in networks:
            network = capture(randomised(case.module), case.example())
            networks[case.name] = network, find_channels(network)
        return networks[case.name]

    return capture_once


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


def test_the_captured_network_equals_the_users(case, captured):
    network, _ = captured(case)
    module = to_module(network)
    for batch in case.batches:
        inputs = case.example(batch, seed=batch)
        assert_same_outputs(module(*inputs), case.module(*(x.clone() for x in inputs)))


def test_the_groups_are_those_a_person_finds(case, captured):
    _, channels = captured(case)
    assert {group.name: group.n_channels for group in channels.groups} == case.groups
    assert {g.name: g.changed_statistics for g in channels.groups if g.changed_statistics} == case.statistics
    frozen = {f.operators[0]: f for f in channels.frozen if f.reason != "it is an output of the network"}
    assert {name: f.n_channels for name, f in frozen.items()} == {name: n for name, (n, _) in case.frozen.items()}
    for name, (_, reason) in case.frozen.items():
        assert reason in frozen[name].reason


def test_every_group_is_proved(case, captured):
    network, channels = captured(case)
    assert_proved(network, channels)


def test_a_pruned_network_runs_at_other_batch_sizes_and_can_be_pruned_again(case, captured):
    network, channels = captured(case)
    kept = {group.name: np.arange(0, group.n_channels, 2) for group in channels.groups}
    pruned = keep_channels(network, channels, kept)
    for batch in case.batches:
        with torch.no_grad():
            to_module(pruned)(*case.example(batch))
    again = find_channels(pruned)
    if not case.may_change_kind:
        assert {g.name: g.n_channels for g in again.groups} == {n: len(k) for n, k in kept.items()}
    assert_proved(pruned, again, n_single=0, n_all=1)
