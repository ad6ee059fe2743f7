"""Which queue has which instructions, with which numbers."""

from __future__ import annotations

from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
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
)
from silicut.accelerators.gemm.program.post_instructions import Pool
from silicut.accelerators.gemm.program.queues import COMPUTE_SLOTS, MEMORY_SLOTS, POST_SLOTS, WINDOW_SLOTS, Queue
from silicut.accelerators.gemm.program.result_registers import (
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
from silicut.accelerators.gemm.program.window_instructions import Expand, ExpandColumns, SetKernel, SetMap, SetSlab
from silicut.hardware import InstructionSet, QueueFormat

_EVERY = (Barrier, Sync)
_WINDOWS = (SetMap, SetKernel, SetSlab)
_RESULTS = (
    SetPixels,
    SetRequantise,
    SetConstant,
    SetResidual,
    SetResidualMap,
    SetResidualSlab,
    SetLookup,
    SetOutput,
    SetCopy,
)
_LOADS = (LoadRows, LoadResidual, LoadWeights, LoadTable, LoadLookup, LoadInstructions)
_PRODUCTS = (SetProduct, Gemm)

INSTRUCTIONS = InstructionSet(
    (
        QueueFormat(Queue.MEMORY, MEMORY_SLOTS, MEMORY_SLOTS, (*_EVERY, *_LOADS, Store)),
        QueueFormat(Queue.LUT_WINDOW, WINDOW_SLOTS, WINDOW_SLOTS, (*_EVERY, *_WINDOWS, Expand)),
        QueueFormat(Queue.LUT_COMPUTE, COMPUTE_SLOTS, COMPUTE_SLOTS, (*_EVERY, *_RESULTS, *_PRODUCTS)),
        QueueFormat(Queue.DSP_WINDOW, WINDOW_SLOTS, WINDOW_SLOTS, (*_EVERY, *_WINDOWS, Expand, ExpandColumns)),
        QueueFormat(Queue.DSP_COMPUTE, COMPUTE_SLOTS, COMPUTE_SLOTS, (*_EVERY, *_RESULTS, *_PRODUCTS, SetTaps, Depthwise)),
        QueueFormat(Queue.POST, POST_SLOTS, POST_SLOTS, (*_EVERY, *_WINDOWS, *_RESULTS, Pool)),
    )
)
"""The instruction set: 128-bit words for six queues."""
