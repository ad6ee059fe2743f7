"""Lines that HiGHS prints from C whatever it is told: they go, and everybody else's output stays."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from silicut.search.silence import without_debug_lines

LINE = b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();"


def solve_what_makes_highs_talk():
    """Fixed costs with large factors: what is whole to a tolerance breaks rows, and SciPy 1.17 prints a line for it."""
    rng = np.random.default_rng(155)
    n = rng.integers(5, 25)
    factor = 10 ** rng.uniform(4, 8)
    costs = np.r_[rng.random(n) * 1e-3, rng.random(n) * 10]
    switched = LinearConstraint(np.hstack([np.eye(n), -factor * np.eye(n)]), -np.inf, 0)
    demand = np.hstack([rng.random((2, n)), np.zeros((2, n))])
    integrality = np.r_[rng.integers(0, 2, n), np.ones(n)]
    bounds = Bounds(0, np.r_[np.full(n, np.inf), np.ones(n)])
    constraints = [switched, LinearConstraint(demand, rng.random(2) * 50, np.inf)]
    return milp(costs, integrality=integrality, bounds=bounds, constraints=constraints)


def test_highs_is_silent(capfd):
    with without_debug_lines():
        assert solve_what_makes_highs_talk().success
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.name != "posix", reason="the C library is found by no name")
def test_everything_else_comes_out_in_order(capfd):
    c = ctypes.CDLL(None)
    print("before")
    with without_debug_lines():
        print("one")
        c.puts(LINE)
        c.puts(b"two")
        os.write(1, b"three\n")
        c.puts(LINE)
        os.write(2, b"error\n")
    print("after", flush=True)
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == ["after", "before", "one", "three", "two"]
    assert (out.splitlines()[0], out.splitlines()[-1]) == ("before", "after")
    assert err == "error\n"


def test_output_is_whole_after_an_error(capfd):
    with pytest.raises(ZeroDivisionError), without_debug_lines():
        _ = os.write(1, b"one\n") / 0
    os.write(1, b"two\n")
    assert capfd.readouterr().out == "one\ntwo\n"


def test_nobody_need_listen():
    code = "import os; os.close(1); from silicut.search.silence import without_debug_lines as w\nwith w(): pass\nos._exit(7)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
