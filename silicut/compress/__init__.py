"""Ways to make layers cheaper: what can be chosen, what each choice is worth, and how a choice is carried out.

Names are loaded on first use, so that a plan of bits can be read without the solvers. What needs PyTorch (`taylor`,
`own_class`) is imported from its own module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from silicut.records.deferred import deferred

if TYPE_CHECKING:
    from silicut.compress.calibrated import learned as learned
    from silicut.compress.calibrated import random_plans as random_plans
    from silicut.compress.calibrated import rank_correlation as rank_correlation
    from silicut.compress.calibrated import sensitivity as sensitivity
    from silicut.compress.calibrated import sensitivity_plans as sensitivity_plans
    from silicut.compress.calibrated import value_of as value_of
    from silicut.compress.plan import Plan as Plan
    from silicut.compress.plan_masks import kept_parts as kept_parts
    from silicut.compress.plan_masks import reader_masks as reader_masks
    from silicut.compress.plan_masks import whole_masks as whole_masks
    from silicut.compress.pruning import Restrictions as Restrictions
    from silicut.compress.pruning import apply_plan as apply_plan
    from silicut.compress.pruning import independent_blocks as independent_blocks
    from silicut.compress.pruning import kept_channels as kept_channels
    from silicut.compress.pruning import options as options
    from silicut.compress.pruning import pruned as pruned
    from silicut.compress.pruning import removable_blocks as removable_blocks
    from silicut.compress.pruning import removed_by as removed_by
    from silicut.compress.pruning import ties as ties
    from silicut.compress.pruning import value_tables as value_tables
    from silicut.compress.scores import GroupScore as GroupScore
    from silicut.compress.scores import Scores as Scores
    from silicut.compress.scores import from_importance as from_importance
    from silicut.compress.scores import log_energy as log_energy
    from silicut.compress.scores import sp_lamp as sp_lamp
    from silicut.compress.sizes import FILE_BYTES as FILE_BYTES
    from silicut.compress.sizes import MACS as MACS
    from silicut.compress.sizes import PARAMETERS as PARAMETERS
    from silicut.compress.sizes import ShapeCost as ShapeCost
    from silicut.compress.sizes import file_cost as file_cost
    from silicut.compress.sizes import mac_cost as mac_cost
    from silicut.compress.sizes import parameter_cost as parameter_cost

_PLACES = {
    "FILE_BYTES": "sizes",
    "MACS": "sizes",
    "PARAMETERS": "sizes",
    "GroupScore": "scores",
    "Plan": "plan",
    "Restrictions": "pruning",
    "Scores": "scores",
    "ShapeCost": "sizes",
    "apply_plan": "pruning",
    "file_cost": "sizes",
    "from_importance": "scores",
    "independent_blocks": "pruning",
    "kept_channels": "pruning",
    "kept_parts": "plan_masks",
    "learned": "calibrated",
    "log_energy": "scores",
    "mac_cost": "sizes",
    "options": "pruning",
    "parameter_cost": "sizes",
    "pruned": "pruning",
    "random_plans": "calibrated",
    "rank_correlation": "calibrated",
    "reader_masks": "plan_masks",
    "removable_blocks": "pruning",
    "removed_by": "pruning",
    "sensitivity": "calibrated",
    "sensitivity_plans": "calibrated",
    "sp_lamp": "scores",
    "ties": "pruning",
    "value_of": "calibrated",
    "value_tables": "pruning",
    "whole_masks": "plan_masks",
}
__all__ = list(_PLACES)

__getattr__ = deferred(__name__, _PLACES)
