"""Where tensors lie: planes of granules in slabs, there and back, and what weights and tables look like."""

import numpy as np
import pytest

from silicut.accelerators.gemm.program import (
    Slab,
    TensorPlace,
    Unrolled,
    depthwise_lines,
    dsp_lines,
    lut_lines,
    pack_rows,
    row_words,
    table_words,
    unpack_rows,
)
from silicut.accelerators.gemm.program.tables import table_entries
from silicut.numerics import IntegerFormat, pack_planes


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("is_signed", [False, True])
def test_rows_are_granules_of_planes(bits, is_signed):
    rng, format = np.random.default_rng(bits), IntegerFormat(bits, is_signed)
    rows = rng.integers(format.min, format.max + 1, (3, 150)).astype(format.dtype)
    words = pack_rows(rows, bits)
    assert words.shape == (3, row_words(150, bits))
    planes = pack_planes(rows, format)  # the definition of planes: (bits, rows, words)
    assert (words.reshape(3, -1, bits).transpose(2, 0, 1) == planes).all()
    back = unpack_rows(words, bits, is_signed)
    assert (back[:, :150] == rows).all()
    assert not back[:, 150:].any()


def test_an_element_is_one_bit_of_each_word_of_its_granule():
    rows = np.zeros((1, 130), np.uint8)
    rows[0, 64 + 5] = 0b101
    words = pack_rows(rows, 3)[0]
    assert words.tolist() == [0, 0, 0, 1 << 5, 0, 1 << 5, 0, 0, 0]


def test_tensors_come_back_from_slabs_in_any_order():
    rng = np.random.default_rng(0)
    for bits in (1, 3, 8):
        format = IntegerFormat(bits)
        image = rng.integers(format.min, format.max + 1, (11, 4, 5)).astype(format.dtype)
        slabs = (
            Slab(channels=(4, 2, 9), pitch=8, address=7),
            Slab(channels=(0, 1, -1, 3, 5, 6, 7, 8, -1, 10), pitch=16, address=300),
        )
        place = TensorPlace(shape=(11, 4, 5), format=format.name, slabs=slabs)
        memory = np.full(2000, 2**64 - 1, np.uint64)
        parts = place.write(memory, image)
        assert parts == [(7, 4 * bits), (300, 4 * 2 * bits)]
        assert (place.read(memory) == image).all()


def test_unrolled_inputs_hold_the_columns_of_windows():
    image = np.arange(2 * 5 * 3).reshape(2, 5, 3).astype(np.int8)
    packed = Unrolled(n_taps=3, stride=2, pad_top=1, n_rows=3, pad_value=-1).packed(image)
    assert packed.shape == (6, 3, 3)
    for y in range(3):
        for i in range(3):
            row = y * 2 - 1 + i
            for c in range(2):
                expected = image[c, row] if 0 <= row < 5 else [-1] * 3
                assert packed[i * 2 + c, y].tolist() == list(expected)


def test_wrong_images_are_refused():
    place = TensorPlace(shape=(2, 1, 1), format="uint2", slabs=(Slab(channels=(0, 1), pitch=8, address=0),))
    memory = np.zeros(8, np.uint64)
    with pytest.raises(ValueError, match=r"image must have shape \(2, 1, 1\), not \(1, 1, 1\)"):
        place.write(memory, np.zeros((1, 1, 1), np.uint8))
    with pytest.raises(ValueError, match=r"image must hold uint2 \(0..3\), not numbers of 0..4"):
        place.write(memory, np.array([0, 4]).reshape(2, 1, 1))
    with pytest.raises(TypeError, match="image must hold integers, not float64"):
        place.write(memory, np.zeros((2, 1, 1)))
    with pytest.raises(ValueError, match=r"memory must hold words 0..1, not 1"):
        place.read(np.zeros(1, np.uint64))


def test_tables_come_back():
    rng = np.random.default_rng(3)
    bias = rng.integers(-(2**31), 2**31, 50)
    multiplier, shift = rng.integers(0, 2**24, 50), rng.integers(0, 63, 50)
    made = table_entries(table_words(bias, multiplier, shift))
    assert all((a == b).all() for a, b in zip(made, (bias, multiplier, shift), strict=True))
    assert (table_words(bias, multiplier, shift) == table_words(bias + 2**32, multiplier, shift)).all()
    with pytest.raises(ValueError, match=r"multipliers must be 0..16777215, not 16777216..16777216"):
        table_words(np.array([0]), np.array([2**24]), np.array([0]))
    with pytest.raises(ValueError, match=r"shifts must be 0..62, not 63..63"):
        table_words(np.array([0]), np.array([1]), np.array([63]))


def bit(lines, line, i):
    return int(lines[line, i // 64]) >> (i % 64) & 1


def test_lines_of_the_lut_core():
    weights = np.random.default_rng(1).integers(-4, 4, (3, 70))
    lines = lut_lines(weights, IntegerFormat(3), word_bits=32)
    assert lines.shape == (3 * 3, 2)  # 3 planes x 3 words; 3 banks x 32 bits fill 2 words
    for bank in range(3):
        for i in range(96):
            for plane in range(3):
                value = int(weights[bank, i]) >> plane & 1 if i < 70 else 0
                assert bit(lines, plane * 3 + i // 32, bank * 32 + i % 32) == value


@pytest.mark.parametrize("bits", [4, 8])
def test_lines_of_the_dsp_core(bits):
    n_inputs, n_passes, n_banks = 4, 2, 3
    weights = np.random.default_rng(1).integers(-(1 << bits - 1), 1 << bits - 1, (6, 21))
    lines, per_word = dsp_lines(weights, bits, n_inputs, n_passes), n_inputs * 8 // bits
    for filter in range(6):
        turn, bank = divmod(filter, n_banks)
        for i in range(21):
            first = bank * n_inputs * 8 + i % per_word * bits
            raw = sum(bit(lines, i // per_word * n_passes + turn, first + b) << b for b in range(bits))
            assert raw == int(weights[filter, i]) & ((1 << bits) - 1)


def test_lines_of_a_depthwise_block():
    weights = np.random.default_rng(1).integers(-8, 8, (5, 2, 3))
    lines = depthwise_lines(weights, element_bits=4, n_inputs=4, n_columns=2)
    assert lines.shape == (2 * 2, 1)  # taps 0 and 1, then tap 2; 2 rows each
    for c in range(5):
        for ky in range(2):
            for kx in range(3):
                turn, bank = divmod(kx, 2)
                raw = sum(bit(lines, turn * 2 + ky, bank * 32 + c * 4 + b) << b for b in range(4))
                assert raw == int(weights[c, ky, kx]) & 15
