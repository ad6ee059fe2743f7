"""The released model of N3H-Core, against figures computed by running its released functions."""

import dataclasses

import pytest

from silicut.accelerators.gemm.config import N3H, DspCore, LutCore
from silicut.accelerators.gemm.cost.published import (
    Gemm,
    LayerPolicy,
    dsp_cycles,
    layer_cycles,
    lut_cycles,
    network_cycles,
    total_ms,
    with_best_split,
    with_scanned_split,
)
from silicut.accelerators.gemm.cost.published_policies import PUBLISHED_POLICY, RESNET18, UNIFORM_POLICY
from silicut.records import DoesNotFit

GOLDEN = [
    (1036360, 800302), *[(250544, 253580)] * 4, (64432, 63383), (133770, 75647), (58690, 22321), (149436, 140735),
    (106810, 140735), (52788, 52052), (157926, 159992), (41218, 26289), (157926, 159992), (133400, 122552), (50232, 49346),
    (111270, 112554), (11576, 28513), (154344, 135882), (171722, 168736), (27458, 27139),
]  # fmt: skip


def all_of(bits, ends=None):
    """The policy of one width everywhere, on the LUT core alone."""
    return [LayerPolicy(b, b, 1.0) for b in (ends or bits, *[bits] * 19, ends or bits)]


def test_resnet18_has_the_known_work():
    assert sum(gemm.m * gemm.k * gemm.n for gemm in RESNET18) == 1_814_073_344
    assert len(RESNET18) == len(PUBLISHED_POLICY) == len(UNIFORM_POLICY) == 21


def test_the_published_policy_layer_by_layer():
    found = network_cycles(RESNET18, PUBLISHED_POLICY, N3H)
    assert [(layer.lut, layer.dsp) for layer in found] == GOLDEN
    assert sum(layer.cycles for layer in found) == 3_689_956
    assert total_ms(found) == pytest.approx(36.89956)


@pytest.mark.parametrize(("policy", "own", "exact"), [(PUBLISHED_POLICY, 36.90, 35.72), (UNIFORM_POLICY, 42.45, 40.67)])
def test_splits(policy, own, exact):
    assert round(total_ms(network_cycles(RESNET18, policy, N3H)), 2) == own
    best = [with_best_split(gemm, layer, N3H) for gemm, layer in zip(RESNET18, policy, strict=True)]
    scanned = [with_scanned_split(gemm, layer, N3H) for gemm, layer in zip(RESNET18, policy, strict=True)]
    assert round(total_ms(best), 2) == exact
    assert all(whole.cycles <= percent.cycles for whole, percent in zip(best, scanned, strict=True))


def test_one_core_alone():
    dsp_only = [LayerPolicy(layer.a_bits, layer.w_bits, 0.0) for layer in UNIFORM_POLICY]
    assert round(total_ms(network_cycles(RESNET18, dsp_only, N3H)), 1) == 100.2
    for bits, ms in ((2, 21.6), (4, 56.7), (8, 190.8)):
        assert round(total_ms(network_cycles(RESNET18, all_of(bits), N3H)), 1) == ms


def test_no_filters_take_no_time():
    assert lut_cycles(Gemm(49, 64, 0), 4, 4, N3H) == dsp_cycles(Gemm(49, 64, 0), 4, N3H) == 0
    one_sided = layer_cycles(RESNET18[1], PUBLISHED_POLICY[1], 64, N3H)
    assert one_sided.dsp == 0
    assert one_sided.cycles == one_sided.lut > 0


def test_the_quirk_of_a_memory_that_is_full_exactly_once_is_kept():
    # 32 stripes of 8 x 4 words fit: the 32 stripes of m = 256 are one group without a remainder, and only that costs nothing
    full, more, less = (lut_cycles(Gemm(m, 1024, 512), 4, 4, N3H) for m in (256, 264, 248))
    assert full < less < more


def test_what_does_not_fit_is_said():
    small = dataclasses.replace(N3H, lut=LutCore(lhs_depth=16), dsp=DspCore(rhs_depth=16))
    with pytest.raises(DoesNotFit, match=r"^lut.lhs_depth must be at least 20 for k = 576 at 4 bits$"):
        lut_cycles(Gemm(49, 576, 16), 4, 4, small)
    with pytest.raises(DoesNotFit, match=r"^dsp.lhs_depth must be at least 18 and dsp.rhs_depth 36 for k = 576 at 4 bits$"):
        dsp_cycles(Gemm(49, 576, 16), 4, small)
