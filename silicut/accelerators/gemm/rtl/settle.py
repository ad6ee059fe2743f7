"""From a product to a number of a format: shift right, round, add the zero point, saturate."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from silicut.accelerators.gemm.program.result_registers import ROUNDINGS
from silicut.accelerators.gemm.rtl.stages import registered, wired
from silicut.numerics import Rounding

RESULT_BITS = 9
SHIFT_BITS, ROUNDING_BITS = 6, 3
_COARSE = 16  # shifts by multiples of it in the first stage, by less in the second
_WHOLE_BITS = 11  # a larger magnitude saturates, whatever the zero point

Limits = data.StructLayout({name: signed(RESULT_BITS) for name in ("zero_point", "low", "high")})
"""What is added last, and the smallest and largest result."""


class Settle(wiring.Component):
    """saturate(round(value / 2^shift) + zero_point, low, high), a number a cycle, exact for every value and shift.

    The number is shifted with one more bit below, the first one behind the point; of the bits below that it is kept whether
    any is set, and of those above 11 whether any differs from the sign.

    Args:
        value_bits: width of a value.

    Members:
        value: In, signed, cycle t.
        shift: In, 0..62, cycle t.
        rounding: In, number of a mode in ROUNDINGS, cycle t + 1.
        limits: In, Limits, low at most high, cycle t + 2.
        result: Out, signed 9 bits, cycle t + 3.
    """

    def __init__(self, value_bits: int) -> None:
        inputs = {"value": In(signed(value_bits)), "shift": In(SHIFT_BITS), "rounding": In(ROUNDING_BITS)}
        super().__init__({**inputs, "limits": In(Limits), "result": Out(signed(RESULT_BITS))})

    def elaborate(self, platform: Any) -> Module:
        """Shift by 16s, shift by ones and decide, add and saturate."""
        m = Module()
        number, is_above, is_below, is_negative, fine = self._coarse(m)
        shifted = wired(m, (number.as_signed() >> fine)[: _WHOLE_BITS + 1])
        is_below = is_below | (number & Cat(fine > i for i in range(_COARSE - 1))).any()
        top = number[_WHOLE_BITS:] ^ is_negative.replicate(_COARSE)
        is_above = is_above | (top & Cat(fine <= i for i in range(_COARSE))).any()
        largest = Cat((~is_negative).replicate(_WHOLE_BITS - 1), is_negative)
        whole = registered(m, Mux(is_above, largest, shifted[1:]))
        rises = registered(m, self._rises(shifted[1], shifted[0], is_below, is_negative))
        total = wired(m, whole.as_signed() + self.limits.zero_point + rises)
        limits = self.limits
        m.d.sync += self.result.eq(Mux(total > limits.high, limits.high, Mux(total < limits.low, limits.low, total)))
        return m

    def _coarse(self, m: Module) -> tuple[Any, ...]:
        """Return the number shifted by 16s, whether it lost bits above and below, its sign, and the rest of the shift."""
        value = self.value.as_unsigned()
        sign, n_kept = value[-1], _WHOLE_BITS + _COARSE
        number = Cat(Const(0, 1), value, sign.replicate(4 * _COARSE + n_kept))
        starts = range(0, 4 * _COARSE, _COARSE)
        kept = Array(number[start : start + n_kept] for start in starts)
        above = Array(_differs(number[min(start + n_kept, len(value)) : len(value)], sign) for start in starts)
        below = Array(number[:start].any() if start else Const(0, 1) for start in starts)
        step = self.shift[4:]
        values = (kept[step], above[step], below[step], sign, self.shift[:4])
        return tuple(registered(m, value) for value in values)

    def _rises(self, last: Any, half: Any, is_below: Any, is_negative: Any) -> Any:
        """Tell whether a number is rounded to the whole one above, from its last bit, the next one, and those behind."""
        decisions = {
            Rounding.HALF_EVEN: half & (is_below | last),
            Rounding.HALF_UP: half,
            Rounding.HALF_AWAY: half & (is_below | ~is_negative),
            Rounding.FLOOR: Const(0, 1),
            Rounding.TRUNCATE: (half | is_below) & is_negative,
        }
        return Array(decisions[mode] for mode in ROUNDINGS)[self.rounding]


def _differs(bits: Any, sign: Any) -> Any:
    return (bits ^ sign.replicate(len(bits))).any() if len(bits) else Const(0, 1)
