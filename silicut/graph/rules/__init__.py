"""How channels flow through each kind of operator: one rule a kind, one table.

A rule is a function of the tracker and the operator (`silicut.graph.tracker.Rule`). A kind that is missing here is not
pruned through; it is executed exactly and freezes the channels it touches. Families of rules lie in modules of their own;
`arguments` is how they read operators.
"""

from __future__ import annotations

from silicut.graph.rules import attention, elementwise, layers, norms, shapes
from silicut.graph.tracker import Rule

RULES: dict[str, Rule] = {**elementwise.RULES, **layers.RULES, **shapes.RULES, **norms.RULES, **attention.RULES}
