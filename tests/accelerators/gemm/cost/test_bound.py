"""The lower bound: against loops that do the counting, and what must hold of any model of the machine."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_work import configs, layers

from silicut.accelerators.gemm.config import BISMO_PYNQ, N3H, GemmConfig, Memory
from silicut.accelerators.gemm.cost.bound import (
    UNITS,
    layer_bounds,
    layer_columns,
    machine_columns,
    network_bound,
    roofs,
)
from silicut.accelerators.gemm.cost.split import best_splits, bound_of_any_split, legal_splits
from silicut.accelerators.gemm.cost.work import Kind, LayerWork

few = settings(max_examples=60, deadline=None)


def parts(n, size):
    """Lengths of the pieces that n things are cut into."""
    return [min(size, n - start) for start in range(0, n, size)]


def counted_vector(layer: LayerWork, config: GemmConfig) -> int:
    """Words that the vector unit reads, or results that it finishes."""
    n_words = len(parts(layer.out_channels * (4 if layer.a_bits <= 4 else 8), 64 * config.memory.n_ports))
    taps = n_words * layer.kernel_height * layer.kernel_width
    return layer.m * max(taps, len(parts(layer.out_channels, config.n_vector_lanes)))


def counted(layer: LayerWork, n_lut: int, config: GemmConfig) -> dict[str, float]:
    """The same roofs, counted piece by piece in plain Python."""
    found, tiles = dict.fromkeys(UNITS, 0), {"lut": 0, "dsp": 0}
    lut, dsp, n_pixels, lanes = config.lut, config.dsp, layer.m, config.n_lanes
    filters = {"lut": 0, "dsp": 0}
    if layer.kind is Kind.PRODUCT:
        filters = {"lut": n_lut, "dsp": layer.out_channels - n_lut}
    elif layer.kind is Kind.DEPTHWISE and dsp is None:
        filters = {"lut": layer.out_channels, "dsp": 0}
    per_tap = layer.in_channels // layer.n_groups
    k = per_tap * layer.kernel_height * layer.kernel_width
    runs = [k] if layer.may_be_unrolled else [per_tap * layer.kernel_width] * layer.kernel_height
    bits = {"lut": 0, "dsp": 0}  # of weights
    if filters["lut"]:
        if lut is None:
            return dict.fromkeys(UNITS, math.inf)
        for _ in parts(filters["lut"], lut.n_columns):
            for _ in parts(n_pixels, lut.n_rows):
                tiles["lut"] += 1
                found["lut_execute"] += len(parts(k, lut.word_bits)) * layer.a_bits * layer.w_bits
        found["lut_window"] = n_pixels * layer.a_bits * sum(len(parts(run, config.fill_bits)) for run in runs)
        bits["lut"] = filters["lut"] * len(parts(k, lut.word_bits)) * lut.word_bits * layer.w_bits
    if filters["dsp"]:
        if dsp is None:
            return dict.fromkeys(UNITS, math.inf)
        for _ in parts(filters["dsp"], dsp.n_outputs):
            for _ in parts(n_pixels, dsp.n_rows):
                tiles["dsp"] += 1
                found["dsp_execute"] += len(parts(k, dsp.n_word_inputs(layer.dsp_bits))) * dsp.n_tile_cycles(layer.dsp_bits)
        found["dsp_window"] = n_pixels * sum(len(parts(run * layer.dsp_bits, config.fill_bits)) for run in runs)
        bits["dsp"] = filters["dsp"] * len(parts(k, dsp.n_word_inputs(layer.dsp_bits))) * 8 * dsp.n_inputs
    for core, n in filters.items():
        found[f"{core}_result"] = n_pixels * len(parts(n, lanes))
    if layer.kind is Kind.DEPTHWISE and dsp is not None:
        columns = (layer.out_width - 1) * layer.stride_x + layer.kernel_width
        for _ in parts(layer.out_channels, dsp.n_word_inputs(layer.dsp_bits)):
            for _ in parts(layer.out_height, dsp.n_rows):
                tiles["dsp"] += layer.out_width
                found["dsp_execute"] += columns * layer.kernel_height * len(parts(layer.kernel_width, dsp.n_columns))
        fills = len(parts(layer.out_channels * layer.dsp_bits, config.fill_bits))
        found["dsp_window"] = layer.out_height * columns * layer.kernel_height * fills
        found["dsp_result"] = n_pixels * len(parts(layer.out_channels, lanes))
        bits["dsp"] = layer.out_channels * layer.kernel_height * layer.kernel_width * layer.dsp_bits
    for name, core in (("lut", lut), ("dsp", dsp)):
        latency, n_banks = (tiles[name] * core.latency_cycles, core.n_accumulator_banks) if core else (0, 1)
        found[f"{name}_banks"] = (found[f"{name}_execute"] + found[f"{name}_result"] + latency) // n_banks
    if layer.kind is Kind.WINDOWS:
        found["vector"] = counted_vector(layer, config)
    words = math.ceil(sum(bits.values()) / 64) + (0 if layer.kind is Kind.WINDOWS else layer.out_channels)
    row = layer.in_width * layer.in_channels
    granules = layer.n_rows_read * len(parts(row, 64))
    if layer.may_be_unrolled:
        granules = min(granules, layer.out_height * len(parts(row * layer.kernel_height, 64)))
    stored = layer.out_height * len(parts(layer.out_width * layer.out_channels, 64))
    features = granules * layer.a_bits + stored * (layer.out_bits + layer.copy_bits + layer.added_bits)
    beats = math.ceil((words + features) / config.memory.n_ports)
    if config.memory.has_core_ports:
        beats = max(beats, (64 * features + 2 * max(bits.values())) // (64 * config.memory.n_ports))
    every = config.memory.refresh_every
    found["memory"] = beats + (beats // every if every else 0) * config.memory.refresh_cycles
    return found


@few
@given(st.lists(layers(), min_size=1, max_size=4), st.lists(configs(), min_size=1, max_size=3), st.floats(0, 1))
def test_arrays_count_what_loops_count(work, machines, share):
    n_lut = np.array([int(share * layer.out_channels) for layer in work])
    found = roofs(layer_columns(work), n_lut, machine_columns(machines))
    for i, config in enumerate(machines):
        for j, layer in enumerate(work):
            expected = counted(layer, int(n_lut[j]), config)
            if math.inf in expected.values():
                assert found.layer[i, j] == math.inf
            else:
                assert {unit: found.of(unit)[i, j] for unit in UNITS} == expected


@few
@given(layers((Kind.PRODUCT,)), configs(("both",)))
def test_no_bound_is_below_the_rooflines(layer, config):
    lut = config.lut.n_rows * config.lut.n_columns * config.lut.word_bits / (layer.a_bits * layer.w_bits)
    per_slice = config.dsp.macs_per_slice_4bit if layer.dsp_bits == 4 else config.dsp.macs_per_slice_8bit
    dsp = config.dsp.n_slices * per_slice
    splits = np.array(legal_splits(layer, config))[:, None]
    bounds = layer_bounds([layer], splits, config)
    assert (bounds >= layer.n_macs / (lut + dsp)).all()
    n_bits = layer.m * layer.out_channels * layer.out_bits + layer.out_channels * layer.k * min(layer.w_bits, layer.dsp_bits)
    assert (bounds * config.memory.bytes_per_cycle * 8 >= n_bits).all()
    assert (bounds > 0).all()


FASTER = [
    lambda c: dataclasses.replace(c, memory=dataclasses.replace(c.memory, n_ports=2 * c.memory.n_ports)),
    lambda c: dataclasses.replace(c, memory=dataclasses.replace(c.memory, refresh_every=0, refresh_cycles=0)),
    lambda c: dataclasses.replace(c, memory=dataclasses.replace(c.memory, latency_cycles=0)),
    lambda c: dataclasses.replace(c, lut=dataclasses.replace(c.lut, n_rows=2 * c.lut.n_rows)),
    lambda c: dataclasses.replace(c, dsp=dataclasses.replace(c.dsp, n_rows=2 * c.dsp.n_rows)),
    lambda c: dataclasses.replace(c, n_lanes=2 * c.n_lanes),
    lambda c: dataclasses.replace(c, n_vector_lanes=2 * c.n_vector_lanes),
    lambda c: dataclasses.replace(c, fill_bits=2 * c.fill_bits),
]


@few
@given(layers(), configs(("both",)), st.sampled_from(FASTER), st.floats(0, 1))
def test_a_better_machine_never_has_a_higher_bound(layer, config, faster, share):
    n_lut = int(share * layer.out_channels)
    assert layer_bounds([layer], [n_lut], faster(config)) <= layer_bounds([layer], [n_lut], config)


@few
@given(layers(), configs(), st.sampled_from(("a_bits", "w_bits", "out_bits", "added_bits")), st.floats(0, 1))
def test_fewer_bits_never_have_a_higher_bound(layer, config, field, share):
    n_lut = int(share * layer.out_channels)
    fewer = dataclasses.replace(layer, **{field: max(min(getattr(layer, field), 1), getattr(layer, field) - 1)})
    assert layer_bounds([fewer], [n_lut], config) <= layer_bounds([layer], [n_lut], config)


@few
@given(st.lists(layers(), min_size=1, max_size=5), configs(("both",)))
def test_a_network_that_overlaps_is_bounded_by_its_busiest_unit(work, config):
    n_lut = best_splits(work, config)
    whole, alone = network_bound(work, n_lut, config), layer_bounds(work, n_lut, config)
    assert whole <= alone.sum()
    found = roofs(layer_columns(work), n_lut, machine_columns([config]))
    assert whole == max(found.of(unit).sum() for unit in UNITS)
    assert [str(unit) for unit in found.limiting()[0]] == [
        max(UNITS, key=lambda unit, i=i: found.of(unit)[0, i]) for i in range(len(work))
    ]


@few
@given(st.lists(layers(), min_size=1, max_size=3), configs())
def test_the_best_split_is_the_best_of_all(work, config):
    found = best_splits(work, config)
    for layer, n_lut in zip(work, found, strict=True):
        splits = legal_splits(layer, config)
        times = [max(counted(layer, n, config).values()) for n in splits]
        assert n_lut in splits
        assert max(counted(layer, int(n_lut), config).values()) == min(times)


def test_no_layers_have_no_splits():
    assert best_splits([], N3H).shape == (0,)
    assert bound_of_any_split([], N3H) == 0


@few
@given(st.lists(layers(), min_size=1, max_size=2), configs())
def test_no_split_is_below_the_bound_of_any(work, config):
    bound = bound_of_any_split(work, config)
    every = itertools.product(*(legal_splits(layer, config) for layer in work))
    best = min(network_bound(work, np.array(n_lut), config) for n_lut in every)
    assert 0 < bound <= best * (1 + 1e-12)


LAYER = LayerWork(
    name="conv", kind=Kind.PRODUCT, in_channels=64, in_height=56, in_width=56, out_channels=64, out_height=56, out_width=56,
    kernel_height=3, kernel_width=3, n_rows_read=56, a_bits=4, w_bits=4, dsp_bits=4, out_bits=4,
)  # fmt: skip


def test_a_layer_of_resnet18_by_hand():
    found = roofs(layer_columns([LAYER]), [32], machine_columns([N3H]))
    assert found.lut_execute.item() == 392 * 2 * 5 * 16  # 576 inputs are 5 words of 128
    assert found.dsp_execute.item() == 3136 * 2 * 18 * 2  # and 18 words of 32
    assert found.lut_window.item() == 3136 * 4 * 3 * 2  # three runs of 192 elements, 128 a cycle
    assert found.dsp_window.item() == 3136 * 3 * 6
    assert found.lut_result.item() == found.dsp_result.item() == 3136 * 4
    words = 2 * 56 * 56 * 4 + (32 * 640 * 4 + 32 * 576 * 4) // 64 + 64
    assert found.memory.item() == words / 2
    assert found.limiting().item() == "dsp_execute"
    assert layer_bounds([LAYER], [32], N3H).item() == 225_792 + 32
    assert best_splits([LAYER], N3H).tolist() == [48]


def test_depthwise_layers_run_on_whichever_core_is_there():
    layer = dataclasses.replace(LAYER, kind=Kind.DEPTHWISE, n_groups=64)
    both = roofs(layer_columns([layer]), [0], machine_columns([N3H, BISMO_PYNQ]))
    assert both.dsp_execute.tolist() == [[56 * 2 * 58 * 3], [0]]  # two blocks of 32 channels, 58 columns, 3 taps down
    assert both.lut_execute.tolist() == [[0], [392 * 8 * 16]]


@pytest.mark.parametrize("pause", [0, 5])
def test_pauses_of_the_memory_count(pause):
    memory = Memory(refresh_every=100 if pause else 0, refresh_cycles=pause)
    found = roofs(layer_columns([LAYER]), [32], machine_columns([dataclasses.replace(N3H, memory=memory)]))
    plain = roofs(layer_columns([LAYER]), [32], machine_columns([N3H])).memory.item()
    assert found.memory.item() == plain + plain // 100 * pause
