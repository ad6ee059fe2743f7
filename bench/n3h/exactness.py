"""Do simulator and integer reference agree to the bit, and model and simulator to the cycle?

Random networks on random builds, ResNet-18 and MobileNetV2 with data, and random builds that both fit, timed with a barrier
behind each layer and overlapped.
"""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from builds import NETWORKS
from machine import integer_network
from study import Table

from silicut.accelerators.gemm.compile import Compiled, CompileOptions, compile_network
from silicut.accelerators.gemm.config import N3H, Buffers, DspCore, GemmConfig, LutCore, Memory
from silicut.accelerators.gemm.cost.bound import layer_bounds
from silicut.accelerators.gemm.cost.exact import exact_time
from silicut.accelerators.gemm.cost.scheduled import scheduled_work
from silicut.accelerators.gemm.simulate import simulate, timeline
from silicut.graph import Network
from silicut.numerics import IntegerFormat, run_integer
from silicut.records import DoesNotFit

GENERATORS = Path(__file__).parents[2] / "tests"
N_RANDOM, N_BUILDS = 300, 20
POLICY = "4/4"
_COMPARED = ("n_tensors", "n_numbers", "n_different", "simulated_cycles", "exact_cycles", "simulate_s")


def answer(random: Table, zoo: Table, cycles: Table, n_pixels: int, is_quick: bool) -> None:
    """Fill the three tables."""
    _random_networks(random, 20 if is_quick else N_RANDOM)
    _zoo(zoo, n_pixels)
    _random_builds(cycles, n_pixels, 2 if is_quick else N_BUILDS)


def _random_networks(table: Table, n: int) -> None:
    sys.path.insert(0, str(GENERATORS))
    from random_integer_networks import RandomNetwork, random_config

    for seed in range(n):
        if table.has(seed=seed):
            continue
        options = CompileOptions(has_barriers=seed % 2 == 0, allows_host=True)
        try:
            row = _compared(RandomNetwork(seed).network, random_config(seed), options, seed)
        except DoesNotFit as refusal:  # such a build has no program for this network, which is an answer
            row = dict.fromkeys(_COMPARED, "") | {"note": str(refusal)}
        table.add(seed=seed, has_barriers=options.has_barriers, **row)


def _zoo(table: Table, n_pixels: int) -> None:
    for name in NETWORKS:
        key = {"build": N3H.name, "network": name, "policy": POLICY, "n_pixels": n_pixels}
        if not table.has(**key):
            network, split = integer_network(name, POLICY, n_pixels, N3H)
            table.add(**key, **_compared(network, N3H, CompileOptions(split=split), 0))


def _compared(network: Network, config: GemmConfig, options: CompileOptions, seed: int) -> dict[str, Any]:
    """Return how many numbers of the kept tensors differ from the reference, and the cycles by simulator and model."""
    rng = np.random.default_rng(seed)
    compiled = compile_network(network, config, options)
    inputs, images = {}, {}
    for name in network.inputs:
        format = IntegerFormat.of(network.tensors[name].dtype)
        inputs[name] = rng.integers(format.min, format.max + 1, network.tensors[name].sizes(1)).astype(format.dtype)
        images[name] = inputs[name].reshape(compiled.program.places[name].shape)
    started = time.perf_counter()
    simulated, seconds = simulate(compiled.program, images), time.perf_counter() - started
    expected = run_integer(network, inputs)
    kept = [name for name, place in compiled.program.places.items() if place.unrolled is None]
    different = sum(
        int(np.count_nonzero(simulated.tensor(name).reshape(expected[name].shape) != expected[name])) for name in kept
    )
    return {
        "n_tensors": len(kept), "n_numbers": sum(expected[name].size for name in kept), "n_different": different,
        "simulated_cycles": simulated.cycles,
        "exact_cycles": exact_time(compiled.schedules, compiled.queues, config).cycles, "simulate_s": seconds, "note": "",
    }  # fmt: skip


def _random_builds(table: Table, n_pixels: int, n: int) -> None:
    """Time programs of the networks on the first builds that fit both of them."""
    networks = {name: integer_network(name, POLICY, n_pixels, N3H)[0] for name in NETWORKS}
    seeds, n_fitting = itertools.count(), 0
    while n_fitting < n:
        seed = next(seeds)
        config = _random_build(seed)
        try:
            overlapped = {name: compile_network(network, config) for name, network in networks.items()}
        except DoesNotFit:
            continue
        n_fitting += 1
        for name, has_barriers in itertools.product(networks, (True, False)):
            key = {"build": seed, "network": name, "has_barriers": has_barriers, "n_pixels": n_pixels}
            if not table.has(**key):
                made = overlapped[name]
                if has_barriers:
                    made = compile_network(networks[name], config, CompileOptions(has_barriers=True))
                table.add(**key, **_times(made, config))


def _random_build(seed: int) -> GemmConfig:
    """Return a build of both cores, large enough for images of 224 x 224 in most cases."""
    rng = np.random.default_rng(seed)

    def pick(*options: int) -> int:
        return int(rng.choice(options))

    passes = pick(2, 4)
    return replace(
        N3H,
        name=f"random{seed}",
        lut=LutCore(n_rows=pick(4, 7, 8, 14), n_columns=pick(5, 8, 16), word_bits=32 * pick(2, 3, 4, 9)),
        dsp=DspCore(
            n_rows=pick(1, 2, 4), n_inputs=pick(8, 16), n_outputs=passes * pick(4, 6, 8), n_passes=passes,
            macs_per_slice_4bit=pick(2, 4), macs_per_slice_8bit=pick(1, 2), n_accumulator_banks=pick(2, 4, 8),
        ),
        memory=Memory(n_ports=pick(1, 2, 4), latency_cycles=pick(8, 32, 60), refresh_every=780, refresh_cycles=pick(5, 35)),
        buffers=Buffers(feature_words=pick(8192, 16384), output_words=pick(4096, 8192)),
        n_lanes=pick(4, 8, 16), n_vector_lanes=pick(2, 4, 8), fill_bits=pick(64, 128, 256),
    )  # fmt: skip


def _times(compiled: Compiled, config: GemmConfig) -> dict[str, Any]:
    """Return the cycles by model and simulator, how many layers differ, and how many are faster than their bound."""
    exact, program = exact_time(compiled.schedules, compiled.queues, config), timeline(compiled.program)
    simulated = np.diff((0, *program.barriers))
    work, n_lut = scheduled_work(compiled.schedules, compiled.partition)
    bounds = layer_bounds(work, n_lut, config)[0]
    least = [max(bounds[i] for i, each in enumerate(work) if each.name == layer.name) for layer in compiled.partition.layers]
    return {
        "simulated_cycles": program.cycles, "exact_cycles": exact.cycles, "n_layers": len(exact.layers),
        "n_layers_differ": int(np.count_nonzero(simulated != np.array(exact.layers))) if exact.layers else 0,
        "n_below_bound": int(np.count_nonzero(simulated < np.array(least))) if exact.layers else 0,
    }  # fmt: skip
