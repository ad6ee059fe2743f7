"""Widths by layer: what a plan says, what it refuses, and that it survives a file."""

import numpy as np
import pytest

from silicut.compress.quantisation import BitPlan, FilterGroup, LayerBits
from silicut.records import BadFile, ConfigError

PLAN = BitPlan(
    default=LayerBits(4, 5),
    layers={"fc": LayerBits(8, 7)},
    inner_bits=6,
    filter_groups={"fc": (FilterGroup((0, 2), 3), FilterGroup((3,), 2))},
)


def test_a_plan_survives_a_file(tmp_path):
    assert BitPlan.load(PLAN.save(tmp_path / "bits.json")) == PLAN


def test_layers_that_are_not_named_have_the_default():
    assert (str(PLAN.of("fc")), str(PLAN.of("conv"))) == ("8/7", "4/5")


def test_filters_have_the_width_of_their_group_else_that_of_the_layer():
    np.testing.assert_array_equal(PLAN.filter_bits("fc", 5), [3, 8, 3, 2, 8])
    np.testing.assert_array_equal(PLAN.filter_bits("conv", 2), [4, 4])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LayerBits(1, 9), "weight_bits must be 2..8, not 1; activation_bits must be 2..8, not 9"),
        (lambda: FilterGroup((2, 0), 4), "filters must be increasing indices from 0 on, not (2, 0)"),
        (
            lambda: FilterGroup((), 9),
            "weight_bits must be 2..8, not 9; filters must be increasing indices from 0 on, not ()",
        ),
        (
            lambda: BitPlan(default=LayerBits(8, 8), inner_bits=1, output_bits=9),
            "inner_bits must be 2..8, not 1; output_bits must be 2..8, not 9",
        ),
        (
            lambda: BitPlan(
                default=LayerBits(8, 8), filter_groups={"a": (FilterGroup((0, 1), 2), FilterGroup((1,), 3))}
            ),
            "filter_groups of a must name each filter once",
        ),
        (lambda: PLAN.filter_bits("fc", 3), "filter_groups of fc must name filters 0..2, not 3"),
        (
            lambda: PLAN.check(["conv1", "fc2"]),
            "a bit plan must name layers of the network such as fc2, not fc",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(make, sentence):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == sentence


def test_wrong_files_are_refused(tmp_path):
    path = tmp_path / "bits.json"
    path.write_text('{"schema": "bit-plan/1", "default": {"weight_bits": 4.5, "activation_bits": 8}, "inner": 8}')
    with pytest.raises(BadFile, match=r"default.weight_bits must be a valid integer.*inner is unknown, did you mean"):
        BitPlan.load(path)
    path.write_text('{"schema": "bit-plan/1", "default": {"weight_bits": 1, "activation_bits": 8}}')
    with pytest.raises(ConfigError, match=r"weight_bits must be 2\.\.8, not 1"):
        BitPlan.load(path)
