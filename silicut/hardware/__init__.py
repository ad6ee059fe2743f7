"""What all accelerators share: bit fields, instruction sets of queues and tokens."""

from silicut.hardware.fields import BitField, Layout, bit_fields, signed, unsigned
from silicut.hardware.instructions import (
    MAX_WAIT,
    WORD_BITS,
    Instruction,
    InstructionSet,
    QueueFormat,
    documentation,
    fields_of,
    from_text,
    to_text,
)

__all__ = [
    "MAX_WAIT",
    "WORD_BITS",
    "BitField",
    "Instruction",
    "InstructionSet",
    "Layout",
    "QueueFormat",
    "bit_fields",
    "documentation",
    "fields_of",
    "from_text",
    "signed",
    "to_text",
    "unsigned",
]
