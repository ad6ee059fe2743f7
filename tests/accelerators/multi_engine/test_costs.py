"""Cycles, blocks and bytes against counts of the loop nest, and the rules for blocks at their corners."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_problems import bank_blocks, cycles, engine_blocks, fewest_words, random_layers, words

from silicut.accelerators.multi_engine.config import PRECISIONS, EngineConfig, MultiEngineConfig, PlacedLayer
from silicut.accelerators.multi_engine.cost.arrays import (
    engine_cycles,
    epoch_cycles,
    layer_cycles,
    n_dsps,
    useful_sizes,
    utilisation_frac,
)
from silicut.accelerators.multi_engine.cost.buffers import depth_levels, engine_bram18, n_bank_blocks, n_bram18
from silicut.accelerators.multi_engine.cost.traffic import Tiles, bytes_per_image, engine_bytes, layer_words
from silicut.accelerators.multi_engine.layers import ConvLayer, conv_layers
from silicut.accelerators.multi_engine.program import programs, steps
from silicut.accelerators.multi_engine.published_layers import published_layers
from silicut.accelerators.system import bytes_per_image as bytes_of_system
from silicut.accelerators.system import computed_epoch
from silicut.graph.layer_shapes import LayerShape
from silicut.records import ConfigError
from silicut.zoo.layer_table import known_layers


@st.composite
def placed_layers(draw):
    """Return a layer, its tiles, and an engine of any size."""
    layer = random_layers(np.random.default_rng(draw(st.integers(0, 10**6))), 1)[0]
    placed = PlacedLayer(
        name="l0", tile_rows=draw(st.integers(1, layer.height)), tile_columns=draw(st.integers(1, layer.width))
    )
    return layer, EngineConfig(n_inputs=draw(st.integers(1, 8)), n_outputs=draw(st.integers(1, 8)), layers=(placed,))


@settings(max_examples=150, deadline=None)
@given(placed_layers())
def test_steps_formulas_and_counts_agree(drawn):
    layer, engine = drawn
    placed = engine.layers[0]
    found = list(steps(layer, placed, engine, 1))
    assert sum(step.cycles for step in found) == layer_cycles(layer, engine.n_inputs, engine.n_outputs)
    assert sum(step.cycles for step in found) == cycles(layer, engine.n_inputs, engine.n_outputs)
    moved = sum(step.load_bytes + step.store_bytes for step in found)
    assert moved == layer_words(layer, placed, engine.n_outputs)
    assert moved == words(layer, placed.tile_rows, placed.tile_columns, engine.n_outputs)
    assert sum(step.store_bytes for step in found) == layer.out_channels * layer.n_pixels


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.sampled_from([10, 16, 25, 64]), st.sampled_from([1, 4, 10, 49]))
def test_the_best_tile_is_the_best_of_all(seed, n_outputs, input_depth, sum_depth):
    layer = random_layers(np.random.default_rng(seed), 1)[0]
    tiles = Tiles.of(layer)
    fitting = tiles.within(input_depth, sum_depth)
    passes = np.array([-(-layer.out_channels // n_outputs)])
    found = tiles.words(layer, fitting, passes).min() if len(fitting) else np.inf
    assert found == fewest_words(layer, n_outputs, input_depth, sum_depth)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(1, 60))
def test_rounding_down_to_a_useful_size_changes_no_number_of_steps(totals, size):
    useful = useful_sizes(totals, 60)
    rounded = int(useful[useful <= size].max())
    assert all(-(-total // size) == -(-total // rounded) for total in totals)
    assert all(any(-(-total // (u - 1)) != -(-total // u) for total in totals) for u in useful.tolist() if u > 1)


def test_blocks_at_the_corners_of_the_rules():
    corners = [1, 10, 11, 256, 257, 512, 513, 1024, 1025, 1521, 1536, 1537]
    assert [int(n_bank_blocks(n)) for n in corners] == [0, 0, 1, 1, 2, 2, 4, 4, 6, 6, 6, 8]
    assert [int(n_bank_blocks(n, is_of_sums=True)) for n in corners] == [0, 0, 2, 2, 2, 2, 4, 4, 6, 6, 6, 8]
    for n in range(1, 1100):
        assert int(n_bank_blocks(n)) == bank_blocks(n, False)
        assert int(n_bank_blocks(n, is_of_sums=True)) == bank_blocks(n, True)


def alexnet(n_inputs, n_outputs, precision="fp32"):
    """Return the published single engine, tiles of 8 x 8, and its layers."""
    layers = published_layers("alexnet-2012")
    placed = tuple(PlacedLayer(name=layer.name, tile_rows=8, tile_columns=8) for layer in layers)
    engine = EngineConfig(n_inputs=n_inputs, n_outputs=n_outputs, layers=placed)
    return MultiEngineConfig(network="alexnet-2012", precision=precision, clock_hz=1e8, engines=(engine,)), layers


def test_the_published_engines():
    """Slices are published (Shen et al., arXiv 1607.00064); blocks too, as recalled."""
    for shape, slices, blocks, epoch in (((7, 64), 2240, 618, 2_005_892), ((9, 64), 2880, 758, 1_768_724)):
        config, layers = alexnet(*shape)
        assert n_dsps(config, PRECISIONS["fp32"]) == slices
        assert n_bram18(config, layers, PRECISIONS["fp32"]) == blocks
        assert epoch_cycles(config, layers) == engine_cycles(config.engines[0], layers) == epoch
    config, layers = alexnet(32, 64, "fixed16")
    assert n_bram18(config, layers, PRECISIONS["fixed16"]) == 16 * 6 + 1024 + 32 * 2
    assert utilisation_frac(config, layers) == 665_784_864 / (1_042_118 * 2048)
    assert engine_bram18(config.engines[0], layers, PRECISIONS["fixed16"]) == engine_blocks(
        32, 64, layers, 1521, 64, PRECISIONS["fixed16"]
    )


def test_a_system_of_programs_has_the_cycles_and_bytes_of_the_formulas():
    config, layers = alexnet(32, 64, "fixed16")
    system = programs(config, layers)
    assert computed_epoch(system) == epoch_cycles(config, layers)
    assert bytes_of_system(system) == bytes_per_image(config, layers, PRECISIONS["fixed16"])
    assert bytes_of_system(system) == engine_bytes(config.engines[0], layers, PRECISIONS["fixed16"])
    assert system[0].tasks[4].inputs == ("conv2a", "conv2b")


def test_depth_levels_end_with_the_whole_map():
    layers = published_layers("alexnet-2012")
    levels = depth_levels(layers).tolist()
    assert levels[:7] == [10, 256, 512, 1024, 1536, 2048, 3072]
    assert levels[-1] >= (54 * 4 + 11) ** 2
    assert levels == sorted(levels)


def test_groups_become_layers_and_other_layers_are_passed_through():
    layers, left_out = conv_layers(known_layers("squeezenet-1.1"))
    assert len(layers) == 26
    assert next(layer for layer in layers if layer.name == "features.6.squeeze").inputs == (
        "features.4.expand1x1",
        "features.4.expand3x3",
    )  # through a concatenation and a pool
    assert "features.5" in left_out
    halves = LayerShape(name="c", kind="conv2d", inputs=("x",), in_shape=(8, 5, 5), out_shape=(6, 5, 5), n_groups=2)
    reader = LayerShape(name="d", kind="conv2d", inputs=("c",), in_shape=(6, 5, 5), out_shape=(2, 5, 5))
    layers, left_out = conv_layers((halves, reader))
    assert [(layer.name, layer.in_channels, layer.out_channels, layer.inputs) for layer in layers] == [
        ("c.0", 4, 3, ()),
        ("c.1", 4, 3, ()),
        ("d", 6, 2, ("c.0", "c.1")),
    ]
    assert left_out == ()


def test_wrong_layers_and_configurations_are_refused_at_once():
    with pytest.raises(ConfigError, match="network must have a convolution, not none"):
        conv_layers([shape for shape in known_layers("lenet5") if shape.kind != "conv2d"])
    with pytest.raises(ConfigError, match="network must have convolutions of at most 8 groups, not of 32 as "):
        conv_layers(known_layers("mobilenet-v2"))
    with pytest.raises(ConfigError, match="x must have sizes of at least 1, not 0"):
        ConvLayer(name="x", in_channels=0, out_channels=1, height=1, width=1)
    layer = PlacedLayer(name="x", tile_rows=0, tile_columns=1)
    engines = EngineConfig(n_inputs=0, n_outputs=1, layers=(layer, layer)), EngineConfig(n_inputs=1, n_outputs=1, layers=())
    with pytest.raises(ConfigError) as caught:
        MultiEngineConfig(network="n", precision="fp16", clock_hz=0.0, engines=engines)
    assert caught.value.problems == (
        "precision must be fp32 or fixed16, not 'fp16'",
        "clock_hz must be positive, not 0.0",
        "engines.0 must have sizes of at least 1, not 0 x 1",
        "engines.1.layers must be one or more, not none",
        "x must have tiles of at least 1 x 1, not 0 x 1",
        "x must have tiles of at least 1 x 1, not 0 x 1",
        "x must be on one engine, not on 2",
    )


def test_configurations_survive_a_file(tmp_path):
    config, _ = alexnet(7, 64)
    assert MultiEngineConfig.load(config.save(tmp_path / "config.json")) == config
