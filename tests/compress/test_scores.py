"""Scores: against a literal reading of the definitions, by hand, and in their limits."""

import math

import numpy as np
import pytest
import residual
import small_networks as nets
import torch
from hypothesis import given
from hypothesis import strategies as st

from silicut.compress import from_importance, log_energy, sp_lamp
from silicut.compress.scores import relative_energy
from silicut.graph import capture, find_blocks, find_channels, fold_batch_norm


def literal_lamp(energies):
    """Return each filter's score as LAMP defines it: its energy over that of all filters not smaller (ties by index).

    Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", 2021, equation 3, on whole filters.
    """
    scores = []
    for i, energy in enumerate(energies):
        not_smaller = [e for j, e in enumerate(energies) if e > energy or (e == energy and j <= i)]
        scores.append(energy / sum(not_smaller) if sum(not_smaller) > 0 else 0.0)
    return scores


def folded_parts(build):
    network = fold_batch_norm(nets.network(build))
    channels = find_channels(network)
    return network, channels, find_blocks(network, channels)


ENERGIES = st.lists(st.integers(0, 50), min_size=3, max_size=3)


def inner_score(score, energies):
    return score(*residual.parts(residual.with_energies(block_0=energies)))["block.0"]


# SP-LAMP


def test_by_hand():
    """Energies 1, 4, 3: in descending order 4/4, 3/(4+3), 1/(4+3+1)."""
    found = inner_score(sp_lamp, [1, 4, 3])
    assert found.order.tolist() == [1, 2, 0]
    np.testing.assert_allclose(np.diff(found.values[1:]), [3 / 7, 1 / 8], rtol=1e-6)
    assert found.values[1] == pytest.approx(1.0)


@given(ENERGIES)
def test_equals_the_definition(energies):
    found = inner_score(sp_lamp, energies)
    literal = sorted(literal_lamp(energies), reverse=True)
    np.testing.assert_allclose(found.values[1:], np.cumsum(literal), rtol=1e-5)


@pytest.mark.parametrize("build", [nets.Chain, nets.projected, nets.padded, nets.Separable, nets.lenet])
def test_equals_the_definition_on_networks(build):
    network, channels, blocks = folded_parts(build)
    scores = sp_lamp(network, channels, blocks)
    for group in channels.groups:
        energies = np.zeros(group.n_channels)
        for member in group.producers():
            weight = network.parameters[member.parameter].astype(np.float64)
            every = [float((weight[i] ** 2).sum()) for i in range(len(weight))]
            for channel in range(group.n_channels):
                energies[channel] += sum(every[p] for p in member.positions[channel]) / sum(every)
        literal = np.array(literal_lamp(energies.tolist()))
        order = sorted(range(group.n_channels), key=lambda i: (-energies[i], i))
        score = scores[group.name]
        assert score.order.tolist() == order
        np.testing.assert_allclose(score.values[1:], len(group.producers()) * np.cumsum(literal[order]), rtol=1e-9)


def test_the_best_filter_of_every_layer_scores_1():
    network, channels, blocks = folded_parts(nets.projected)
    scores = sp_lamp(network, channels, blocks)
    for group in channels.groups:
        assert scores[group.name].values[1] == pytest.approx(len(group.producers()))


@given(ENERGIES)
def test_values_are_concave(energies):
    gains = np.diff(inner_score(sp_lamp, energies).values[1:])
    assert (gains >= 0).all()
    assert (np.diff(gains) <= 1e-12).all()


def test_equal_norms_give_harmonic_numbers():
    """Then the value of k is 1 + 1/2 + ... + 1/k."""
    np.testing.assert_allclose(inner_score(sp_lamp, [5, 5, 5]).values[1:], [1, 3 / 2, 11 / 6], rtol=1e-6)


def test_ties_go_by_index():
    assert inner_score(sp_lamp, [2, 7, 2]).order.tolist() == [1, 0, 2]


def test_zero_filters_score_0():
    np.testing.assert_allclose(inner_score(sp_lamp, [0, 9, 0]).values[1:], [1, 1, 1])
    np.testing.assert_allclose(inner_score(sp_lamp, [0, 0, 0]).values[1:], [0, 0, 0])


