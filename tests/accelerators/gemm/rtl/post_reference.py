"""What becomes of a sum, in fractions: written from the text of the registers."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

ROUNDINGS = ("half_even", "half_up", "half_away", "floor", "truncate")


def rounded(number, mode):
    """Return a fraction as a whole number."""
    down, rest = math.floor(number), number - math.floor(number)
    match mode:
        case "floor":
            return down
        case "truncate":
            return down if number >= 0 else math.ceil(number)
        case "half_even":
            return round(number)
        case "half_up":
            return down + (rest >= Fraction(1, 2))
        case "half_away":
            return down + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and number > 0))
    raise ValueError(mode)


def settled(number, shift, mode, zero_point, low, high):
    return min(max(rounded(Fraction(number, 1 << shift), ROUNDINGS[mode]) + zero_point, low), high)


def wrapped(number):
    return (number + 2**31) % 2**32 - 2**31


@dataclass
class Case:
    """A sum with all that belongs to it; registers by port and field."""

    sum: int
    entry: dict
    other: int
    registers: dict = field(default_factory=dict)

    def results(self, tables):
        """Return the result and its copy."""
        r = self.registers
        value = self.sum
        if (step := r["requantise"])["is_enabled"]:
            scaled = wrapped(value + self.entry["bias"]) * self.entry["multiplier"]
            limits = step["zero_point"], step["low"], step["high"]
            value = settled(scaled, self.entry["shift"], step["rounding"], *limits)
        if (step := r["residual"])["is_enabled"]:
            total = (value - step["zero_point"]) * step["multiplier"]
            total += (self.other - step["residual_zero_point"]) * step["residual_multiplier"]
            value = settled(total, step["shift"], step["rounding"], step["output_zero_point"], step["low"], step["high"])
        if (step := r["lookup"])["is_enabled"]:
            value = int(tables[step["table"]][value - step["first"]])
            value = value - 256 if step["is_signed"] and value > 127 else value
        value = min(max(value, step["low"]), step["high"])
        step = r["copy"]
        product = (value - step["input_zero_point"]) * step["multiplier"]
        return value, settled(product, step["shift"], step["rounding"], step["zero_point"], step["low"], step["high"])
