"""What each layer of a network takes in float and in int8, on one engine in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from silicut.records import Record
from silicut.targets.engine import EngineSettings

SAME_FRAC = 0.05
"""Layers whose times differ by less are called neither faster nor slower."""


@dataclass(frozen=True, kw_only=True)
class LayerLatency:
    """One layer, with what is fused into it and the conversions that it needs.

    Attributes:
        name: of the layer; "" for what belongs to none.
        float_us, int8_us: measured.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    float_us: float
    int8_us: float

    @property
    def verdict(self) -> str:
        """Whether int8 is "faster", "slower" or "the same"."""
        if abs(self.int8_us - self.float_us) <= SAME_FRAC * self.float_us:
            return "the same"
        return "faster" if self.int8_us < self.float_us else "slower"


@dataclass(frozen=True, kw_only=True)
class Int8Latency(Record):
    """A network in float and in int8.

    Attributes:
        settings: engine, threads and batch.
        layers: in order of execution; the times add up to those of the networks.
    """

    schema: ClassVar[str] = "int8_latency/1"
    settings: EngineSettings
    layers: tuple[LayerLatency, ...]

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        before, after = (sum(getattr(each, key) for each in self.layers) for key in ("float_us", "int8_us"))
        whole = LayerLatency(name="", float_us=before, int8_us=after).verdict
        named = [each for each in self.layers if each.name]
        counts = [f"{sum(each.verdict == what for each in named)} {what}" for what in ("faster", "slower", "the same")]
        return (
            f"int8 is {whole}: {after / 1000:.3f} ms, float {before / 1000:.3f} ms (measured); of {len(named)} layers "
            f"{', '.join(counts)}."
        )
