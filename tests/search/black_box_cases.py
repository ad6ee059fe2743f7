"""An objective whose optimum is found by trying everything, and a command that searches it and may be killed.

python black_box_cases.py STORE LOG SOLVER SEED N PAUSE_S
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from silicut.search import Level, Outcome, Parameter, Point, Space, minimise

AREA = 22


@dataclass(frozen=True)
class Arrays:
    """Two arrays share an area, each with work of its own; the order of two letters matters a little."""

    name = "two arrays"
    space = Space(
        (
            *(Parameter(name, (1, 2, 3, 4, 6, 8)) for name in ("rows", "columns", "lanes", "depth")),
            Parameter("order", ("nm", "mn", "mixed")),
        )
    )
    features: Mapping[str, tuple[float, ...]]

    def evaluate(self, point: Point) -> Outcome:
        rows, columns, lanes, depth = (int(point[name]) for name in ("rows", "columns", "lanes", "depth"))
        cost = -(-24 // rows) * -(-30 // columns) + 7 * -(-20 // lanes) + 40 / depth + (point["order"] != "mn")
        area = rows * columns + lanes * depth
        if area > AREA:
            return Outcome(cost, area / AREA - 1, (f"{area} cells are used, the part has {AREA}",), {"area": area})
        return Outcome(cost, details={"area": area})


def arrays() -> Arrays:
    """Return the objective; two of its parameters belong to parts."""
    return Arrays({"depth": (1.0, 3.0), "order": (2.0, 3.0)})


def least_cost() -> float:
    """Return the least cost within the area, by formulas written down once more."""
    levels = (1, 2, 3, 4, 6, 8)
    return min(
        ((24 + r - 1) // r) * ((30 + c - 1) // c) + 7 * ((20 + n - 1) // n) + 40 / d
        for r, c, n, d in itertools.product(levels, repeat=4)
        if r * c + n * d <= AREA
    )


@dataclass(frozen=True)
class Logged:
    """An objective that notes in a file when an evaluation begins and ends."""

    inner: Arrays
    log: str
    pause_s: float

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def space(self) -> Space:
        return self.inner.space

    def evaluate(self, point: Point) -> Outcome:
        key = self.space.key(point)
        self._note("begin", key)
        time.sleep(self.pause_s)
        outcome = self.inner.evaluate(point)
        self._note("end", key)
        return outcome

    def _note(self, event: str, key: tuple[Level, ...]) -> None:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, (json.dumps([event, os.getpid(), *key]) + "\n").encode())
        os.close(descriptor)


if __name__ == "__main__":
    store, log, solver, seed, n, pause_s = sys.argv[1:]
    import optuna  # noqa: F401  (before it is ready)

    print("ready", flush=True)
    sys.stdin.readline()
    result = minimise(Logged(arrays(), log, float(pause_s)), solver, int(n), int(seed), store)
    print(json.dumps([[list(result.best.point.values()), result.curve, result.n_evaluations, result.n_known]]))
