"""The solvers by name, and what the room may import."""

import subprocess
import sys

import pytest
from search_cases import random_problem

from silicut.records import ConfigError
from silicut.search import SOLVERS, solve


def test_every_solver_solves_and_says_its_name() -> None:
    problem = random_problem(1, frozenset({"tie"}))
    for name in SOLVERS:
        solution = solve(problem, name, time_limit_s=5.0)
        assert solution.solver == name
        assert solution.time_s > 0.0


def test_messages() -> None:
    problem = random_problem(1)
    with pytest.raises(
        ConfigError,
        match=r"^solver must be one of \['coupled', 'descent', 'knapsack', 'lagrangian'\], not 'cuopled'; "
        r"did you mean 'coupled'\?; time_limit_s must be above 0, not 0$",
    ):
        solve(problem, "cuopled", time_limit_s=0)


def test_the_room_does_not_import_torch() -> None:
    code = "import silicut.search, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
