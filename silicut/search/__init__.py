"""Choosing levels under budgets: the problem, what fills its cost tables, and the solvers.

No solver sees a network; values and costs are tables over one to three variables (`silicut.search.problem`).
"""

from silicut.search.cheapest import cheapest, cheapest_better
from silicut.search.hull import Hull, HullPoint, hull
from silicut.search.pareto import Front, Pruning, pareto_front
from silicut.search.problem import (
    Cost,
    CostSource,
    Problem,
    SumVariable,
    Table,
    Variable,
    dense_levels,
    evaluate,
    fits,
    reachable_sums,
)
from silicut.search.simplify import drop_dominated, merge_tables, simplify
from silicut.search.solution import Solution
from silicut.search.solvers import SOLVERS, solve

__all__ = [
    "SOLVERS",
    "Cost",
    "CostSource",
    "Front",
    "Hull",
    "HullPoint",
    "Problem",
    "Pruning",
    "Solution",
    "SumVariable",
    "Table",
    "Variable",
    "cheapest",
    "cheapest_better",
    "dense_levels",
    "drop_dominated",
    "evaluate",
    "fits",
    "hull",
    "merge_tables",
    "pareto_front",
    "reachable_sums",
    "simplify",
    "solve",
]
