"""Choosing levels under budgets: the problem, what fills its cost tables, and the solvers.

No solver sees a network; values and costs are tables over one to three variables (`silicut.search.problem`).
"""

from silicut.search.cheapest import cheapest, cheapest_better
from silicut.search.hull import Hull, HullPoint, hull
from silicut.search.neighbourhood import Neighbourhood
from silicut.search.outcome import Objective, Outcome, Search
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
from silicut.search.space import Level, Parameter, Point, Space

__all__ = [
    "SOLVERS",
    "Cost",
    "CostSource",
    "Front",
    "Hull",
    "HullPoint",
    "Level",
    "Neighbourhood",
    "Objective",
    "Outcome",
    "Parameter",
    "Point",
    "Problem",
    "Pruning",
    "Search",
    "Solution",
    "Space",
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
