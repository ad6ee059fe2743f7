"""What a network would cost on an accelerator that is not built: the records behind `silicut estimate`.

Every figure is *modelled*: a lower bound of cycles at an assumed clock, and resources of which only some follow a published
fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.records import Record
from silicut.report.part import Part


@dataclass(frozen=True, kw_only=True)
class LayerEstimate(Part):
    """One layer.

    Attributes:
        name: of its first operator.
        kind: "product", "depthwise" or "windows".
        m, k, n: output pixels, inputs of one output, output channels.
        a_bits, w_bits: of what it reads and of its weights, 0 without weights.
        n_lut, n_dsp: filters of each core.
        lut_cycles, dsp_cycles, vector_cycles, memory_cycles: the least that each unit is busy.
        limited_by: the unit that is busy longest.
        cycles: the least that the layer takes alone.
        macs_per_byte: multiply-accumulates for each byte that is moved, at least so many being moved.
    """

    name: str
    kind: str
    m: int
    k: int
    n: int
    a_bits: int
    w_bits: int
    n_lut: int
    n_dsp: int
    lut_cycles: int
    dsp_cycles: int
    vector_cycles: int
    memory_cycles: int
    limited_by: str
    cycles: int
    macs_per_byte: float


@dataclass(frozen=True, kw_only=True)
class ResourceEstimate(Part):
    """What one user takes of the part.

    Attributes:
        name: of the user.
        group: "arrays", "buffers" or "glue".
        n_luts, n_ffs, n_dsps, n_bram36: amounts.
    """

    name: str
    group: str
    n_luts: int
    n_ffs: int
    n_dsps: int
    n_bram36: int


@dataclass(frozen=True, kw_only=True)
class PartEstimate(Part):
    """The part that resources are compared with.

    Attributes:
        name: of the part.
        n_luts, n_ffs, n_dsps, n_bram36: what it has.
        is_recalled: whether these are from memory.
    """

    name: str
    n_luts: int
    n_ffs: int
    n_dsps: int
    n_bram36: int
    is_recalled: bool


@dataclass(frozen=True, kw_only=True)
class OnAccelerator(Record):
    """A network on a build of an accelerator: what estimates and simulations have in common.

    Attributes:
        network: as it was asked for.
        accelerator: name of the configuration.
        clock_hz: assumed.
        on_host: operators that the accelerator does not execute; they are counted nowhere.
        resources: what each user takes of the part.
        resource_model: of the bit-serial array.
        part: what resources are compared with.
        exceeded: one sentence for each amount of which there is too little.
    """

    network: str
    accelerator: str
    clock_hz: float
    on_host: tuple[str, ...]
    resources: tuple[ResourceEstimate, ...]
    resource_model: str
    part: PartEstimate
    exceeded: tuple[str, ...]

    def ms(self, cycles: float) -> float:
        """Return the milliseconds of cycles at the assumed clock."""
        return cycles * 1e3 / self.clock_hz

    def total(self, amount: str) -> int:
        """Return what all users take of one amount, such as "n_luts"."""
        return sum(getattr(user, amount) for user in self.resources)


@dataclass(frozen=True, kw_only=True)
class Estimate(OnAccelerator):
    """What a network would cost.

    Attributes:
        bits: of weights and of what layers read, in words.
        config_hash: of the configuration.
        bandwidth_gb_per_s: of all ports at that clock.
        layers: in order of execution.
        overlapped_cycles: the least that the network takes with these splits where layers overlap.
        any_split_cycles: the least with any splits.
        in_turn_cycles: the least with these where each layer begins when the one before has ended.
    """

    schema: ClassVar[str] = "estimate/1"

    bits: str
    config_hash: str
    bandwidth_gb_per_s: float
    layers: tuple[LayerEstimate, ...]
    overlapped_cycles: int
    any_split_cycles: int
    in_turn_cycles: int

    @property
    def n_macs(self) -> int:
        """Multiply-accumulates of one inference on the accelerator."""
        return sum(layer.m * layer.k * layer.n for layer in self.layers if layer.kind != "windows")
