"""Cost tables that learn from a plan that was timed, so that the next plan is solved for with what is known of it.

A solver seeks out the plans that a model flatters. So what each layer of a timed plan takes in truth is put into its table,
and fades out with the distance from the plan's own widths and bits; layers of the same shape learn from each other. The sum
at the plan is then the exact time of the whole, overlaps included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from silicut.flows.bit_choices import BITS_PREFIX
from silicut.flows.gemm_corrections import Timed
from silicut.search import Table
from silicut.targets.profile import LayerCost, Profile

_REACH = 0.5  # distance, in doublings of a width or of bits, at which half of a correction is left

Arrays = dict[str, NDArray[np.float64]]


def learned(profile: Profile, levels: Mapping[str, int], timed: Timed, clock_hz: float, predicted_ms: float) -> Profile:
    """Return a profile that is exact at a plan, and nearer to the truth around it.

    Args:
        profile: as it predicts so far.
        levels: of the plan.
        timed: what it takes.
        clock_hz: of the build.
        predicted_ms: of the plan, by the profile.
    """
    tables = {cost.name: cost.table.array.copy() for cost in profile.layers if cost.table is not None}
    numbers = dict(levels) | {s.name: sum(levels[part] for part in s.parts) for s in profile.sums}
    timed_ones = [cost for cost in profile.layers if cost.name in tables and cost.name in timed.layers]
    places = {cost.name: _place(profile, cost, numbers) for cost in timed_ones}
    seen = {cost.name: cost for cost in timed_ones if tables[cost.name][places[cost.name]] > 0}  # others hide elsewhere
    places = {name: places[name] for name in seen}
    truth = _truth(timed, tables, places, 1e3 * timed.cycles / clock_hz, predicted_ms)
    for name, cost in seen.items():
        factor = truth[name] / tables[name][places[name]]
        for other in seen.values():
            if other is not cost and other.shape == cost.shape and len(places[other.name]) == len(places[name]):
                tables[other.name] *= factor ** _fading(profile, other, _numbers_at(cost, numbers))
    for name, cost in seen.items():
        factor = truth[name] / tables[name][places[name]]
        tables[name] *= factor ** _fading(profile, cost, _numbers_at(cost, numbers))
    return replace(profile, layers=tuple(_with_table(cost, tables) for cost in profile.layers))


def _truth(
    timed: Timed, tables: Arrays, places: Mapping[str, tuple[int, ...]], whole_ms: float, predicted_ms: float
) -> dict[str, float]:
    """Return the milliseconds of the layers that were seen, on the scale on which they add up to the whole."""
    elsewhere_ms = predicted_ms - sum(float(tables[name][place]) for name, place in places.items())
    total = sum(timed.layers[name] for name in places)
    return {name: max(whole_ms - elsewhere_ms, 1e-3 * whole_ms) * timed.layers[name] / total for name in places}


def _place(profile: Profile, cost: LayerCost, numbers: Mapping[str, int]) -> tuple[int, ...]:
    assert cost.table is not None
    return tuple(profile.levels[name].index(numbers[name]) for name in cost.table.variables)


def _numbers_at(cost: LayerCost, numbers: Mapping[str, int]) -> tuple[int, ...]:
    assert cost.table is not None
    return tuple(numbers[name] for name in cost.table.variables)


def _fading(profile: Profile, cost: LayerCost, at: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how much of a correction is left over a layer's table: 1 where it was seen."""
    assert cost.table is not None
    squared: NDArray[np.float64] = np.zeros(cost.table.shape)
    for axis, (name, number) in enumerate(zip(cost.table.variables, at, strict=True)):
        levels = np.array([_coordinates(name, level) for level in profile.levels[name]])
        along = ((levels - np.array(_coordinates(name, number))) ** 2).sum(-1)
        squared = squared + along.reshape([-1 if a == axis else 1 for a in range(squared.ndim)])
    faded: NDArray[np.float64] = 1 / (1 + squared / _REACH**2)
    return faded


def _coordinates(variable: str, level: int) -> tuple[float, ...]:
    """Return where a level lies: logarithms of a width, or of both digits that stand for bits."""
    numbers = divmod(level, 10) if variable.startswith(BITS_PREFIX) else (level,)
    return tuple(float(np.log2(max(number, 1))) for number in numbers)


def _with_table(cost: LayerCost, tables: Arrays) -> LayerCost:
    return cost if cost.table is None else replace(cost, table=Table.of(cost.table.variables, tables[cost.name]))
