"""Planes on their diagonals and packed slices give the sums of plain matrix products."""

import dataclasses

import numpy as np
import pytest
from hand_made_programs import convolution_program
from random_layers import random_convolution, random_numbers, random_steps

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.program import Queue, SetProduct, Unit
from silicut.accelerators.gemm.simulate import BitTrue, ExactMatmul, simulate
from silicut.accelerators.gemm.simulate.bit_true import diagonal_sums, packed_sums
from silicut.numerics import DSP_PACKINGS, IntegerFormat


@pytest.mark.parametrize("lhs_bits", range(1, 9))
@pytest.mark.parametrize("rhs_bits", range(1, 9))
def test_diagonals_of_all_formats(lhs_bits, rhs_bits):
    rng = np.random.default_rng([lhs_bits, rhs_bits])
    for lhs_signed in (0, 1):
        for rhs_signed in (0, 1):
            product = SetProduct(
                queue=Queue.LUT_COMPUTE,
                n_words=2,
                lhs_bits=lhs_bits,
                rhs_bits=rhs_bits,
                lhs_signed=lhs_signed,
                rhs_signed=rhs_signed,
            )
            left_format, right_format = IntegerFormat(lhs_bits, bool(lhs_signed)), IntegerFormat(rhs_bits, bool(rhs_signed))
            left, right = (random_numbers(rng, f, (3, 64)).astype(np.int16) for f in (left_format, right_format))
            left[0], right[0] = left_format.min, right_format.min  # the largest magnitudes
            expected = left.astype(np.int64) @ right.T.astype(np.int64)
            np.testing.assert_array_equal(diagonal_sums(left, right, product, word_bits=32), expected)
            np.testing.assert_array_equal(ExactMatmul().lut(left, right, product), expected)


@pytest.mark.parametrize("name", DSP_PACKINGS)
def test_every_packing(name):
    packing, rng = DSP_PACKINGS[name], np.random.default_rng(1)
    n_word = 4 if packing.activation_format.bits == 8 else 8
    left = random_numbers(rng, packing.activation_format, (3, 12 * n_word)).astype(np.int16)
    right = random_numbers(rng, packing.weight_format, (5, 12 * n_word)).astype(np.int16)
    left[0], right[0], right[1] = packing.activation_format.min, packing.weight_format.min, packing.weight_format.max
    expected = left.astype(np.int64) @ right.T.astype(np.int64)
    np.testing.assert_array_equal(packed_sums(left, right, packing, n_word), expected)


@pytest.mark.parametrize("unit", [Unit.LUT, Unit.DSP])
@pytest.mark.parametrize("seed", range(4))
def test_whole_programs_bit_by_bit(unit, seed):
    rng = np.random.default_rng([unit, seed])
    conv = random_convolution(rng, unit, (3, 4, 4), kernel=(2, 2), n_out=4)
    conv = dataclasses.replace(conv, dilation=(1, 1))
    image = random_numbers(rng, conv.input_format, (3, 4, 4))
    sums = conv.run(image[None])
    steps = random_steps(rng, 4, sums)
    program = convolution_program(conv, steps, unit, (3, 4, 4))
    for packing in ("int4_dot_10", "int4_outer_9", "int4_quad_e2"):
        arithmetic = BitTrue(TINY.lut.word_bits, TINY.dsp.n_inputs, packing_4bit=packing)
        result = simulate(program, {"x": image}, arithmetic=arithmetic).tensor("y")
        np.testing.assert_array_equal(result, steps.run(sums)[0][0])
