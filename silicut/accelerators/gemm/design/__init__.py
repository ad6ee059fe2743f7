"""Choosing the build: a grid of builds, the predicted time that is minimised, the search that proves the best of them."""

from silicut.accelerators.gemm.design.exact import Candidate, ExactSearch, branch_and_bound
from silicut.accelerators.gemm.design.problem import DesignProblem
from silicut.accelerators.gemm.design.space import GRID, N3H_SPACE, config_of

__all__ = [
    "GRID",
    "N3H_SPACE",
    "Candidate",
    "DesignProblem",
    "ExactSearch",
    "branch_and_bound",
    "config_of",
]
