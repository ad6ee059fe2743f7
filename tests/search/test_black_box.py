"""All black-box solvers on an objective whose optimum is known, and what they promise."""

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from black_box_cases import AREA, Arrays, arrays, least_cost

from silicut.records import ConfigError, ToolMissing
from silicut.search import (
    BLACK_BOX_SOLVERS,
    Annealing,
    Ddpg,
    Evaluation,
    Evolution,
    Outcome,
    Parameter,
    Space,
    Tabu,
    Tpe,
    explore,
    minimise,
)

NEEDS = {"ddpg": "stable_baselines3", "evolution": "optuna", "tpe": "optuna"}
ENOUGH = {
    "annealing": (600, 1.02),
    "tabu": (600, 1.01),
    "evolution": (300, 1.05),
    "tpe": (150, 1.05),
    "random": (1500, 1.03),
}


def solvers(names=BLACK_BOX_SOLVERS):
    """Return the solvers as parameters, those whose packages are missing marked to be skipped."""
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None, reason=f"needs {NEEDS.get(name)}"
            ),
        )
        for name in names
    ]


@pytest.mark.parametrize("solver", solvers(ENOUGH))
def test_with_enough_evaluations_every_solver_comes_near_the_optimum(solver):
    n_evaluations, factor = ENOUGH[solver]
    result = minimise(arrays(), solver, n_evaluations, seed=1)
    assert least_cost() <= result.best.outcome.cost <= factor * least_cost()
    assert result.n_evaluations == n_evaluations


@pytest.mark.parametrize("solver", solvers())
def test_what_a_result_says_is_true(solver):
    objective = arrays()
    result = minimise(objective, solver, 40, seed=3)
    assert result.solver == solver
    assert len({objective.space.key(e.point) for e in result.evaluations}) == result.n_evaluations <= 40
    for evaluation in result.evaluations:
        objective.space.check(evaluation.point)
        assert evaluation.outcome == objective.evaluate(evaluation.point)
    broken = [e.outcome for e in result.evaluations if not e.outcome.is_feasible]
    assert result.n_infeasible == len(broken) > 0
    assert all(re.fullmatch(rf"\d+ cells are used, the part has {AREA}", *outcome.reasons) for outcome in broken)
    assert all(n < m and cost > less for (n, cost), (m, less) in pairwise(result.curve))
    assert result.curve[-1][1] == result.best.outcome.cost
    assert result.n_known == 0


@pytest.mark.parametrize("solver", solvers())
def test_the_seed_alone_says_what_is_tried_and_a_longer_search_begins_like_a_shorter(solver):
    long, short, other = (minimise(arrays(), solver, n, seed) for n, seed in ((45, 5), (30, 5), (30, 6)))
    if solver == "ddpg":  # repeated episodes count as episodes
        assert long.evaluations[: short.n_evaluations] == short.evaluations
    else:
        assert long.evaluations[:30] == short.evaluations
    assert short.evaluations != other.evaluations


@pytest.mark.parametrize("solver", solvers(sorted(set(BLACK_BOX_SOLVERS) - {"ddpg"})))
def test_a_search_ends_where_there_is_nothing_new(solver):
    class Tiny:
        name = "tiny"
        space = Space((Parameter("a", (1, 2)), Parameter("b", (1, 2, 3))))

        def evaluate(self, point):
            return Outcome(float(point["a"] * point["b"]))

    result = minimise(Tiny(), solver, 600)
    assert result.n_evaluations <= 6
    assert result.best.point == {"a": 1, "b": 1}


@pytest.mark.parametrize("solver", solvers())
def test_where_nothing_fits_the_least_broken_point_is_the_answer(solver):
    class Hopeless:
        name = "hopeless"
        space = Space((Parameter("a", tuple(range(6))), Parameter("b", tuple(range(6)))))

        def evaluate(self, point):
            return Outcome(np.inf, 1.0 + point["a"] + point["b"], ("never",))

    result = minimise(Hopeless(), solver, 36)
    assert result.curve == ()
    assert result.n_infeasible == result.n_evaluations
    assert result.best.outcome.violation == min(e.outcome.violation for e in result.evaluations) <= 3.0


@pytest.mark.parametrize("solver", solvers())
def test_a_space_of_one_point_is_searched(solver):
    class Single:
        name = "single"
        space = Space((Parameter("a", (1,)),))

        def evaluate(self, _point):
            return Outcome(1.0)

    assert minimise(Single(), solver, 10).n_evaluations == 1


def test_explore_tells_again_what_it_was_told_and_stops_a_search_that_only_repeats():
    told = []

    def search():
        for state in "abacb":
            told.append((state, (yield state).cost))
        while True:
            yield "a"

    calls = Counter()

    def evaluate(state):
        calls[state] += 1
        return Evaluation(state, Outcome(float(ord(state))))

    evaluations = explore(search(), evaluate, str, 10)
    assert [e.point for e in evaluations] == ["a", "b", "c"]
    assert set(calls.values()) == {1}
    assert told == [(state, float(ord(state))) for state in "abacb"]


