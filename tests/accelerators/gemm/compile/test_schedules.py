"""Loop nests: every pixel of every filter once, everything within its buffer."""

import dataclasses
from collections import Counter

import pytest
from random_integer_networks import RandomNetwork, random_config

from silicut.accelerators.gemm.compile import compile_network
from silicut.accelerators.gemm.compile.geometry import Geometry, PartShape
from silicut.accelerators.gemm.compile.planning import AddedSlab, ProductShape, plan_product, ring_rows
from silicut.accelerators.gemm.compile.schedule import ProductSchedule
from silicut.accelerators.gemm.config import N3H, TINY
from silicut.accelerators.gemm.program import Unit
from silicut.records import DoesNotFit


def product_schedules(n):
    for seed in range(n):
        config = random_config(seed)
        try:
            schedules = compile_network(RandomNetwork(seed).network, config).schedules
        except DoesNotFit:
            continue
        for layer in schedules:
            for unit in layer.units:
                if isinstance(unit.nest, ProductSchedule):
                    yield config, unit


def test_steps_compute_each_tile_of_each_pixel_once():
    kinds = Counter()
    for _, unit in product_schedules(30):
        nest = unit.nest
        done = Counter()
        for step in nest.steps():
            done.update((tile, pixel, step.k) for tile in step.tiles for pixel in step.pixels)
        assert set(done.values()) == {1}
        assert len(done) == nest.n_tiles * nest.n_pixels * len(nest.k_chunks)
        assert sum(len(nest.filters(chunk)) for chunk in nest.chunks) == nest.n_filters
        kinds[nest.is_k_split, nest.keeps_lhs, len(nest.chunks) > 1] += 1
    assert {(True, False, True), (False, True, True), (False, False, False)} <= kinds.keys()


def test_a_map_is_walked_over_again_for_every_chunk_where_neither_side_fits():
    geometry = Geometry(size=(16, 16), output_size=(16, 16), kernel=(3, 3), padding=(1, 1))
    nest = plan_product(TINY, Unit.LUT, shape_of(geometry=geometry, n_filters=64)).nest
    assert not nest.keeps_lhs
    assert [len(chunk) for chunk in nest.chunks] == [6, 6, 4]
    assert nest.n_passes == 3
    assert nest.expand_cycles(32) == 3 * 256 * 4 * 3 * 2


def test_chunks_of_k_are_all_of_a_row():
    for _, unit in product_schedules(20):
        nest = unit.nest
        assert sum(chunk.n_segments for chunk in nest.k_chunks) == len(nest.segments)
        assert sum(chunk.n_elements for chunk in nest.k_chunks) == sum(nest.segments)


def test_steps_fit_banks_and_rings():
    for config, unit in product_schedules(30):
        nest, core = unit.nest, config.lut if unit.unit is Unit.LUT else config.dsp
        for step in nest.steps():
            k, rows = nest.k_chunks[step.k], nest.geometry.output_rows(step.pixels)
            assert nest.n_stripes(step.pixels) * k.n_words * nest.lhs_planes <= core.lhs_depth
            assert k.n_words * nest.rhs_lines * (len(step.tiles) if not nest.is_k_split else 1) <= core.rhs_depth
            if step.is_expanded:
                assert len(nest.geometry.input_rows(rows)) <= unit.rings.feature_rows
                assert step.pixels.start % nest.stripe_pixels == 0
            assert len(rows) <= unit.rings.output_rows


def shape_of(**changes):
    given = {
        "name": "layer",
        "geometry": Geometry(size=(8, 8), output_size=(8, 8), kernel=(3, 3), padding=(1, 1)),
        "parts": (PartShape(16, True),),
        "slab_pitches": (16,),
        "activation_bits": 4,
        "weight_bits": 4,
        "n_filters": 32,
        "output_bits": (4,),
    }
    return ProductShape(**{**given, **changes})


