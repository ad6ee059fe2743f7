"""Ways to make layers cheaper: what can be chosen, what each choice is worth, and how a choice is carried out.

What needs PyTorch (`taylor`, `own_class`) is imported from its own module.
"""

from silicut.compress.plan import Plan
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

__all__ = [
    "GroupScore",
    "Plan",
    "Restrictions",
    "Scores",
    "apply_plan",
    "from_importance",
    "independent_blocks",
    "kept_channels",
    "log_energy",
    "options",
    "pruned",
    "removable_blocks",
    "removed_by",
    "sp_lamp",
    "ties",
    "value_tables",
]
