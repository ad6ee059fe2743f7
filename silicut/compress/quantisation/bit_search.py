"""Bits chosen for every layer under a budget of size or of bit operations, by the solvers of `search`.

One variable stands for the width of each layer's weights and one for that of each tensor that layers read. A layer's bit
operations are its multiply-accumulates times both widths, a table over two variables; layers that read one tensor share
its variable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from silicut.compress.quantisation.bits import RESOURCES, BitPlan, LayerBits
from silicut.compress.quantisation.sensitivity import Sensitivity, read_by_layers
from silicut.compress.quantisation.sites import Sites
from silicut.graph.counting import macs_by_operator
from silicut.records import ConfigError
from silicut.search import Problem, Solution, Table, Variable, solve

BOPS, WEIGHT_BITS = RESOURCES["bops"], RESOURCES["size"]
"""The names of these resources in a problem."""


@dataclass(frozen=True)
class BitSearch:
    """What the search chose.

    Attributes:
        plan: the widths.
        solution: the solver's answer, with exact costs and a bound on the value of any other choice.
    """

    plan: BitPlan
    solution: Solution


def bit_problem(
    sites: Sites, sensitivity: Sensitivity, budgets: Mapping[str, float], fixed: Mapping[str, LayerBits] | None = None
) -> Problem:
    """Return the problem of losing least, by the sum of what each width alone loses, within budgets.

    Args:
        sites: where the float network is rounded.
        sensitivity: measured on it.
        budgets: the most that an inference may cost in `BOPS`, the weights in `WEIGHT_BITS`; one may be missing.
        fixed: layers whose widths are given; they count, and a tensor that they read has no fewer bits than they ask for.

    Raises:
        ConfigError: a layer of `fixed` is not one of the network, or has a width that was not measured.
    """
    fixed = fixed or {}
    problems = [f"fixed must name layers of the network, not {name}" for name in fixed if name not in sites.layers]
    widths = {bits for layer in fixed.values() for bits in (layer.weight_bits, layer.activation_bits)}
    problems += [f"fixed must have widths among {sensitivity.bits}, not {b}" for b in sorted(widths - {*sensitivity.bits})]
    if problems:
        raise ConfigError(*problems)
    variables = tuple(_variables(sites, sensitivity, fixed))
    losses = {_weights_of(layer): loss for layer, loss in sensitivity.weights.items()}
    losses |= {_tensor(name): loss for name, loss in sensitivity.activations.items()}
    at = {v.name: [sensitivity.bits.index(level) for level in v.levels] for v in variables}
    values = tuple(Table.of((name,), -np.array(losses[name])[levels]) for name, levels in at.items())
    return Problem(variables=variables, values=values, costs=_costs(sites, variables), budgets=dict(budgets))


def _weights_of(layer: str) -> str:
    return f"weights of {layer}"


def _tensor(name: str) -> str:
    return f"tensor {name}"


def _variables(sites: Sites, sensitivity: Sensitivity, fixed: Mapping[str, LayerBits]) -> Iterator[Variable]:
    read = read_by_layers(sites)
    for layer in sites.layers:
        yield Variable(_weights_of(layer), (fixed[layer].weight_bits,) if layer in fixed else sensitivity.bits)
    for tensor in dict.fromkeys(read.values()):
        readers = [layer for layer in sites.layers if read[layer] == tensor]
        least = max((fixed[layer].activation_bits for layer in readers if layer in fixed), default=0)
        is_free = any(layer not in fixed for layer in readers)
        yield Variable(_tensor(tensor), tuple(b for b in sensitivity.bits if b >= least) if is_free else (least,))


def _costs(sites: Sites, variables: tuple[Variable, ...]) -> dict[str, tuple[Table, ...]]:
    levels = {v.name: np.array(v.levels, dtype=np.float64) for v in variables}
    macs, read = macs_by_operator(sites.network), read_by_layers(sites)
    layers = {
        o.name: sites.network.parameters[o.arguments["weight"].name].size for o in sites.network.operators if o.name in read
    }
    bops, sizes = [], []
    for layer, n_weights in layers.items():
        own, tensor = _weights_of(layer), _tensor(read[layer])
        bops.append(Table.of((own, tensor), macs[layer] * np.outer(levels[own], levels[tensor])))
        sizes.append(Table.of((own,), n_weights * levels[own]))
    return {BOPS: tuple(bops), WEIGHT_BITS: tuple(sizes)}


def search_bits(
    sites: Sites,
    sensitivity: Sensitivity,
    budgets: Mapping[str, float],
    fixed: Mapping[str, LayerBits] | None = None,
    solver: str = "coupled",
    time_limit_s: float = 10.0,
) -> BitSearch:
    """Return the widths that lose least within budgets, by the sum of what each alone loses.

    Args:
        sites, sensitivity, budgets, fixed: as for `bit_problem`.
        solver: as for `silicut.search.solve`.
        time_limit_s: wall-clock seconds.

    Raises:
        ConfigError: as `bit_problem` and `silicut.search.solve`.
        DoesNotFit: no widths meet the budgets; the message names the smallest reachable cost.
    """
    solution = solve(bit_problem(sites, sensitivity, budgets, fixed), solver, time_limit_s)
    return BitSearch(plan_of(sites, solution.levels), solution)


def plan_of(sites: Sites, levels: Mapping[str, int]) -> BitPlan:
    """Return the plan that a choice of levels of a `bit_problem` stands for."""
    read = read_by_layers(sites)
    layers = {name: LayerBits(levels[_weights_of(name)], levels[_tensor(read[name])]) for name in sites.layers}
    widest = max(sensitivity for sensitivity in levels.values())
    return BitPlan(default=LayerBits(widest, widest), layers=layers)


def bit_operations(sites: Sites, plan: BitPlan) -> float:
    """Return the bit operations of one inference: multiply-accumulates x bits of the weight x bits of what the layer reads.

    Filters with widths of their own count by theirs; a tensor counts by the widest that a layer asks for.
    """
    return sum(macs * bits * read for macs, bits, read, _ in _by_layer(sites, plan))


def weight_bits(sites: Sites, plan: BitPlan) -> float:
    """Return the bits of all weights; biases and scales, which stay wide, are not counted."""
    return sum(n_weights * bits for _, bits, _, n_weights in _by_layer(sites, plan))


def _by_layer(sites: Sites, plan: BitPlan) -> Iterator[tuple[int, float, int, int]]:
    """Yield multiply-accumulates, mean bits of weights, bits of what is read, and the number of weights of each layer."""
    macs, read = macs_by_operator(sites.network), read_by_layers(sites)
    for operator in sites.network.operators:
        if operator.name in read:
            weight = sites.network.parameters[operator.arguments["weight"].name]
            mean = float(plan.filter_bits(operator.name, len(weight)).mean())
            shared = [plan.of(layer).activation_bits for layer, tensor in read.items() if tensor == read[operator.name]]
            yield macs[operator.name], mean, max(shared), weight.size
