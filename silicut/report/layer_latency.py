"""What a network and each of its layers take in float and in int8, on one engine in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.records import Record
from silicut.report.part import Part
from silicut.targets.engine import EngineSettings

SAME_FRAC = 0.05
"""Layers whose times differ by less are called neither faster nor slower."""
ONLY_INT8 = "only in int8"
OTHER_LAYER = "(no layer)"
"""What tables call the time that belongs to none."""


@dataclass(frozen=True, kw_only=True)
class LayerLatency(Part):
    """One layer, with what is fused into it and the conversions that it needs.

    Attributes:
        name: of the layer; "" for what belongs to none.
        float_us, int8_us: measured; 0 where only the other network has it.
    """

    name: str
    float_us: float
    int8_us: float

    @property
    def verdict(self) -> str:
        """Whether int8 is "faster", "slower" or "the same", or the layer is "only in int8", where float fuses it."""
        if not self.float_us and self.int8_us:
            return ONLY_INT8
        if abs(self.int8_us - self.float_us) <= SAME_FRAC * self.float_us:
            return "the same"
        return "faster" if self.int8_us < self.float_us else "slower"


@dataclass(frozen=True, kw_only=True)
class Int8Latency(Record):
    """A network in float and in int8.

    Attributes:
        settings: engine, threads and batch.
        float_ms, int8_ms: of the whole networks, which took turns.
        ratio: int8 over float; `ratio_low`, `ratio_high`: its 95 % interval.
        layers: in order of execution, as profiled; in sum not quite the whole networks, which run without a profiler.
    """

    schema: ClassVar[str] = "int8_latency/2"
    settings: EngineSettings
    float_ms: float
    int8_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    layers: tuple[LayerLatency, ...]

    @property
    def verdict(self) -> str:
        """Whether int8 is "faster" or "slower", or "as fast as float" where the interval leaves that open."""
        if self.ratio_low <= 1.0 <= self.ratio_high:
            return "as fast as float"
        return "faster" if self.ratio < 1.0 else "slower"

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        named = [each for each in self.layers if each.name]
        whats = ("faster", "slower", "the same", ONLY_INT8)
        counts = [f"{sum(each.verdict == what for each in named)} {what}" for what in whats]
        return (
            f"int8 is {self.verdict}: {self.int8_ms:.3f} ms, float {self.float_ms:.3f} ms (measured), "
            f"{100 * self.ratio:.1f} % of it (95 %: {100 * self.ratio_low:.1f} to {100 * self.ratio_high:.1f}); "
            f"of {len(named)} layers {', '.join(counts)}."
        )