def test_a_schedule_in_numbers():
    """16 channels by 3x3 are 144 elements: two words of 128 in the LUT core, five of 32 in the DSP core."""
    lut, dsp = (plan_product(N3H, unit, shape_of()).nest for unit in (Unit.LUT, Unit.DSP))
    assert (lut.n_words, lut.n_tiles, lut.execute_cycles) == (2, 2, 2 * 8 * 2 * 16)
    assert (dsp.n_words, dsp.n_tiles, dsp.execute_cycles) == (5, 2, 2 * 64 * 5 * 2)
    assert lut.expand_cycles(128) == 64 * 4 * 3
    assert dsp.expand_cycles(128) == 64 * 3 * 2
    assert lut.result_cycles(8) == 64 * 2 * 2


def test_rows_too_long_for_the_banks_are_cut():
    wide = shape_of(parts=(PartShape(512, True),), slab_pitches=(512,), geometry=Geometry(size=(1, 4), output_size=(1, 4)))
    nest = plan_product(TINY, Unit.LUT, wide).nest
    assert not nest.is_k_split
    wider = shape_of(
        parts=(PartShape(2048, True),), slab_pitches=(2048,), geometry=Geometry(size=(1, 1), output_size=(1, 1))
    )
    nest = plan_product(TINY, Unit.LUT, wider).nest
    assert nest.is_k_split
    assert max(chunk.n_words for chunk in nest.k_chunks) * 4 <= TINY.lut.lhs_depth


WIDE = {"parts": (PartShape(112, True),), "slab_pitches": (112,)}
"""Rows of 1,008 elements: 126 words of TINY's DSP core, whose banks hold two stripes, and one tile of 252 lines."""


def test_rows_are_cut_where_the_banks_hold_one_tile_of_many():
    nest = plan_product(TINY, Unit.DSP, shape_of(**WIDE)).nest
    assert nest.n_words == 126
    assert nest.is_k_split
    assert nest.n_passes == nest.n_tiles == 8
    assert [chunk.n_words for chunk in nest.k_chunks] == [42, 42, 42]  # a row of taps each, as a quarter of 128 holds none
    assert not plan_product(TINY, Unit.DSP, shape_of(n_filters=4, **WIDE)).nest.is_k_split


def test_a_ring_takes_all_of_its_buffer_where_half_of_it_holds_few_rows():
    def rows(words):
        return ring_rows("a buffer", 100, words, (1, 50), wants_all=False, least_half=4)

    assert [rows(words) for words in (10, 12, 13, 50)] == [5, 4, 7, 2]


@pytest.mark.parametrize("added", [0, 100])
def test_chunks_of_tiles_find_room_in_the_table(added):
    few = dataclasses.replace(TINY, buffers=dataclasses.replace(TINY.buffers, table_entries=16))
    geometry = Geometry(size=(4, 4), output_size=(4, 4))
    nest = plan_product(few, Unit.LUT, shape_of(n_filters=64, geometry=geometry, residual_row_words=added)).nest
    assert nest.keeps_lhs
    assert nest.chunk_tiles * nest.tile_filters == 8  # half of the table: the next chunk's entries come in


def test_of_what_is_added_only_the_slabs_of_a_chunk_are_held():
    slabs = tuple(AddedSlab(start, start + 8, 60) for start in range(0, 64, 8))
    shape = shape_of(n_filters=64, residual_row_words=480, residual_slabs=slabs)
    assert [shape.residual_words(range(*ends)) for ends in ((0, 8), (4, 12), (0, 64))] == [60, 120, 480]
    plan = plan_product(TINY, Unit.LUT, shape)
    held = max(shape.residual_words(plan.nest.filters(chunk)) for chunk in plan.nest.chunks)
    assert len(plan.nest.chunks) > 1
    assert plan.rings.residual_rows == TINY.buffers.residual_words // held
    with pytest.raises(DoesNotFit, match="must hold 1 rows of 480 words"):
        plan_product(TINY, Unit.LUT, dataclasses.replace(shape, residual_slabs=()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"slab_pitches": (512,), "parts": (PartShape(512, True),)},
            "the feature lut buffer of layer must hold 3 rows of 256 words, but has 512; enlarge it to 768 words, "
            "or take fewer channels, bits or pixels",
        ),
        (
            {"residual_row_words": 300},
            "the residual lut buffer of layer must hold 1 rows of 300 words, but has 256; enlarge it to 300 words, "
            "or take fewer channels, bits or pixels",
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(DoesNotFit) as raised:
        plan_product(TINY, Unit.LUT, shape_of(**changes))
    assert str(raised.value) == message