def test_layers_that_make_one_stream_count_equally():
    """Each is normalised, however large: stem 1:3, block.2 300:100; together (1/4 + 3/4) : (3/4 + 1/4)."""
    network = residual.with_energies(stem=[1, 3, 0, 0], block_2=[300, 100, 0, 0])
    network, channels, blocks = residual.parts(network)
    energy = relative_energy(network, channels.group("stem"))
    np.testing.assert_allclose(energy, [1, 1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(sp_lamp(network, channels, blocks)["stem"].values[1:], [2, 3, 3, 3], rtol=1e-6)


def test_scale_of_a_layer_does_not_matter():
    a, b = (inner_score(sp_lamp, [scale * e for e in (1, 4, 3)]).values for scale in (1e-6, 1e6))
    np.testing.assert_allclose(a, b, rtol=1e-5)


# Log energy


def test_log_energy_by_hand():
    """Of 8, the best keeps 4, the best two 7."""
    np.testing.assert_allclose(inner_score(log_energy, [1, 4, 3]).values[1:], np.log([4 / 8, 7 / 8, 1]), atol=1e-6)


@given(st.lists(st.integers(1, 50), min_size=3, max_size=3))
def test_sp_lamp_is_at_most_one_plus_the_log_energy_gained(energies):
    """V(k) <= 1 + ln(T_k / T_1), as -ln(1 - s) >= s."""
    lamp, log = (inner_score(score, energies).values[1:] for score in (sp_lamp, log_energy))
    assert (lamp <= 1 + log - log[0] + 1e-6).all()


def test_the_two_agree_for_many_small_scores():
    network, channels, blocks = folded_parts(nets.Chain)
    lamp, log = (score(network, channels, blocks)["conv2"].values for score in (sp_lamp, log_energy))
    gained = slice(9, None)  # the first eight scores are large
    np.testing.assert_allclose(lamp[gained] - lamp[8], log[gained] - log[8], rtol=0.1)


@given(ENERGIES)
def test_log_energy_is_finite_and_0_for_all(energies):
    values = inner_score(log_energy, energies).values
    assert np.isfinite(values).all()
    assert values[-1] == pytest.approx(0.0)
    assert (np.diff(values[1:]) >= 0).all()


# Removed blocks


def share_of_block(network):
    stem, last = ((network.parameters[f"{name}.weight"].astype(float) ** 2).sum() for name in ("stem", "block.2"))
    return last / (stem + last)


def test_a_removed_block_loses_its_share_of_the_stream():
    network, channels, blocks = residual.parts(residual.captured())
    scores = sp_lamp(network, channels, blocks)
    stream = scores["stem"].values[-1]
    assert scores["block.0"].values[0] == pytest.approx(-share_of_block(network) * stream)


def test_a_removed_block_is_worth_the_log_of_what_is_left():
    """Two layers make the stream; the block's inner layer is made to lose little, so that the stream's part counts."""
    network, channels, blocks = residual.parts(residual.with_energies(block_0=[100, 0, 0]))
    value = log_energy(network, channels, blocks)["block.0"].values[0]
    assert value == pytest.approx(2 * math.log(1 - share_of_block(network)))


@pytest.mark.parametrize("score", [sp_lamp, log_energy])
@pytest.mark.parametrize("build", [nets.projected, nets.padded, nets.bottlenecks])
def test_removal_is_never_worth_more_than_one_channel_of_each_inner_group(score, build):
    network, channels, blocks = folded_parts(build)
    scores = score(network, channels, blocks)
    assert blocks
    for block in blocks:
        removed = sum(scores[name].values[0] for name in block.inner_groups)
        assert removed <= sum(scores[name].values[1] for name in block.inner_groups) + 1e-12
        assert all(scores[name].values[0] <= scores[name].values[1] + 1e-12 for name in block.inner_groups)


def test_two_inner_groups_share_one_removal():
    """With SP-LAMP the first carries all of it; with log energy both together are its worth or their least widths'."""
    network, channels, blocks = folded_parts(nets.bottlenecks)
    lamp, log = sp_lamp(network, channels, blocks), log_energy(network, channels, blocks)
    for block in blocks:
        first, second = block.inner_groups
        assert lamp[first].values[0] < 0
        assert lamp[second].values[0] == 0
        stream = next(g for g in channels.groups if any(m.operator == block.last for m in g.producers()))
        energy = {m.operator: (network.parameters[m.parameter].astype(float) ** 2).sum() for m in stream.producers()}
        worth = len(energy) * math.log(1 - energy[block.last] / sum(energy.values()))
        least = log[first].values[1] + log[second].values[1]
        assert log[first].values[0] + log[second].values[0] == pytest.approx(min(worth, least))


def test_a_frozen_stream_has_no_share():
    """Block and stem make the output itself: nothing of the stream may go, so only the inner group counts."""

    class Headless(residual.Residual):
        def forward(self, x):
            x = torch.relu(self.stem(x))
            return x + self.block(x)

    network, channels, blocks = residual.parts(capture(Headless(), torch.zeros(1, 2, 4, 4)))
    assert [g.name for g in channels.groups] == ["block.0"]
    assert sp_lamp(network, channels, blocks)["block.0"].values[0] == 0
    log = log_energy(network, channels, blocks)["block.0"].values
    assert log[0] == log[1] < 0


# Additive importance


def test_additive_importance_by_hand():
    _, _, blocks = residual.parts(residual.captured())
    importance = {"block.0": np.array([1.0, 3.0, 2.0]), "stem": np.ones(4)}
    scores = from_importance(importance, {"block": 10.0}, blocks)
    assert scores["block.0"].order.tolist() == [1, 2, 0]
    assert scores["block.0"].values.tolist() == [-10, -3, -1, 0]
    assert scores["stem"].values.tolist() == [-4, -3, -2, -1, 0]


def test_cheap_removal_is_not_above_one_channel():
    _, _, blocks = residual.parts(residual.captured())
    scores = from_importance({"block.0": np.array([1.0, 3.0, 2.0])}, {"block": 0.5}, blocks)
    assert scores["block.0"].values.tolist() == [-3, -3, -1, 0]
