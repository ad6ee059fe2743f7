"""How long compiled networks take: the exact recurrence and the time of the program, layer by layer, against the bound.

Networks have random weights, quantised for one image: time depends on sizes and bits alone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from builds import BUILDS, NETWORKS, POLICIES, build_of, plan_of, work_of
from study import Table

from silicut.accelerators.gemm.compile import Compiled, CompileOptions, compile_network
from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.bound import layer_bounds, network_bound
from silicut.accelerators.gemm.cost.exact import exact_time
from silicut.accelerators.gemm.cost.scheduled import scheduled_work
from silicut.accelerators.gemm.cost.split import best_splits
from silicut.accelerators.gemm.cost.work import Kind
from silicut.accelerators.gemm.simulate import timeline
from silicut.compress.quantisation import BitPlan, FilterGroup, find_sites, quantisable
from silicut.compress.quantisation.calibration import activation_quantisations, histograms
from silicut.compress.quantisation.lowering import lower
from silicut.graph import Network, capture
from silicut.graph.layer_shapes import layer_shapes
from silicut.records import DoesNotFit
from silicut.zoo import network as module_of

_DSP_BITS = 4


def answer(totals: Table, layers: Table, n_pixels: int) -> None:
    """Add the time of every build, network and policy, with barriers and overlapped."""
    for build, network, policy in itertools.product(BUILDS, NETWORKS, POLICIES):
        key = {"build": build, "network": network, "policy": policy, "n_pixels": n_pixels}
        if (policy == "published" and network != "resnet18") or totals.has(**key, mode="overlapped"):
            continue
        config = build_of(build, policy)
        integer, split = integer_network(network, policy, n_pixels, config)
        for has_barriers in (True, False):
            mode = "barriers" if has_barriers else "overlapped"
            if totals.has(**key, mode=mode):
                continue
            try:
                row, rows = _timed(integer, config, CompileOptions(split=split, has_barriers=has_barriers))
            except DoesNotFit as refusal:
                print(f"{build}, {network}, {policy}: {refusal}")
                break
            for layer in rows:
                layers.add(label="simulated", **key, **layer)
            totals.add(label="simulated", **key, mode=mode, **row)


def _timed(network: Network, config: GemmConfig, options: CompileOptions) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the row of a network, and those of its layers where queues meet behind each."""
    start = time.perf_counter()
    compiled = compile_network(network, config, options)
    compiled_at = time.perf_counter()
    exact = exact_time(compiled.schedules, compiled.queues, config)
    exact_at = time.perf_counter()
    program = timeline(compiled.program)
    simulated_at = time.perf_counter()
    work, n_lut = scheduled_work(compiled.schedules, compiled.partition)
    row = {
        "simulated_cycles": program.cycles, "exact_cycles": exact.cycles, "ms": program.cycles / 1e5,
        "bound_cycles": network_bound(work, n_lut, config), "n_instructions": compiled.program.n_instructions,
        "compile_s": compiled_at - start, "exact_s": exact_at - compiled_at, "simulate_s": simulated_at - exact_at,
    }  # fmt: skip
    return row, list(_layers(compiled, exact.layers, program.barriers, config))


def _layers(
    compiled: Compiled, exact: tuple[int, ...], barriers: tuple[int, ...], config: GemmConfig
) -> Iterator[dict[str, Any]]:
    work, n_lut = scheduled_work(compiled.schedules, compiled.partition)
    bounds, simulated = layer_bounds(work, n_lut, config)[0], np.diff((0, *barriers))
    for number, cycles in enumerate(exact):
        name = compiled.partition.layers[number].name
        own = [i for i, layer in enumerate(work) if layer.name == name]
        yield {
            "layer": name, "n_lut": int(n_lut[own].sum()), "n_filters": sum(work[i].out_channels for i in own),
            "simulated_cycles": int(simulated[number]), "exact_cycles": cycles, "bound_cycles": float(bounds[own].max()),
        }  # fmt: skip


def integer_network(network: str, policy: str, n_pixels: int, config: GemmConfig) -> tuple[Network, dict[str, int]]:
    """Return an integer network, and the filters of the LUT core of each layer: those that the bound finds best.

    Filters of the DSP core have weights of 4 bits wherever those of the LUT core have more and activations have 4.
    """
    torch.manual_seed(0)
    images = torch.randn(1, 3, n_pixels, n_pixels)
    captured = quantisable(capture(module_of(network).eval(), images))
    work = work_of(network, policy, layer_shapes(captured))
    splits = {
        layer.name: (int(n), layer)
        for layer, n in zip(work, best_splits(work, config), strict=True)
        if layer.kind is Kind.PRODUCT
    }
    plan = plan_of(network, policy)
    groups = {
        name: (FilterGroup(tuple(range(n, layer.out_channels)), _DSP_BITS),)
        for name, (n, layer) in splits.items()
        if n < layer.out_channels and layer.dsp_bits == _DSP_BITS < layer.w_bits
    }
    plan = BitPlan(default=plan.default, layers=plan.layers, filter_groups=groups)
    sites = find_sites(captured)
    found = activation_quantisations(sites, plan, histograms(captured, list(sites.limits), [images]))
    return lower(sites, plan, found).network, {name: n for name, (n, _) in splits.items()}
