"""Bit fields: packing and unpacking are inverse, and every wrong value is named."""

import re

import pytest

from silicut.hardware import BitField, Layout
from silicut.records import ConfigError

LAYOUT = Layout((BitField("a", 3), BitField("b", 5, is_signed=True), BitField("c", 1)), word_bits=16)


def test_fields_lie_one_above_the_other():
    assert [(field.name, low) for field, low in LAYOUT.placed] == [("a", 0), ("b", 3), ("c", 8)]
    assert LAYOUT.pack({"a": 7, "b": -1, "c": 0}) == 0b0_11111_111
    assert LAYOUT.pack({"a": 0, "b": -16, "c": 1}) == 0b1_10000_000


def test_every_word_comes_back():
    for a in range(8):
        for b in range(-16, 16):
            for c in range(2):
                values = {"a": a, "b": b, "c": c}
                assert LAYOUT.unpack(LAYOUT.pack(values)) == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 8, "b": 0, "c": 0}, "a must be 0..7, not 8"),
        ({"a": -1, "b": 16, "c": 0}, "a must be 0..7, not -1; b must be -16..15, not 16"),
    ],
)
def test_values_out_of_range_are_named(values, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LAYOUT.pack(values)


def test_bits_above_the_last_field_are_refused():
    with pytest.raises(ValueError, match="bits from 9 up must be 0, not 0x1"):
        LAYOUT.unpack(1 << 9)


def test_a_layout_must_fit_its_word():
    with pytest.raises(ConfigError, match="fields a, b must fit 8 bits, not need 9"):
        Layout((BitField("a", 4), BitField("b", 5)), word_bits=8)
    with pytest.raises(ConfigError, match="names of fields must differ, not be a, a"):
        Layout((BitField("a", 4), BitField("a", 4)), word_bits=8)
