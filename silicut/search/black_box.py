"""Minimising a function of which nothing is known but its values: one call for all solvers."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from silicut.records import ConfigError, Progress, Tracker, silent
from silicut.search.annealing import Annealing
from silicut.search.neighbourhood import State
from silicut.search.optuna_samplers import Evolution, Tpe
from silicut.search.outcome import Evaluation, Objective, Outcome, Search
from silicut.search.random_points import RandomPoints
from silicut.search.reinforcement import Ddpg
from silicut.search.space import Point
from silicut.search.tabu import Tabu

MAX_IN_A_ROW = 2000
"""A search that asks so often in a row for what it was told before has nothing more to try."""


class BlackBoxSolver(Protocol):
    """Options of a way to search; they alone, the objective and chance say what it tries."""

    @property
    def name(self) -> str:
        """What the solver is called."""
        ...

    def search(self, objective: Objective, n_evaluations: int, rng: np.random.Generator, /) -> Search[Point]:
        """Return a new search that will be told about so many evaluations.

        It looks at the objective's space and features, and never evaluates a point itself.
        """
        ...


BLACK_BOX_SOLVERS: dict[str, BlackBoxSolver] = {
    solver.name: solver for solver in (Annealing(), Ddpg(), Evolution(), RandomPoints(), Tabu(), Tpe())
}
"""Solver name -> its default options."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        solver: its name.
        seed: of its random generator.
        evaluations: every distinct point that the search asked for, in order.
        seconds: wall-clock time.
    """

    solver: str
    seed: int
    evaluations: tuple[Evaluation[Point], ...]
    seconds: float

    @property
    def best(self) -> Evaluation[Point]:
        """The best evaluation; where no point keeps all limits, the one that breaks them least. Ties go to the first."""
        return min(self.evaluations, key=lambda evaluation: evaluation.outcome.rank)

    @property
    def n_evaluations(self) -> int:
        """How many distinct points the search was told the outcome of."""
        return len(self.evaluations)

    @property
    def n_known(self) -> int:
        """How many of these were in the store: from an earlier run or another process."""
        return sum(evaluation.is_known for evaluation in self.evaluations)

    @property
    def n_infeasible(self) -> int:
        """How many of these break a limit."""
        return sum(not evaluation.outcome.is_feasible for evaluation in self.evaluations)

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """After how many evaluations the least cost within all limits fell, and to what; empty where none was within."""
        steps: list[tuple[int, float]] = []
        for number, evaluation in enumerate(self.evaluations, 1):
            if evaluation.outcome.is_feasible and (not steps or evaluation.outcome.cost < steps[-1][1]):
                steps.append((number, evaluation.outcome.cost))
        return tuple(steps)


def minimise(
    objective: Objective,
    solver: str | BlackBoxSolver = "annealing",
    n_evaluations: int = 600,
    seed: int = 0,
    store: str | Path | None = None,
    progress: Progress = silent,
) -> SearchResult:
    """Return what a black-box search finds within some evaluations; equal arguments give equal points, however often killed.

    Args:
        objective: what to minimise.
        solver: a name of `BLACK_BOX_SOLVERS`, or a solver with options of its own.
        n_evaluations: how many distinct points the search may ask for, at least 1; it ends earlier where it has nothing new
            to ask.
        seed: chooses the search's random numbers.
        store: where trials are kept: a file (a journal that several processes may write), or any URL that Optuna takes.
            What is there is not evaluated again, whoever put it there; processes share work where their seeds or solvers
            differ. None keeps nothing.
        progress: told of every evaluation.

    Raises:
        ConfigError: the solver is unknown, the number of evaluations is below 1, or the store holds trials of other
            parameters.
        BadFile: the store is a file of another kind, or nothing can be reached at its URL.
        ToolMissing: the solver or the store needs a package that is not installed (extras "search" and "rl").
    """
    chosen = _chosen(solver, n_evaluations)
    started = time.monotonic()
    evaluate = _evaluator(objective, store, chosen.name, seed)
    search = chosen.search(objective, n_evaluations, np.random.default_rng(seed))
    tracker = Tracker(progress, chosen.name, n_evaluations)
    evaluations = explore(search, evaluate, objective.space.key, min(n_evaluations, objective.space.size), tracker)
    return SearchResult(chosen.name, seed, evaluations, time.monotonic() - started)


def explore(
    search: Search[State],
    evaluate: Callable[[State], Evaluation[State]],
    key: Callable[[State], Hashable],
    n_evaluations: int,
    tracker: Tracker | None = None,
) -> tuple[Evaluation[State], ...]:
    """Return the evaluations of the distinct states that a search asks for; what it was told before it is told again.

    Args:
        search: a new search.
        evaluate: gives the evaluation of a state.
        key: equal for equal states only.
        n_evaluations: how many distinct states it may ask for.
        tracker: told of each of them.
    """
    found: dict[Hashable, Evaluation[State]] = {}
    best: Evaluation[State] | None = None
    n_in_a_row = 0
    state = next(search, None)
    while state is not None and n_in_a_row < MAX_IN_A_ROW:
        n_in_a_row += 1
        if (evaluation := found.get(key(state))) is None:
            evaluation = found[key(state)] = evaluate(state)
            n_in_a_row = 0
            best = evaluation if best is None or evaluation.outcome.is_better_than(best.outcome) else best
            if tracker is not None:
                tracker.step(_note(best.outcome))
        if len(found) >= n_evaluations:
            break
        try:
            state = search.send(evaluation.outcome)
        except StopIteration:
            break
    search.close()
    return tuple(found.values())


def _note(best: Outcome) -> str:
    return f"best {best.cost:.6g}" if best.is_feasible else f"nothing within the limits yet, {best.violation:.3g} beyond"


def _chosen(solver: str | BlackBoxSolver, n_evaluations: int) -> BlackBoxSolver:
    problems = []
    if isinstance(solver, str) and solver not in BLACK_BOX_SOLVERS:
        near = difflib.get_close_matches(solver, BLACK_BOX_SOLVERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        problems.append(f"solver must be one of {sorted(BLACK_BOX_SOLVERS)}, not {solver!r}{hint}")
    if n_evaluations < 1:
        problems.append(f"n_evaluations must be at least 1, not {n_evaluations}")
    if problems:
        raise ConfigError(*problems)
    return BLACK_BOX_SOLVERS[solver] if isinstance(solver, str) else solver


def _evaluator(
    objective: Objective, store: str | Path | None, solver: str, seed: int
) -> Callable[[Point], Evaluation[Point]]:
    """Return what evaluates a point, by way of the store where there is one."""
    if store is None:
        return lambda point: Evaluation(point, objective.evaluate(point))
    from silicut.search.trial_store import TrialStore  # deferred: Optuna takes a second to import

    trials = TrialStore(store, objective.name, objective.space)
    return lambda point: trials.evaluated(point, objective.evaluate, {"solver": solver, "seed": seed})
