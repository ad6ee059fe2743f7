"""Simulates programs: outputs exact to the bit, time exact to the cycle, and what every part of the machine did."""

from silicut.accelerators.gemm.simulate.bit_true import BitTrue
from silicut.accelerators.gemm.simulate.counters import LayerUse, Roofline, StageCounters
from silicut.accelerators.gemm.simulate.products import Arithmetic, ExactMatmul
from silicut.accelerators.gemm.simulate.simulation import Simulation, simulate
from silicut.accelerators.gemm.simulate.timeline import STAGES, Activity, Timeline, timeline
from silicut.accelerators.gemm.simulate.tracked import Occupancy

__all__ = [
    "STAGES",
    "Activity",
    "Arithmetic",
    "BitTrue",
    "ExactMatmul",
    "LayerUse",
    "Occupancy",
    "Roofline",
    "Simulation",
    "StageCounters",
    "Timeline",
    "simulate",
    "timeline",
]
