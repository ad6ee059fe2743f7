"""Ways to make layers cheaper: what can be chosen, what each choice is worth, and how a choice is carried out.

What needs PyTorch (`taylor`, `own_class`) is imported from its own module.
"""

from silicut.compress.calibrated import (
    learned,
    random_plans,
    rank_correlation,
    sensitivity,
    sensitivity_plans,
    value_of,
)
from silicut.compress.plan import Plan
from silicut.compress.plan_masks import kept_parts, reader_masks, whole_masks
from silicut.compress.pruning import (
    Restrictions,
    apply_plan,
    independent_blocks,
    kept_channels,
    options,
    pruned,
    removable_blocks,
    removed_by,
    ties,
    value_tables,
)
from silicut.compress.scores import GroupScore, Scores, from_importance, log_energy, sp_lamp
from silicut.compress.sizes import FILE_BYTES, MACS, PARAMETERS, ShapeCost, file_cost, mac_cost, parameter_cost

__all__ = [
    "FILE_BYTES",
    "MACS",
    "PARAMETERS",
    "GroupScore",
    "Plan",
    "Restrictions",
    "Scores",
    "ShapeCost",
    "apply_plan",
    "file_cost",
    "from_importance",
    "independent_blocks",
    "kept_channels",
    "kept_parts",
    "learned",
    "log_energy",
    "mac_cost",
    "options",
    "parameter_cost",
    "pruned",
    "random_plans",
    "rank_correlation",
    "reader_masks",
    "removable_blocks",
    "removed_by",
    "sensitivity",
    "sensitivity_plans",
    "sp_lamp",
    "ties",
    "value_of",
    "value_tables",
    "whole_masks",
]
