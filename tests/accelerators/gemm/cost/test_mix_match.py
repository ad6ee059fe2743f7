"""Mix&Match's builds, modelled."""

import pytest

from silicut.accelerators.gemm.cost.mix_match import D1_1, D1_3, D2_3, DESIGNS
from silicut.accelerators.gemm.cost.published import Gemm
from silicut.accelerators.gemm.cost.published_policies import RESNET18


def test_peaks():
    assert [round(design.peak_gops) for design in DESIGNS] == [51, 102, 128, 205, 410, 614]


def test_cycles_are_products_of_tiles():
    assert D1_1.cycles(Gemm(m=3, k=17, n=17)) == 3 * 2 * 2
    assert D2_3.cycles(Gemm(m=5, k=16, n=48)) == 2 * 1 * 1


@pytest.mark.parametrize("design", DESIGNS)
def test_execution_is_below_what_is_recalled_and_above_the_peak(design):
    n_macs = sum(gemm.m * gemm.k * gemm.n for gemm in RESNET18)
    ms = design.modelled_ms(RESNET18)
    assert ms >= 2 * n_macs / design.peak_gops / 1e6
    assert design.recalled_ms is None or ms < design.recalled_ms


def test_figures_of_papers_are_few_and_apart():
    assert {design.name: design.recalled_ms for design in DESIGNS if design.recalled_ms} == {"D1-3": 47.1, "D2-3": 10.1}
    assert (round(D1_3.modelled_ms(RESNET18), 2), round(D2_3.modelled_ms(RESNET18), 2)) == (33.12, 7.37)
