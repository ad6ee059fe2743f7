"""Predicted times: never below the bound, near the exact time of compiled networks, with the feasibility of the compiler."""

import dataclasses

import numpy as np
import pytest

from silicut.accelerators.gemm.config import N3H, PRESETS
from silicut.accelerators.gemm.cost.bound import layer_columns, machine_columns, roofs
from silicut.accelerators.gemm.cost.predicted import Options, Slot, predicted, predicted_with, slots_of
from silicut.accelerators.gemm.cost.work import Kind, network_work, with_edge_bits
from silicut.accelerators.gemm.design import config_of
from silicut.compress.quantisation.bits import BitPlan
from silicut.zoo.layer_table import known_layers


OURS = config_of(
    {
        "lut_rows": 8, "lut_columns": 8, "lut_word_bits": 288, "lut_lhs_depth": 512, "lut_rhs_depth": 512,
        "dsp_rows": 4, "dsp_inputs": 4, "dsp_outputs": 24, "dsp_passes": 2, "dsp_lhs_depth": 1024, "dsp_rhs_depth": 1536,
        "n_lanes": 3, "n_vector_lanes": 2, "adds_in_luts": 1, "fill_bits": 192,
        "feature_words": 3584, "residual_words": 2048, "output_words": 1536, "table_entries": 512,
    }
)  # fmt: skip
"""A build for an xc7z020."""


def work_of(network):
    shapes = known_layers(network)
    return network_work(shapes, with_edge_bits(BitPlan.uniform(4, 4), shapes, 8)).layers


def test_published_points_of_the_machine():
    """The simulator gives 2.07 and 1.32 million cycles for these (bench/n3h)."""
    found = predicted(work_of("resnet18"), [N3H, OURS])
    assert found.network == pytest.approx([2.05e6, 1.3e6], rel=0.05)
    assert found.cycles.sum(1) == pytest.approx(found.network)


@pytest.mark.parametrize("network", ["resnet18", "mobilenet-v2", "googlenet"])
def test_no_layer_is_predicted_below_its_bound(network):
    work = work_of(network)
    both = [config for config in PRESETS.values() if config.lut and config.dsp]
    found = predicted(work, both)
    bound = roofs(layer_columns(work), found.n_lut, machine_columns(both))
    products = [i for i, layer in enumerate(work) if layer.kind is not Kind.WINDOWS]
    assert (found.cycles[:, products] >= bound.layer[:, products] * (1 - 1e-12)).all()
    finite = np.isfinite(found.network)
    assert (found.network[finite] >= bound.network[finite] * (1 - 1e-12)).all()


def test_windows_run_beside_the_layer_before_them():
    work = work_of("resnet18")
    slots = slots_of(work)
    assert [slot.layers[0].name for slot in slots if slot.windows] == ["conv1", "layer4.1.conv2"]
    assert sum(len(slot.layers) for slot in slots) == len(work)
    alone = predicted([layer for layer in work if layer.kind is not Kind.WINDOWS], [N3H])
    assert predicted(work, [N3H]).network >= alone.network


def test_many_builds_are_predicted_as_each_alone():
    work, builds = work_of("resnet8"), [N3H, OURS, PRESETS["tiny"]]
    together = predicted(work, builds)
    for i, config in enumerate(builds):
        alone = predicted(work, [config])
        assert together.network[i] == alone.network[0]
        assert (together.n_lut[i] == alone.n_lut[0]).all()


def test_equal_slots_are_counted_not_repeated():
    groups = [[slot] for slot in slots_of(work_of("resnet20"))]
    merged = Options.merged(groups)
    assert merged.n < Options(groups).n
    assert predicted_with(merged, [N3H]).network == pytest.approx(predicted_with(Options(groups), [N3H]).network)


def test_penalties_decide_between_alternatives():
    (slot, *_) = slots_of(work_of("lenet5"))
    wide = slots_of(network_work(known_layers("lenet5"), BitPlan.uniform(8, 8)).layers)[0]
    free = predicted_with(Options([[slot, wide]]), [N3H]).network[0]
    assert free == min(predicted_with(Options([[each]]), [N3H]).network[0] for each in (slot, wide))
    penalised = predicted_with(Options([[slot, wide]], [[1e9, 5.0]]), [N3H]).network[0]
    assert penalised == predicted_with(Options([[wide]]), [N3H]).network[0] + 5


def test_small_buffers_refuse_layers():
    few = dataclasses.replace(N3H, buffers=dataclasses.replace(N3H.buffers, feature_words=64))
    found = predicted(work_of("resnet18"), [few])
    assert np.isinf(found.network[0])
    assert np.isinf(found.cycles[0, 0])
    assert isinstance(slots_of(work_of("lenet5"))[0], Slot)
