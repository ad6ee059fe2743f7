"""Choosing levels under budgets: the problem, what fills its cost tables, and the solvers.

No solver sees a network; values and costs are tables over one to three variables (`silicut.search.problem`). Where there are
no tables, only a function of points in a space, `minimise` searches it as a black box.
"""

from silicut.search.annealing import Annealing, annealing
from silicut.search.black_box import BLACK_BOX_SOLVERS, BlackBoxSolver, SearchResult, explore, minimise
from silicut.search.cheapest import cheapest, cheapest_better
from silicut.search.hull import Hull, HullPoint, hull
from silicut.search.neighbourhood import Neighbourhood
from silicut.search.optuna_samplers import Evolution, Tpe
from silicut.search.outcome import Described, Evaluation, Objective, Outcome, Search
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
from silicut.search.random_points import RandomPoints
from silicut.search.reinforcement import Ddpg
from silicut.search.simplify import drop_dominated, merge_tables, simplify
from silicut.search.solution import Solution
from silicut.search.solvers import SOLVERS, solve
from silicut.search.space import Level, Parameter, Point, Space
from silicut.search.tabu import Tabu, tabu
from silicut.search.trial_store import TrialStore

__all__ = [
    "BLACK_BOX_SOLVERS",
    "SOLVERS",
    "Annealing",
    "BlackBoxSolver",
    "Cost",
    "CostSource",
    "Ddpg",
    "Described",
    "Evaluation",
    "Evolution",
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
    "RandomPoints",
    "Search",
    "SearchResult",
    "Solution",
    "Space",
    "SumVariable",
    "Table",
    "Tabu",
    "Tpe",
    "TrialStore",
    "Variable",
    "annealing",
    "cheapest",
    "cheapest_better",
    "dense_levels",
    "drop_dominated",
    "evaluate",
    "explore",
    "fits",
    "hull",
    "merge_tables",
    "minimise",
    "pareto_front",
    "reachable_sums",
    "simplify",
    "solve",
    "tabu",
]
