"""How each kind of operator is written in ONNX: one rule a kind, one table; families lie in modules of their own."""

from __future__ import annotations

from silicut.graph.onnx_rules import attention, elementwise, layers, norms, shapes
from silicut.graph.onnx_rules.rule import Rule

RULES: dict[str, Rule] = {**elementwise.RULES, **layers.RULES, **shapes.RULES, **norms.RULES, **attention.RULES}

# Operators whose operands and results may be of different number types.
MIXED = frozenset("index embedding scaled_dot_product_attention eq gt ge lt le where masked_fill to".split())
