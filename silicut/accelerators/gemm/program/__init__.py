"""Programs of the accelerator: instructions for six queues, memory image, address map; file, text and static checks."""

from silicut.accelerators.gemm.program.check import check, problems
from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
from silicut.accelerators.gemm.program.files import load_program, program_bytes, program_hash, read_program, save_program
from silicut.accelerators.gemm.program.instruction_set import INSTRUCTIONS
from silicut.accelerators.gemm.program.memory_instructions import (
    Barrier,
    LoadInstructions,
    LoadLookup,
    LoadResidual,
    LoadRows,
    LoadTable,
    LoadWeights,
    Store,
    Sync,
    resource_of,
)
from silicut.accelerators.gemm.program.places import Slab, TensorPlace, Unrolled, pack_rows, row_words, unpack_rows
from silicut.accelerators.gemm.program.post_instructions import Pool
from silicut.accelerators.gemm.program.program import Layer, Program, Region
from silicut.accelerators.gemm.program.queues import CHANNELS, Channel, Queue, Resource, Unit, channel_of
from silicut.accelerators.gemm.program.reference import instruction_reference
from silicut.accelerators.gemm.program.result_registers import (
    ROUNDINGS,
    SetConstant,
    SetCopy,
    SetLookup,
    SetOutput,
    SetPixels,
    SetRequantise,
    SetResidual,
    SetResidualMap,
    SetResidualSlab,
)
from silicut.accelerators.gemm.program.tables import depthwise_lines, dsp_lines, lookup_words, lut_lines, table_words
from silicut.accelerators.gemm.program.text import assemble, program_text
from silicut.accelerators.gemm.program.tokens import token_problems
from silicut.accelerators.gemm.program.window_instructions import Expand, ExpandColumns, SetKernel, SetMap, SetSlab

__all__ = [
    "CHANNELS",
    "INSTRUCTIONS",
    "ROUNDINGS",
    "Barrier",
    "Channel",
    "Depthwise",
    "Expand",
    "ExpandColumns",
    "Gemm",
    "Layer",
    "LoadInstructions",
    "LoadLookup",
    "LoadResidual",
    "LoadRows",
    "LoadTable",
    "LoadWeights",
    "Pool",
    "Program",
    "Queue",
    "Region",
    "Resource",
    "SetConstant",
    "SetCopy",
    "SetKernel",
    "SetLookup",
    "SetMap",
    "SetOutput",
    "SetPixels",
    "SetProduct",
    "SetRequantise",
    "SetResidual",
    "SetResidualMap",
    "SetResidualSlab",
    "SetSlab",
    "SetTaps",
    "Slab",
    "Store",
    "Sync",
    "TensorPlace",
    "Unit",
    "Unrolled",
    "assemble",
    "channel_of",
    "check",
    "depthwise_lines",
    "dsp_lines",
    "instruction_reference",
    "load_program",
    "lookup_words",
    "lut_lines",
    "pack_rows",
    "problems",
    "program_bytes",
    "program_hash",
    "program_text",
    "read_program",
    "resource_of",
    "row_words",
    "save_program",
    "table_words",
    "token_problems",
    "unpack_rows",
]
