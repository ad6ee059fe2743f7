"""What integers mean: formats, rounding, quantisation, requantisation, accumulators, packing, and the integer operators.

Every executor of an integer network (PyTorch, ONNX Runtime, simulators, RTL) is compared with what is defined here.

PyTorch is imported only on first use of `IntegerModule` and `QuantisedModule`.
"""

from typing import TYPE_CHECKING

from silicut.numerics.accumulators import Bounds, check_accumulator, exact_matmul_type, sum_bounds
from silicut.numerics.dsp_packing import DSP_PACKINGS, DspPacking
from silicut.numerics.execute import IntegerExecutor, run_integer
from silicut.numerics.factors import MULTIPLIER_BITS, Factor, encode_factor, encode_factors, encode_together, scaled
from silicut.numerics.formats import IntegerFormat, Integers, signed_bits
from silicut.numerics.operators import (
    ACCUMULATOR,
    OPERATORS,
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerOperator,
    Linear,
    Lookup,
    MaxPool2d,
    Multiply,
    Pad,
    Requantise,
    Reshape,
    Slice,
    SumPool2d,
    Transpose,
)
from silicut.numerics.planes import bit_serial_matmul, pack_planes, plane_weights, unpack_planes
from silicut.numerics.quantisation import Quantisation, dequantise, quantise
from silicut.numerics.quantised import QuantisedNetwork
from silicut.numerics.quantised_files import load_quantised, save_quantised
from silicut.numerics.rounding import MAX_SHIFT, Overflow, Rounding, fit, round_floats, shift_right
from silicut.numerics.schema import from_network_operator, to_network_operator
from silicut.records.deferred import deferred

if TYPE_CHECKING:
    from silicut.numerics.torch_module import IntegerModule, QuantisedModule

__all__ = [
    "ACCUMULATOR",
    "DSP_PACKINGS",
    "MAX_SHIFT",
    "MULTIPLIER_BITS",
    "OPERATORS",
    "Add",
    "Bounds",
    "Clamp",
    "Concatenate",
    "Convolution2d",
    "DspPacking",
    "Factor",
    "IntegerExecutor",
    "IntegerFormat",
    "IntegerModule",
    "IntegerOperator",
    "Integers",
    "Linear",
    "Lookup",
    "MaxPool2d",
    "Multiply",
    "Overflow",
    "Pad",
    "Quantisation",
    "QuantisedModule",
    "QuantisedNetwork",
    "Requantise",
    "Reshape",
    "Rounding",
    "Slice",
    "SumPool2d",
    "Transpose",
    "bit_serial_matmul",
    "check_accumulator",
    "dequantise",
    "encode_factor",
    "encode_factors",
    "encode_together",
    "exact_matmul_type",
    "fit",
    "from_network_operator",
    "load_quantised",
    "pack_planes",
    "plane_weights",
    "quantise",
    "round_floats",
    "run_integer",
    "save_quantised",
    "scaled",
    "shift_right",
    "signed_bits",
    "sum_bounds",
    "to_network_operator",
    "unpack_planes",
]

__getattr__ = deferred(__name__, dict.fromkeys(("IntegerModule", "QuantisedModule"), "torch_module"))
