"""Sharing a network among engines: what is chosen, simulated, written and said."""

import dataclasses

import pytest
from rich.console import Console

from silicut.accelerators.multi_engine.config import MultiEngineConfig
from silicut.accelerators.multi_engine.published_layers import published_layers
from silicut.flows.partition import PartitionOptions, partition, read_conv_layers
from silicut.records import ConfigError, DoesNotFit, OutputExists
from silicut.report.partition import PartitionSummary
from silicut.report.terminal_partition import partition_view, sentences
from silicut.targets.parts import device_table

ALEXNET = published_layers("alexnet-2012")


@pytest.fixture(scope="module")
def found():
    """Return AlexNet in floating point on an xc7vx690t, with a memory that is never in the way."""
    return partition(ALEXNET, PartitionOptions(precision="fp32"), "alexnet-2012")


def test_the_published_partition_is_simulated_as_computed(found):
    summary = found.summary
    assert (summary.single_cycles, summary.epoch_cycles, summary.simulated_cycles) == (1_768_724, 1_168_128, 1_168_128.0)
    assert summary.bound_cycles == 1_168_128
    assert summary.is_steady
    assert summary.n_dsps == 2880 == summary.limits.n_dsps
    assert summary.n_bram18 <= summary.limits.n_bram18 == 2352
    assert (summary.n_stages, summary.n_macs) == (5, 665_784_864)
    assert summary.latency_cycles <= 5 * summary.epoch_cycles
    assert summary.utilisation_frac == pytest.approx(665_784_864 / (1_168_128 * 576))
    assert summary.images_per_s == pytest.approx(85.607, abs=1e-3)
    for engine in summary.engines:
        spent = (
            engine.computing_cycles
            + engine.inputs_cycles
            + engine.loading_cycles
            + engine.storing_cycles
            + engine.readers_cycles
        )
        assert spent == pytest.approx(summary.simulated_cycles, rel=0.02)
        assert engine.computing_cycles == pytest.approx(engine.cycles, rel=0.02)
    assert sorted(layer.name for engine in summary.engines for layer in engine.layers) == sorted(
        each.name for each in ALEXNET
    )


def test_a_slow_memory_is_seen_and_explained():
    options = PartitionOptions(precision="fixed16", bandwidth_gb_per_s=2.6, follows=True)
    summary = partition(ALEXNET, options, "alexnet-2012").summary
    assert summary.limits.bandwidth_gb_per_s == 2.6
    assert summary.n_bytes <= 26 * summary.epoch_cycles
    assert summary.simulated_cycles > summary.epoch_cycles
    assert summary.n_stages < 5
    text = " ".join(sentences(summary))
    assert "a layer that needs more than its share at once has to wait" in text
    assert "2.6 GB/s are there, shared equally by all that move" in text
    assert "times fewer" in text


def test_walks_prove_nothing():
    options = PartitionOptions(precision="fp32", solver="tabu", n_evaluations=60, seed=3)
    summary = partition(ALEXNET, options, "alexnet-2012").summary
    assert (summary.bound_cycles, summary.solver, summary.seed, summary.n_evaluations) == (None, "tabu", 3, 60)
    assert "by proof" not in " ".join(sentences(summary))


def test_what_is_written_is_read_again(found, tmp_path):
    folder = found.save(tmp_path / "out")
    assert PartitionSummary.load(folder / "summary.json") == found.summary
    assert MultiEngineConfig.load(folder / "config.json") == found.config
    with pytest.raises(OutputExists):
        found.save(folder)


def test_the_view_names_every_engine_and_layer(found):
    console = Console(width=140, record=True, highlight=False)
    with console.capture() as capture:
        console.print(partition_view(found.summary))
    text = capture.get().replace("\xa0", " ")
    assert "alexnet-2012, fp32, 5 engines on xc7vx690t: 85.6 images/s, multipliers 99.0 % in use, simulated; " in text
    assert "Computed and simulated epoch are equal, 1,168,128 cycles: memory keeps no engine waiting." in text
    assert "this is the best one, by proof" in text
    assert "80 % of xc7vx690t, recalled" in text
    assert all(word in text for word in ("Tn x Tm", "at work", "inputs", "loads", "stores", "readers"))
    assert all(layer.name in text for layer in ALEXNET)


def test_what_does_not_fit_is_an_outcome():
    part = dataclasses.replace(device_table().part("xc7z020"), n_bram36=1)
    for solver, reason in (("exact", "give another part or a larger --budget"), ("annealing", "more --evaluations may")):
        options = PartitionOptions(precision="fp32", part=part, budget_frac=0.5, solver=solver, n_evaluations=20)
        with pytest.raises(DoesNotFit, match=reason):
            partition(ALEXNET, options)


def test_options_are_checked_at_once():
    with pytest.raises(ConfigError) as caught:
        PartitionOptions(
            precision="int8", solver="exakt", budget_frac=0.0, clock_hz=0.0, bandwidth_gb_per_s=-1.0, max_engines=0,
            n_evaluations=0,
        )  # fmt: skip
    assert caught.value.problems == (
        "precision must be fp32 or fixed16, not 'int8'",
        "solver must be one of exact, annealing, tabu, not 'exakt'",
        "budget must be above 0 and at most 1, not 0",
        "clock must be positive, not 0",
        "bandwidth must be positive and finite, not -1",
        "engines must be at least 1, not 0",
        "evaluations must be at least 1, not 0",
    )


def test_networks_of_the_zoo_and_of_papers():
    assert read_conv_layers("alexnet-2012") == (ALEXNET, ())
    layers, left_out = read_conv_layers("alexnet")
    assert len(layers) == 5
    assert "classifier.1" in left_out
