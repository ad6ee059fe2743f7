"""Fields of instructions as structures of hardware, from the same definitions as encoding and text."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data

from silicut.hardware import BitField, Instruction, fields_of


def register_layout(kind: type[Instruction]) -> data.StructLayout:
    """Return the fields of an instruction, in their order: what its registers hold, and the payload of its word."""
    return fields_layout(fields_of(kind))


def fields_layout(fields: tuple[BitField, ...]) -> data.StructLayout:
    """Return bit fields as a structure."""
    members: dict[str, Any] = {field.name: Shape(field.bits, signed=field.is_signed) for field in fields}
    return data.StructLayout(members)