def test_explore_never_asks_for_more_than_was_allowed():
    evaluations = explore((state for state in range(100)), lambda s: Evaluation(s, Outcome(-float(s))), int, 7)
    assert [e.point for e in evaluations] == list(range(7))


def test_progress_is_told():
    events = []
    minimise(arrays(), "random", 5, progress=events.append)
    assert [event.n_done for event in events] == [0, 1, 2, 3, 4, 5]
    assert {event.stage for event in events} == {"random"}
    assert re.fullmatch(r"best [\d.]+|nothing within the limits yet, [\d.]+ beyond", events[-1].note)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: minimise(arrays(), "anealing", 0),
            "solver must be one of ['annealing', 'ddpg', 'evolution', 'random', 'tabu', 'tpe'], not 'anealing'; did you "
            "mean 'annealing'?; n_evaluations must be at least 1, not 0",
        ),
        (
            lambda: Annealing(cooling=1.0, penalty=-1.0, n_probes=0),
            "cooling must be above 0 and below 1, not 1.0; penalty must be at least 0, not -1.0; n_probes must be at least "
            "1, not 0",
        ),
        (
            lambda: Tabu(n_candidates=0, tenure=0, patience=0),
            "n_candidates must be at least 1, not 0; tenure must be at least 1, not 0; patience must be at least 1, not 0",
        ),
        (
            lambda: Evolution(population_size=1, crossover_frac=2),
            "population_size must be at least 2, not 1; crossover_frac must be 0..1, not 2",
        ),
        (lambda: Tpe(n_startup=0), "n_startup must be at least 1, not 0"),
        (
            lambda: Ddpg(noise=0.0, noise_decay=1.5),
            "noise must be above 0, not 0.0; noise_decay must be at most 1, not 1.5",
        ),
    ],
)
def test_messages(make, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("solver", "module", "message"),
    [
        ("tpe", "optuna", "optuna is not installed; install it with: pip install 'silicut[search]'"),
        ("evolution", "optuna", "optuna is not installed; install it with: pip install 'silicut[search]'"),
        (
            "ddpg",
            "stable_baselines3",
            "stable-baselines3 or gymnasium is not installed; install it with: pip install 'silicut[rl]'",
        ),
        (
            "ddpg",
            "gymnasium",
            "stable-baselines3 or gymnasium is not installed; install it with: pip install 'silicut[rl]'",
        ),
    ],
)
def test_what_is_missing_is_named_with_the_next_step(solver, module, message, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "silicut.search.agent", raising=False)
    with pytest.raises(ToolMissing, match=f"^{re.escape(message)}$"):
        minimise(arrays(), solver, 3)


def test_what_no_search_needs_is_not_imported():
    code = (
        "import sys, silicut.search as s; from black_box_cases import arrays; s.minimise(arrays(), 'annealing', 20); "
        "s.minimise(arrays(), 'tabu', 20); print(*{'optuna', 'gymnasium', 'stable_baselines3', 'torch'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=__file__.rpartition("/")[0], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "\n"


def test_walks_over_other_states_than_points():
    class Permutations:
        """Orders of ten numbers; swapping two is a move."""

        def start(self, rng):
            return tuple(rng.permutation(10).tolist())

        def neighbours(self, state, rng, n):
            near = []
            for _ in range(n):
                i, j = rng.choice(10, size=2, replace=False)
                moved = list(state)
                moved[i], moved[j] = moved[j], moved[i]
                near.append((frozenset((int(i), int(j))), tuple(moved)))
            return near

        def key(self, state):
            return state

    def evaluate(state):
        ends = int(state[0] == 9)  # a limit: the greatest number may not stand first
        cost = float(sum(abs(a - b) for a, b in pairwise(state)))
        return Evaluation(state, Outcome(cost, 1.0, ("9 stands first",)) if ends else Outcome(cost))

    from silicut.search import annealing, tabu

    walks = Permutations()
    for search in (
        annealing(walks, Annealing(cooling=0.997), np.random.default_rng(0)),
        tabu(walks, Tabu(), np.random.default_rng(0)),
    ):
        evaluations = explore(search, evaluate, walks.key, 3000)
        best = min(evaluations, key=lambda e: e.outcome.rank)
        assert best.outcome.cost <= 11.0  # 9, for the numbers in order, is least
        assert best.point[0] != 9


def test_the_cases_hold_what_the_tests_rely_on():
    objective = arrays()
    assert isinstance(objective, Arrays)
    everything = [
        objective.evaluate(objective.space.at([a, b, c, d, 1]))
        for a in range(6)
        for b in range(6)
        for c in range(6)
        for d in range(6)
    ]
    assert min(o.cost for o in everything if o.is_feasible) == least_cost()
