"""From integer networks to programs of the GEMM accelerator."""

from silicut.accelerators.gemm.compile.compiler import Compiled, CompileOptions, compile_network
from silicut.accelerators.gemm.compile.fused import Assignment, Where
from silicut.accelerators.gemm.compile.partition import Partition, partition

__all__ = ["Assignment", "CompileOptions", "Compiled", "Partition", "Where", "compile_network", "partition"]
