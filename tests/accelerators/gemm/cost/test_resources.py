"""What a build takes of a part."""

import dataclasses

import pytest

from silicut.accelerators.gemm.config import BISMO_PYNQ, BISMO_ULTRA96, N3H, PRESETS, TINY, Z020, DspCore, LutCore, Memory
from silicut.accelerators.gemm.cost.resources import (
    AMOUNTS,
    BISMO_V1,
    BISMO_V2,
    Limits,
    Use,
    exceeded,
    exceeded_by_memory,
    resources,
)
from silicut.targets.parts import device_table

PART = device_table().part("xc7z020")


def test_the_reference_point():
    arrays = resources(N3H).of("arrays")
    assert (arrays.n_luts, arrays.n_bram36, arrays.n_dsps) == (40_187, 136, 128)
    assert resources(N3H, BISMO_V1).of("arrays").n_luts == 62_801


@pytest.mark.parametrize(("config", "n_luts", "n_bram36"), [(BISMO_PYNQ, 29_678, 128), (BISMO_ULTRA96, 46_372, 160)])
def test_bismos_own_builds(config, n_luts, n_bram36):
    arrays = resources(config, BISMO_V2).of("arrays")
    assert (arrays.n_luts, arrays.n_dsps, arrays.n_bram36) == (n_luts, 0, n_bram36)


def test_groups_add_up_and_the_assumptions_come_to_what_they_say():
    found = resources(N3H)
    assert found.of("arrays") + found.of("buffers") + found.of("glue") == found.total
    own = ("inputs and sums of DSP slices", "memories of sums")
    arrays = sum(item.use.n_luts for item in found.items if item.name in own)
    assert found.of("glue").n_luts - arrays == 8_000


def test_more_than_two_banks_of_sums_are_memories():
    two = dataclasses.replace(TINY, dsp=dataclasses.replace(TINY.dsp, n_accumulator_banks=2))
    before, three, nine = (
        resources(dataclasses.replace(two, dsp=dataclasses.replace(two.dsp, n_accumulator_banks=n))).total.n_luts
        for n in (2, 3, 9)
    )
    assert (three - before, nine - three) == (24 * 4, 0)


def test_the_reference_point_is_no_design_for_the_small_part():
    sentences = exceeded(resources(N3H), PART)
    assert sentences == (
        "LUTs: 49,595 needed, xc7z020 allows 45,220 (85% of 53,200); most go to LUT core 40,187, memory unit 3,180, "
        "post-processing 2,400",
        "DSP slices: 248 needed, xc7z020 allows 220; most go to DSP core 128, post-processing 120",
        "BRAM36: 262 needed, xc7z020 allows 140; most go to LUT core 96, buffers of the LUT core 42, buffers of the DSP "
        "core 42",
    )
    assert exceeded(resources(N3H), device_table().part("xc7z045")) == ()
    assert exceeded(resources(TINY), PART) == ()


def test_additions_in_luts_save_two_slices_a_lane():
    before, after = (resources(dataclasses.replace(TINY, adds_in_luts=where)).total for where in (False, True))
    assert (before.n_dsps - after.n_dsps, after.n_luts - before.n_luts) == (2 * 6, 180 * 6)


def test_the_build_for_the_small_part_fits_it():
    board = dataclasses.replace(device_table().board("pynq-z1"), bandwidth_gb_per_s=1.6)
    assert exceeded(resources(Z020), PART) == ()
    assert exceeded_by_memory(Z020, board) == ()


def test_limits_are_met_to_the_unit():
    found = resources(TINY)
    part = dataclasses.replace(PART, **{amount: getattr(found.total, amount) for amount in AMOUNTS})
    assert exceeded(found, part, Limits(n_luts=1, n_ffs=1)) == ()
    assert [s.split(":")[0] for s in exceeded(found, part, Limits(n_luts=1, n_ffs=0.999))] == ["flip-flops"]


def test_memory_is_compared_with_the_board():
    board = device_table().board("pynq-z1")
    assert exceeded_by_memory(N3H, board) == ()
    assert exceeded_by_memory(dataclasses.replace(N3H, memory=Memory(n_ports=6)), board) == (
        "pynq-z1 has 4 ports of 64 bits, not 6",
        "the ports carry 4.8 GB/s at 100 MHz, the memory of pynq-z1 2.1 GB/s",
    )


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(
    "larger",
    [
        {"n_lanes": 64},
        {"n_vector_lanes": 64},
        {"fill_bits": 512},
        {"lut": LutCore(n_rows=12, n_columns=17, word_bits=320, lhs_depth=1025, rhs_depth=2049)},
        {"dsp": DspCore(n_rows=3, n_inputs=32, n_outputs=48, lhs_depth=2049, rhs_depth=4097, macs_per_slice_4bit=4)},
        {"memory": Memory(n_ports=8)},
    ],
)
def test_more_of_anything_never_takes_less(name, larger):
    before, after = resources(PRESETS[name]).total, resources(dataclasses.replace(PRESETS[name], **larger)).total
    assert all(getattr(before, amount) <= getattr(after, amount) for amount in AMOUNTS)
    assert before != after


def test_the_largest_users_come_first():
    assert [item.name for item in resources(N3H).largest("n_dsps")] == ["DSP core", "post-processing"]
    assert resources(BISMO_PYNQ).of("none of these") == Use()
