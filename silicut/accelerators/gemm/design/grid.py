"""The grid of a problem as arrays: all levels of some parameters together, and what they take of a part.

What a build takes is a sum: each core with its banks, the lanes, the buffers take the same whatever the rest is. So amounts
are kept as what a decision adds to the cheapest build of the grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.cost.resources import AMOUNTS, Use, resources
from silicut.accelerators.gemm.design.problem import DesignProblem

Amounts = NDArray[np.int64]

_GROWING = ("fill_bits", "feature_words", "residual_words", "output_words")
"""Parameters of which more never takes longer, whatever the others are."""


class Grid:
    """The levels of a problem's space.

    Attributes:
        cheapest: the build that takes least.
        allowed: what may be used, array (4,) in the order of `AMOUNTS`.
    """

    def __init__(self, problem: DesignProblem) -> None:
        self._problem = problem
        self._levels = {p.name: tuple(int(level) for level in p.levels) for p in problem.space.parameters}
        self.cheapest = {name: min(levels) for name, levels in self._levels.items()}
        self.allowed = amounts(problem.allowed())
        self._least = self._use({})
        self._levels |= {name: self._worth_having(name) for name in _GROWING}
        self._known: dict[tuple[str, ...], tuple[Amounts, Amounts]] = {}

    def of(self, names: Sequence[str]) -> tuple[Amounts, Amounts]:
        """Return all levels of some parameters together, array (n, names), and what each adds, array (n, 4)."""
        key = tuple(names)
        if key not in self._known:
            levels = np.array(list(itertools.product(*(self._levels[name] for name in key))), np.int64)
            levels = levels[[self._is_legal(key, row) for row in levels]]
            self._known[key] = levels, np.array([self.added(dict(zip(key, row, strict=True))) for row in levels])
        return self._known[key]

    def added(self, point: dict[str, int]) -> Amounts:
        """Return what some levels take more than the cheapest, array (4,)."""
        return self._use(point) - self._least

    def room(self, *added: Amounts) -> Amounts:
        """Return what is left of the part when the cheapest build and some additions have been taken, array (4,)."""
        return self.allowed - self._least - sum(added, np.zeros(4, np.int64))

    def least(self, names: Sequence[str]) -> Amounts:
        """Return the least that any levels of some parameters add, amount by amount, array (4,); below 0 where the smallest
        levels are not the cheapest ones."""
        found: Amounts = self.of(names)[1].min(axis=0)
        return found

    def level(self, name: str) -> int:
        """Return the largest level of a parameter."""
        return max(self._levels[name])

    def _use(self, point: dict[str, int]) -> Amounts:
        levels = {name: int(level) for name, level in point.items()}
        return amounts(resources(self._problem.config({**self.cheapest, **levels})).total)

    def _worth_having(self, name: str) -> tuple[int, ...]:
        """Return the levels that take less than every larger one."""
        kept: list[int] = []
        for level in sorted(self._levels[name], reverse=True):
            if not kept or (self._use({name: level}) != self._use({name: kept[-1]})).any():
                kept.append(level)
        return tuple(kept)

    @staticmethod
    def _is_legal(names: tuple[str, ...], levels: Amounts) -> bool:
        at = dict(zip(names, levels, strict=True))
        return "dsp_outputs" not in at or at["dsp_outputs"] % at["dsp_passes"] == 0


def amounts(use: Use) -> Amounts:
    """Return amounts as an array (4,), in the order of `AMOUNTS`."""
    return np.array([getattr(use, name) for name in AMOUNTS], np.int64)
