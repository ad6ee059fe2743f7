"""The arithmetic of the cores: exact sums of products, by the fastest way that cannot round."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
from silicut.accelerators.gemm.program.queues import Unit
from silicut.accelerators.gemm.simulate.machine import Machine, Sums
from silicut.accelerators.gemm.simulate.moves import Interval
from silicut.accelerators.gemm.simulate.operands import Numbers, depthwise_operands, dsp_operands, lut_operands
from silicut.numerics import exact_matmul_type


class Arithmetic(Protocol):
    """How the arrays of a core multiply; all ways give the same sums."""

    def lut(self, left: Numbers, right: Numbers, product: SetProduct) -> Sums:
        """Return left @ right.T as the LUT core makes it.

        Args:
            left: activations, array (pixels, k).
            right: weights, array (filters, k).
            product: their formats.
        """
        ...

    def dsp(self, left: Numbers, right: Numbers, product: SetProduct) -> Sums:
        """Return left @ right.T as the DSP core makes it."""
        ...


class ExactMatmul:
    """Matrix products in floating point where no partial sum can exceed the mantissa, else in int64."""

    def lut(self, left: Numbers, right: Numbers, product: SetProduct) -> Sums:
        """Return left @ right.T."""
        return _matmul(left, right, product)

    def dsp(self, left: Numbers, right: Numbers, product: SetProduct) -> Sums:
        """Return left @ right.T."""
        return _matmul(left, right, product)


def _matmul(left: Numbers, right: Numbers, product: SetProduct) -> Sums:
    largest = left.shape[1] << product.lhs_bits + product.rhs_bits
    number: Any = exact_matmul_type(largest)
    sums: Sums = (left.astype(number) @ right.astype(number).T).astype(np.int64)
    return sums


def wrapped(sums: NDArray[np.int64]) -> Sums:
    """Return sums as the 32 bits of an accumulator hold them."""
    return sums.astype(np.int32).astype(np.int64)


def gemm(
    instruction: Gemm, product: SetProduct, unit: Unit, machine: Machine, arithmetic: Arithmetic, when: Interval
) -> Sums | None:
    """Return finished sums, array (pixels, filters), or None while further parts are to come.

    Raises:
        Fault: a word of the banks was never written.
    """
    core = machine.cores[unit]
    if unit is Unit.LUT:
        sums = arithmetic.lut(*lut_operands(instruction, product, core, when), product)
    else:
        sums = arithmetic.dsp(*dsp_operands(instruction, product, core, when), product)
    if not instruction.is_first and core.open_sum is not None:
        sums = sums + core.open_sum
    core.open_sum = None if instruction.is_last else wrapped(sums)
    return wrapped(sums) if instruction.is_last else None


def depthwise(instruction: Depthwise, taps: SetTaps, machine: Machine, when: Interval) -> Sums:
    """Return sums, array (rows * columns, channels).

    Raises:
        Fault: a word of the banks was never written.
    """
    columns, weights = depthwise_operands(instruction, taps, machine.cores[Unit.DSP], when)
    n = instruction.n_columns
    sums = np.zeros((instruction.n_rows, n, instruction.n_channels), np.int64)
    for tap in range(taps.width):
        seen = columns[:, tap : tap + (n - 1) * taps.stride_x + 1 : taps.stride_x]
        sums += (seen.astype(np.int32) * weights[None, None, :, tap]).sum(axis=2)
    return wrapped(sums.reshape(-1, instruction.n_channels))
