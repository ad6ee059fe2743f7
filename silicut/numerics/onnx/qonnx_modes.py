"""The rounding modes and operators of QONNX, by their names there.

Its HALF_UP and DOWN act on magnitudes, so they are our HALF_AWAY and TRUNCATE. Its Quant adds the zero point before it
rounds, where QuantizeLinear and our requantisers add it behind: the two differ in halves where the zero point is odd, and in
modes that look at the sign wherever there is one.
"""

from __future__ import annotations

from silicut.numerics.rounding import Rounding

DOMAIN, DOMAIN_VERSION = "qonnx.custom_op.general", 1
DOMAINS = (DOMAIN, "onnx.brevitas")
"""Where its operators are found; the latter in older exports of Brevitas."""

MODES = {
    "ROUND": Rounding.HALF_EVEN,
    "HALF_EVEN": Rounding.HALF_EVEN,
    "HALF_UP": Rounding.HALF_AWAY,
    "FLOOR": Rounding.FLOOR,
    "DOWN": Rounding.TRUNCATE,
}
"""Ours by theirs; CEIL, UP and HALF_DOWN have no equal here."""

NAMES = {Rounding.HALF_EVEN: "ROUND", Rounding.HALF_AWAY: "HALF_UP", Rounding.FLOOR: "FLOOR", Rounding.TRUNCATE: "DOWN"}
"""Theirs by ours; HALF_UP has no equal there."""


def commutes(rounding: Rounding, zero_point: int) -> bool:
    """Tell whether adding a zero point before rounding is the same as adding it behind.

    Example:
        >>> commutes(Rounding.HALF_EVEN, 128), commutes(Rounding.HALF_EVEN, 3), commutes(Rounding.FLOOR, 3)
        (True, False, True)
    """
    if rounding is Rounding.HALF_EVEN:
        return zero_point % 2 == 0
    return rounding in (Rounding.FLOOR, Rounding.HALF_UP) or zero_point == 0
