"""Histograms and quantisations of activations, against NumPy on all values at once."""

import numpy as np
import pytest
import torch
from torch import nn

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms, quantisation_of
from silicut.graph import capture
from silicut.records import ConfigError


class Joined(nn.Module):
    """Two layers on one input, joined, and one behind."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.last = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.last(torch.cat([self.one(x).relu(), self.two(x).relu()], 1))


@pytest.fixture(scope="module")
def joined():
    return find_sites(quantisable(capture(Joined(), torch.randn(1, 2, 4, 4))))


def test_histograms_count_every_number_of_all_batches(joined):
    batches = [torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    (name,) = joined.network.inputs
    found = histograms(joined.network, [name], batches, n_bins=16)[name]
    values = torch.cat(batches).numpy().ravel()
    assert (found.low, found.high) == (values.min(), values.max())
    assert found.counts.sum() == values.size
    expected, _ = np.histogram(values, 16, (found.low, found.high))
    assert np.abs(found.counts - expected).sum() <= 4  # numbers on an edge
    assert np.allclose(found.centres, (found.edges[1:] + found.edges[:-1]) / 2)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [([], "calibration images must be at least one batch, not none"), ([torch.full((1, 2, 4, 4), float("nan"))], "finite")],
)
def test_nothing_is_calibrated_on_nothing(joined, images, sentence):
    with pytest.raises(ConfigError, match=sentence):
        histograms(joined.network, joined.network.inputs, images)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("is_even", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-1.0, 3.0), (-3.0, 0.0), (0.5, 1.0), (-2.0, -1.0), (0.0, 0.0)])
def test_integers_reach_both_ends_and_hold_zero_exactly(bits, low, high, is_even):
    steps = quantisation_of(low, high, bits, is_even)
    (scale,), (zero,) = steps.scales, steps.zero_points
    assert (steps.format.min, steps.format.max) == (0, 2**bits - 1)
    assert scale == np.float32(scale)
    if low >= 0:
        assert zero == 0
    if is_even and bits >= 6:
        assert zero % 2 == 0
    for end in (min(low, 0.0), max(high, 0.0)):
        nearest = np.clip(np.rint(end / scale) + zero, 0, steps.format.max)
        assert abs((nearest - zero) * scale - end) <= scale / 2 * (1 + 1e-5)


def test_what_is_joined_needs_no_rounding_between(joined):
    """Both branches of a concatenation share its site, so all three tensors have one quantisation."""
    one, two = (joined.ends[name] for name in ("one", "two"))
    assert joined.of[one] == joined.of[two] != one
    assert joined.limits[joined.of[one]] == (0.0, float("inf"))


def test_a_tensor_has_the_width_that_its_reader_asks_for(joined):
    layers = {"one": LayerBits(8, 3), "two": LayerBits(8, 5), "last": LayerBits(8, 4)}
    plan = BitPlan(default=LayerBits(8, 8), layers=layers, output_bits=6)
    found = histograms(joined.network, joined.limits, [torch.randn(2, 2, 4, 4)])
    chosen = {site.tensor: steps.format.bits for site, steps in activation_quantisations(joined, plan, found).items()}
    join = joined.of[joined.ends["one"]]
    assert chosen == {joined.network.inputs[0]: 5, join: 4, joined.network.outputs[0]: 6}
