"""From a component in Amaranth to a compiled model that runs, and to Verilog.

The heavy packages it needs are those of the extra `rtl`; importing this package without them says so.
"""

from importlib.util import find_spec

from silicut.records import ToolMissing

if find_spec("amaranth") is None:
    raise ToolMissing("amaranth", "rtl")

from silicut.hardware.rtl.assembly import SideBySide
from silicut.hardware.rtl.build import Model, compile_model
from silicut.hardware.rtl.drivers import MemoryDriver, MemoryTiming, Sink, Source, Stalls
from silicut.hardware.rtl.event_simulator import event_simulator
from silicut.hardware.rtl.memory_port import MemoryPort
from silicut.hardware.rtl.ports import Port, ports_of
from silicut.hardware.rtl.rtlil import deduplicated, rtlil_text
from silicut.hardware.rtl.simulation import Simulation
from silicut.hardware.rtl.tools import has_tools
from silicut.hardware.rtl.verilog import verilog_text

__all__ = [
    "MemoryDriver",
    "MemoryPort",
    "MemoryTiming",
    "Model",
    "Port",
    "SideBySide",
    "Simulation",
    "Sink",
    "Source",
    "Stalls",
    "compile_model",
    "deduplicated",
    "event_simulator",
    "has_tools",
    "ports_of",
    "rtlil_text",
    "verilog_text",
]
