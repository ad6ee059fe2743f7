"""Integer networks as QONNX files: values stay float, Quant nodes say of how many bits they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from silicut.graph import Operator
from silicut.numerics.factors import encode_together
from silicut.numerics.formats import IntegerFormat, signed_bits
from silicut.numerics.onnx.qonnx_modes import DOMAIN, DOMAIN_VERSION, NAMES, commutes
from silicut.numerics.onnx.steps import QUANTISED, Steps
from silicut.numerics.onnx.writer import OPSET, CannotExpress, QuantisedWriter, refuse
from silicut.numerics.operators import Add, Lookup, Requantise
from silicut.numerics.quantised import QuantisedNetwork
from silicut.numerics.rounding import Rounding

_LARGEST_BIAS = 2**22  # beyond, the two roundings of bias and scale to float32 could move it by a half


def to_qonnx(quantised: QuantisedNetwork, *, batch: int | None = 1) -> Any:
    """Return an integer network as a QONNX model: float operators between Quant nodes of any width.

    Inputs and outputs are floats. Where a zero point would change how QONNX rounds (odd ones halves to even), the file
    quantises without it, one bit wider, and clips. `from_qonnx` gives back the same integers.

    Args:
        quantised: its rounding modes must be half_even, half_away, floor or truncate.
        batch: the batch size written into the file, which the qonnx package needs; None leaves it free.

    Raises:
        UnsupportedModel: operators have no equal in QONNX; all are listed.
    """
    writer = QonnxWriter(quantised, batch)
    inputs = [writer.input(name) for name in quantised.network.inputs]
    refuse(writer.write(), "QONNX")
    outputs = [writer.value_info(name, name, np.float32) for name in quantised.network.outputs]
    return writer.model(inputs, outputs, [("", OPSET), (DOMAIN, DOMAIN_VERSION)])


class QonnxWriter(QuantisedWriter):
    """Writes Quant nodes; see `to_qonnx`."""

    def input(self, name: str) -> Any:
        """Write what becomes of an input and return its description."""
        self.store(name, name, self.zero_point(name), None)
        return self.value_info(name, name, np.float32)

    def _stored(self, name: str) -> str:
        return name + QUANTISED if name in self.network.inputs else name

    def store(self, name: str, real: str, zero_point: int, operator: Operator | None) -> None:
        """Write Quant; without the zero point, and Clip, where it would change the rounding."""
        format, step = self.quantised.quantisations[name].format, self.steps(name)
        integer = None if operator is None else self.operators[operator.name]
        rounding = integer.rounding if isinstance(integer, Requantise | Add) else Rounding.HALF_EVEN
        if commutes(rounding, zero_point):
            self._quant(name, real, format, step.along(1), self._stored(name), zero_point=zero_point, rounding=rounding)
            return
        low, high = format.min - zero_point, format.max - zero_point
        wide = IntegerFormat(signed_bits(low, high))
        self._quant(name, real, wide, step.along(1), f"{name}/wide", rounding=rounding)
        self.formats[name] = format.name
        ends = (self.constant(f"{name}.{key}", np.float32(end * step.one)) for key, end in (("low", low), ("high", high)))
        self.add("Clip", [f"{name}/wide", *ends], self._stored(name), f"{name}/clip")

    def _quant(
        self,
        name: str,
        real: str,
        format: IntegerFormat,
        scale: np.ndarray,
        output: str,
        *,
        zero_point: int = 0,
        rounding: Rounding = Rounding.HALF_EVEN,
    ) -> str:
        if format.bits == 1 and format.is_signed:
            raise CannotExpress(f"{name} is int1, which QONNX takes for -1 and 1")
        if rounding not in NAMES:
            raise CannotExpress(f"it rounds {rounding}, which QONNX lacks")
        numbers = {"scale": scale, "zero_point": np.float32(zero_point), "bits": np.float32(format.bits)}
        constants = [self.constant(f"{name}/{key}", np.asarray(value, np.float32)) for key, value in numbers.items()]
        attributes = {"signed": int(format.is_signed), "narrow": int(format.is_narrow), "rounding_mode": NAMES[rounding]}
        return self.add("Quant", [real, *constants], output, f"{name}/quant", domain=DOMAIN, **attributes)

    def stored_real(self, name: str, steps: Steps, zero_point: int, reader: str) -> str:
        """Return a Quant's own output, multiplied where the reader's steps are others."""
        if zero_point != self.zero_point(name):
            raise CannotExpress(f"it takes {zero_point} for the zero point of {name}, which is {self.zero_point(name)}")
        own = self.steps(name)
        return self._stored(name) if own.equals(steps) else self.rescaled(self._stored(name), name, own, steps, reader)

    def operand_steps(self, names: Sequence[str], exact: Sequence[Steps], unit: float) -> Sequence[Steps]:
        """Return the operands' own steps where they give back the same integer factors."""
        own = [self.steps(name) for name in names]
        if not all(steps.is_one for steps in (*own, *exact)):
            return exact
        try:
            encoded = [_fractions([steps.one / unit for steps in each]) for each in (own, exact)]
        except ValueError:
            return exact
        return own if encoded[0] == encoded[1] else exact

    def weight(self, name: str, weight: np.ndarray, format: IntegerFormat, steps: Steps) -> str:
        """Return Quant of the real weights, with a scale for each channel."""
        self.formats[name] = format.name
        scale = steps.along(weight.ndim)
        real = self.constant(name, (weight * scale).astype(np.float32))
        return self._quant(name, real, format, scale, f"{name}/real")

    def bias(self, name: str, bias: np.ndarray, steps: Steps) -> str:
        """Return Quant of the real bias on the accumulators' scale."""
        if np.abs(bias).max(initial=0) > _LARGEST_BIAS:
            raise CannotExpress("its bias exceeds 2^22, and products of floats stand for it")
        format = IntegerFormat(max(signed_bits(int(bias.min()), int(bias.max())), 2))
        return self._quant(
            name, self.constant(name, (bias * steps.values).astype(np.float32)), format, steps.values, f"{name}/real"
        )

    def lookup(self, operator: Operator, lookup: Lookup) -> None:
        """Refuse a table."""
        raise CannotExpress("QONNX has no tables; write QDQ instead")


def _fractions(factors: Sequence[float]) -> list[float]:
    multipliers, shift = encode_together(factors)
    return [multiplier / 2.0**shift for multiplier in multipliers]
