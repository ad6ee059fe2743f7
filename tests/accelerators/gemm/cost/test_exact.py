"""The recurrence against the time of the program, cycle by cycle, and both against the lower bound."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import random_integer_networks
import torch
from machines import NETWORKS, random_config

from silicut.accelerators.gemm.compile import CompileOptions, compile_network
from silicut.accelerators.gemm.config import N3H, TINY, Z020
from silicut.accelerators.gemm.cost.bound import layer_bounds, network_bound
from silicut.accelerators.gemm.cost.exact import exact_time
from silicut.accelerators.gemm.cost.scheduled import bound_split, scheduled_work
from silicut.accelerators.gemm.cost.split import legal_splits
from silicut.accelerators.gemm.cost.work import Kind, with_edge_bits
from silicut.accelerators.gemm.simulate.timeline import timeline
from silicut.compress.quantisation import BitPlan, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.graph import capture
from silicut.graph.layer_shapes import layer_shapes
from silicut.records import DoesNotFit
from silicut.zoo import network as zoo_network

N_CONFIGS = 20


@functools.cache
def compiled(name, config, has_barriers):
    """One of the networks as a program; nobody changes it."""
    return fresh(name, config, has_barriers)


def fresh(name, config, has_barriers):
    return compile_network(NETWORKS[name](), config, CompileOptions(has_barriers=has_barriers, allows_host=True))


def legal_configs():
    """The first random builds that fit all networks, and how many did not."""
    rng, found = np.random.default_rng(5), []
    while len(found) < N_CONFIGS:
        config = random_config(rng)
        try:
            for name in NETWORKS:
                compiled(name, config, True)
        except DoesNotFit:
            continue
        found.append(config)
    return found


@pytest.fixture(scope="module")
def configs():
    return legal_configs()


def test_resnet18_on_the_build_for_the_small_part():
    """4 bits, 8 at both ends, images of 224 x 224: below 13 ms at 100 MHz, by both models."""
    torch.manual_seed(0)
    images = torch.randn(1, 3, 224, 224)
    captured = quantisable(capture(zoo_network("resnet18").eval(), images))
    plan, sites = with_edge_bits(BitPlan.uniform(4, 4), layer_shapes(captured), 8), find_sites(captured)
    ranges = activation_quantisations(sites, plan, histograms(captured, list(sites.limits), [images]))
    network = lower(sites, plan, ranges).network
    made = compile_network(network, Z020, CompileOptions(split=bound_split(Z020)))
    cycles = exact_time(made.schedules, made.queues, Z020).cycles
    assert cycles == timeline(made.program).cycles
    assert cycles < 1_300_000


def check(name, config):
    """Compare the three models on one network and one build."""
    check_layers(name, config)
    together = compiled(name, config, False)
    overlapped = exact_time(together.schedules, together.queues, config)
    assert overlapped.barriers == ()
    assert overlapped.cycles == timeline(together.program).cycles
    work, n_lut = scheduled_work(together.schedules, together.partition)
    assert 0 < network_bound(work, n_lut, config) <= overlapped.cycles


def check_layers(name, config):
    """Compare them where all queues meet behind each layer."""
    made = compiled(name, config, True)
    found, program = exact_time(made.schedules, made.queues, config), timeline(made.program)
    assert found.barriers == program.barriers
    assert len(found.layers) == len(made.partition.layers)
    assert sum(found.layers) <= found.cycles == program.cycles
    check_bound(made, found.layers, config)


def check_bound(compiled_network, layers, config):
    work, n_lut = scheduled_work(compiled_network.schedules, compiled_network.partition)
    bounds = layer_bounds(work, n_lut, config)[0]
    for layer, cycles in zip(compiled_network.partition.layers, layers, strict=True):
        own = [i for i, each in enumerate(work) if each.name == layer.name]
        assert 0 < bounds[own].max() <= cycles
        assert network_bound([work[i] for i in own], n_lut[own], config) <= cycles


@pytest.mark.parametrize("name", NETWORKS)
def test_presets(name):
    for config in (N3H, TINY) if name != "long-rows" else (N3H,):
        check(name, config)


@pytest.mark.parametrize("name", NETWORKS)
def test_random_builds(name, configs):
    for config in configs:
        check(name, config)


def test_random_builds_are_of_every_kind(configs):
    assert {(config.lut is None, config.dsp is None) for config in configs} >= {(False, False), (True, False)}
    schedules = [
        schedule
        for config, name in itertools.product(configs, NETWORKS)
        for schedule in compiled(name, config, True).schedules
    ]
    nests = [part.nest for schedule in schedules for part in schedule.units]
    products = [nest for nest in nests if hasattr(nest, "k_chunks")]
    assert any(nest.is_k_split for nest in products)
    assert any(nest.keeps_lhs for nest in products)
    assert any(nest.n_passes > 1 for nest in products)
    assert any(len(schedule.units) == 2 for schedule in schedules)
    assert any(hasattr(nest, "blocks") for nest in nests)


def test_neither_tokens_nor_the_compilers_dependences_are_read():
    made = fresh("residual-4", TINY, False)
    before = exact_time(made.schedules, made.queues, TINY)
    for jobs in made.queues.values():
        for job in jobs:
            job.needs = []
            job.instruction = dataclasses.replace(job.instruction, waits={}, sends=frozenset())
    assert exact_time(made.schedules, made.queues, TINY) == before


@pytest.mark.parametrize("name", NETWORKS)
def test_the_bound_can_choose_the_splits(name):
    options = CompileOptions(split=bound_split(N3H), allows_host=True)
    made = compile_network(NETWORKS[name](), N3H, options)
    work, n_lut = scheduled_work(made.schedules, made.partition)
    products = [i for i, layer in enumerate(work) if layer.kind is Kind.PRODUCT]
    assert all(n_lut[i] in legal_splits(work[i], N3H) for i in products)
    assert exact_time(made.schedules, made.queues, N3H).cycles == timeline(made.program).cycles


@pytest.mark.parametrize(
    ("change", "is_slower"),
    [
        ({"latency_cycles": 60}, True),
        ({"refresh_every": 50, "refresh_cycles": 9}, True),
        ({"n_ports": 4}, False),
        ({"latency_cycles": 0}, False),
    ],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_one_schedule_on_a_slower_memory_never_takes_less(name, change, is_slower):
    made = compiled(name, N3H, False)
    other = dataclasses.replace(N3H, memory=dataclasses.replace(N3H.memory, **change))
    times = [exact_time(made.schedules, made.queues, config).cycles for config in (N3H, other)]
    assert times == sorted(times, reverse=not is_slower)


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("has_barriers", [True, False])
def test_random_networks_of_all_kinds(seed, has_barriers):
    options = CompileOptions(has_barriers=has_barriers, allows_host=True)
    config = random_integer_networks.random_config(seed)
    made = compile_network(random_integer_networks.RandomNetwork(seed).network, config, options)
    found, program = exact_time(made.schedules, made.queues, config), timeline(made.program)
    assert (found.cycles, found.barriers) == (program.cycles, program.barriers)
