"""Exchange of integer networks: ONNX files of Q/DQ pairs, which runtimes execute, and QONNX, which FPGA tools read.

Each reader keeps the rounding mode that it found with the operator; `roundings` states them.
"""

from __future__ import annotations

from silicut.numerics.execute import IntegerExecutor
from silicut.numerics.onnx.qdq_reader import from_qdq, stored_quantisations
from silicut.numerics.onnx.qdq_writer import stored_tensors, to_qdq
from silicut.numerics.onnx.qonnx_reader import from_qonnx, is_qonnx
from silicut.numerics.onnx.qonnx_writer import to_qonnx
from silicut.numerics.onnx.reader import ReadOptions
from silicut.numerics.onnx.steps import plain_name
from silicut.numerics.operators import Add, Requantise
from silicut.numerics.quantised import QuantisedNetwork
from silicut.numerics.rounding import Rounding

__all__ = [
    "ReadOptions",
    "from_qdq",
    "from_qonnx",
    "is_qonnx",
    "plain_name",
    "roundings",
    "stored_quantisations",
    "stored_tensors",
    "to_qdq",
    "to_qonnx",
]


def roundings(quantised: QuantisedNetwork) -> dict[Rounding, tuple[str, ...]]:
    """Return the rounding modes that a network has, each with the names of the operators that round so."""
    found: dict[Rounding, tuple[str, ...]] = {}
    for name, operator in IntegerExecutor(quantised.network).operators.items():
        if isinstance(operator, Requantise | Add):
            found[operator.rounding] = (*found.get(operator.rounding, ()), name)
    return found
