"""Designs as Verilog, for the tools of others."""

from __future__ import annotations

from typing import Any

from silicut.hardware.rtl.rtlil import rtlil_text
from silicut.hardware.rtl.tools import run_yosys


def verilog_text(component: Any, name: str = "top") -> str:
    """Return a component as Verilog, equal modules only once.

    Args:
        component: an Amaranth `Component`.
        name: of the top module.

    Raises:
        ToolMissing: Yosys is not installed.
        BuildFailed: it refused the design.
    """
    design = rtlil_text(component, name)
    passes = ("proc -nomux -norom", "memory_collect", "attrmap -remove top", "write_verilog -norename")
    return run_yosys("\n".join([f"read_rtlil <<rtlil\n{design}\nrtlil", *passes, ""]))
