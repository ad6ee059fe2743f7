"""What all accelerators share: bit fields, instruction sets of queues and tokens."""

from silicut.hardware.fields import BitField, Layout, bit_fields, signed, unsigned
from silicut.hardware.instructions import (
    MAX_WAIT,
    OPCODE_BITS,
    WAIT_BITS,
    WORD_BITS,
    Instruction,
    InstructionSet,
    QueueFormat,
    documentation,
    fields_of,
    from_text,
    to_text,
)
from silicut.hardware.memory import MemoryClock
from silicut.hardware.tokens import Starved, Step, starved

__all__ = [
    "MAX_WAIT",
    "OPCODE_BITS",
    "WAIT_BITS",
    "WORD_BITS",
    "BitField",
    "Instruction",
    "InstructionSet",
    "Layout",
    "MemoryClock",
    "QueueFormat",
    "Starved",
    "Step",
    "bit_fields",
    "documentation",
    "fields_of",
    "from_text",
    "signed",
    "starved",
    "to_text",
    "unsigned",
]
