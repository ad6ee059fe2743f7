"""Staircases: steps and cliffs found with and without noise, widths worth having."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silicut.targets.layers import Layer, LayerShape, Width
from silicut.targets.staircase import candidate_widths, corner_widths, find_step, probe_plan, probe_widths, staircase

SHAPE = LayerShape("conv2d", "3x3", "dense", (8, 8), (8, 8), (), ())


def stairs(widths, step, offset=1.0):
    return {w: offset + math.ceil(w / step) * step / 16 for w in widths}


def noisy(costs, seed, frac=0.02):
    rng = np.random.default_rng(seed)
    return {w: cost * (1 + frac * rng.standard_normal()) for w, cost in costs.items()}


@pytest.mark.parametrize("n_channels", [24, 48, 64, 96, 128, 256, 512, 2048])
@pytest.mark.parametrize("step", [4, 8, 16])
def test_step_is_found(n_channels, step):
    costs = stairs(probe_widths(n_channels), step)
    assert find_step(list(costs), list(costs.values()), n_channels) == step


@pytest.mark.parametrize("n_channels", [16, 64, 512])
def test_cost_in_proportion_has_a_fine_step(n_channels):
    """What a few channels of many save is less than can be measured, so the step is not always 1."""
    widths = probe_widths(n_channels)
    assert find_step(widths, widths, n_channels) <= max(2, n_channels // 64)


@pytest.mark.parametrize("n_channels", [32, 64, 128, 512])
def test_step_is_found_in_noise(n_channels):
    """At least 90 of 100 staircases of step 16 under 2 % of noise; never a step that is too large."""
    clean = stairs(probe_widths(n_channels), 16, offset=0.2)
    found = [find_step(list(clean), list(noisy(clean, seed).values()), n_channels) for seed in range(100)]
    assert found.count(16) >= 90
    assert max(found) <= 16


def test_half_the_cost_in_steps_and_half_in_proportion_has_the_finer_step():
    """Input side in blocks of 4, output side in blocks of 16: what the first saves is worth having."""
    costs = {w: math.ceil(w / 4) * 4 + math.ceil(w / 16) * 16 for w in probe_widths(64)}
    assert find_step(list(costs), list(costs.values()), 64) == 4


def test_cliffs_are_found_and_hide_no_step():
    clean = {w: cost * (1.5 if w % 4 else 1.0) for w, cost in stairs(probe_widths(64), 16).items()}
    found = staircase("group", 64, clean)
    assert found.step == 16
    assert {63, 62, 31, 30, 15} <= set(found.cliffs)
    assert not {w for w in found.cliffs if w % 4 == 0}
    assert (found.group, found.widths, found.costs_ms) == ("group", tuple(clean), tuple(clean.values()))


@pytest.mark.parametrize("seed", range(10))
def test_noise_is_no_cliff(seed):
    clean = stairs(probe_widths(128), 16)
    assert len(staircase("group", 128, noisy(clean, seed, 0.01)).cliffs) == 0


def test_a_flat_group_has_the_widest_step_and_one_width():
    costs = dict.fromkeys(probe_widths(64), 1.0)
    assert find_step(list(costs), list(costs.values()), 64) == 64
    assert corner_widths(candidate_widths(64, 64), lambda width: 1.0) == (64,)


@given(st.integers(1, 3000))
def test_probed_widths_are_legal(n_channels):
    widths = probe_widths(n_channels)
    assert widths == tuple(sorted(set(widths)))
    assert widths[-1] == n_channels
    assert widths[0] == 1
    assert len(widths) <= 30


@given(st.integers(1, 3000), st.sampled_from([1, 2, 4, 8, 16, 32, 64]), st.sampled_from([1, 2, 4, 8]))
def test_candidate_widths_are_legal(n_channels, step, least):
    widths = candidate_widths(n_channels, step, least)
    assert widths == tuple(sorted(set(widths)))
    assert widths[-1] == n_channels
    assert widths[0] == min(least, n_channels)
    assert len(widths) <= 32 + 4
    assert all(w % step == 0 for w in widths if step < w < n_channels)


def test_below_one_step_a_few_parts_are_offered():
    assert candidate_widths(128, 32) == (4, 8, 16, 24, 32, 64, 96, 128)
    assert candidate_widths(128, 64) == (4, 16, 32, 48, 64, 128)
    assert candidate_widths(3, 1) == (3,)


def test_corners_leave_out_what_a_larger_width_gives_for_as_little():
    costs = stairs(range(1, 65), 16)
    assert corner_widths(range(4, 65, 4), costs.__getitem__) == (16, 32, 48, 64)
    assert corner_widths([63, 64], {63: 1.4, 64: 1.0}.__getitem__) == (64,)
    assert corner_widths([16], {16: 1.0}.__getitem__) == (16,)


def layer(name, source, target):
    return Layer(name, SHAPE, Width(0, (source,) if source else ()), Width(0, (target,) if target else ()))


def test_groups_that_share_no_layer_are_probed_together():
    chain = [layer("1", "", "a"), layer("2", "a", "b"), layer("3", "b", "c"), layer("4", "c", "")]
    dense = {"a": 16, "b": 32, "c": 16}
    plan = list(probe_plan(chain, dense))
    for name, n in dense.items():
        neighbours = {"a": "b", "b": "ac", "c": "b"}[name]
        alone = {w[name] for w in plan if all(w[other] == dense[other] for other in neighbours)}
        assert alone == set(probe_widths(n))
    assert len(plan) == len(probe_widths(16)) + len(probe_widths(32))  # a and c in the same networks
    assert any(w["a"] < 16 and w["c"] < 16 for w in plan)


def test_unconnected_groups_need_the_probes_of_one():
    layers = [layer(str(i), "", str(i)) for i in range(20)]
    plan = list(probe_plan(layers, {str(i): 32 for i in range(20)}))
    assert len(plan) == len(probe_widths(32))
