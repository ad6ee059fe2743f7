"""The lanes of a unit: neighbouring channels of a pixel in one cycle, under the same registers."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.rtl.post_lane import (
    ENTRY_CYCLES,
    LANE_CYCLES,
    REGISTER_CYCLES,
    STEP_NAMES,
    LookupWrite,
    PostLane,
    ScaleEntry,
)
from silicut.accelerators.gemm.rtl.registers import register_layout
from silicut.accelerators.gemm.rtl.settle import RESULT_BITS
from silicut.accelerators.gemm.rtl.stages import delayed
from silicut.accelerators.gemm.rtl.sum_banks import SUM_BITS


class PostLanes(wiring.Component):
    """n_lanes lanes; all that belongs to a sum comes in with it, but the element that is added comes OTHER_CYCLES later.

    Args:
        n_lanes: sums in a cycle.

    Members:
        is_valid: In, whether there are sums, cycle t.
        sums: In, n_lanes sums of signed 32 bits, cycle t.
        entries: In, n_lanes entries of the scale table, cycle t.
        others: In, n_lanes elements of signed 9 bits, cycle t + OTHER_CYCLES.
        requantise, residual, lookup, copy: In, registers as they are for these sums, cycle t.
        lookup_write: In, LookupWrite, for the tables of all lanes, any cycle.
        is_done: Out, whether there are results, cycle t + LANE_CYCLES.
        results, copies: Out, n_lanes results of signed 9 bits each, cycle t + LANE_CYCLES.
    """

    def __init__(self, n_lanes: int) -> None:
        self._n_lanes = n_lanes
        lanes = {"sums": signed(SUM_BITS), "entries": ScaleEntry, "others": signed(RESULT_BITS)}
        ports = {name: In(data.ArrayLayout(shape, n_lanes)) for name, shape in lanes.items()}
        ports |= {name: In(register_layout(kind)) for kind, name in STEP_NAMES.items()}
        results = Out(data.ArrayLayout(signed(RESULT_BITS), n_lanes))
        ports |= {"is_valid": In(1), "lookup_write": In(LookupWrite), "is_done": Out(1)}
        super().__init__({**ports, "results": results, "copies": results})

    def elaborate(self, platform: Any) -> Module:
        """Delay the registers once for all lanes, the entries for each."""
        m = Module()
        m.d.comb += self.is_done.eq(delayed(m, self.is_valid, LANE_CYCLES))
        fields = {
            (name, field): delayed(m, getattr(self, name)[field], n_cycles)
            for kind, name in STEP_NAMES.items()
            for field, n_cycles in REGISTER_CYCLES[kind].items()
        }
        for number in range(self._n_lanes):
            m.submodules[f"lane{number}"] = lane = PostLane()
            m.d.comb += [lane.sum.eq(self.sums[number]), lane.other.eq(self.others[number])]
            m.d.comb += lane.lookup_write.eq(self.lookup_write)
            for part, n_cycles in ENTRY_CYCLES.items():
                m.d.comb += lane.entry[part].eq(delayed(m, self.entries[number][part], n_cycles))
            for (name, field), value in fields.items():
                m.d.comb += getattr(lane, name)[field].eq(value)
            m.d.comb += [self.results[number].eq(lane.result), self.copies[number].eq(lane.copied)]
        return m
