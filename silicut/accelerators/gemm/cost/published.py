"""The released latency model of N3H-Core, with its quirks: the figures of others that ours stand beside.

N3H-Core (Gong et al., FPGA 2022, arXiv 2112.08193) gives each layer's filters to a bit-serial core and to a core of DSP
slices. Its authors released two analytic models and the policy that their search found, not the hardware. The formulas are
restated here from that model, on the fields of our `LutCore` and `DspCore`, and answer alike on every layer of ResNet-18;
they are *no* model of the machine of this package, which `bound` and `exact` describe. Time is in cycles of an assumed 100
MHz.

What the formulas leave out or get wrong, kept on purpose:

- no time for results; fetches of the two operands overlap neither each other nor, in the first group, execution;
- eight dead cycles for each pair of bit planes;
- a layer whose pixels fill the bit-serial core's memory exactly once has no exposed execution at all;
- the DSP core pays for the remainder of a division even where there is none.

Where the model has no answer (a stripe that does not fit a memory), it says so instead of dividing by zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from silicut.accelerators.gemm.config import GemmConfig
from silicut.records import DoesNotFit

CLOCK_HZ = 100e6
"""Implied by the released code, which turns cycles into milliseconds with 1e-5."""

_PORT_BITS = 64
_FETCH_CYCLES = 46  # of a stripe: latency of the memory 32, transfer 9, synchronisation 5
_PAIR_CYCLES = 8  # lost for each pair of bit planes, and once more for each tile
_LUT_FIXED_CYCLES = 238
_ROWS_AHEAD = 3  # stripes whose fetch the model takes as hidden
_DSP_ROWS_AHEAD = 8
_LATENCY_CYCLES = 32


@dataclass(frozen=True)
class Gemm:
    """A layer as a product of matrices, m x k by k x n.

    Attributes:
        m: output pixels.
        k: inputs of one of them: channels times taps of the kernel.
        n: filters.
    """

    m: int
    k: int
    n: int


@dataclass(frozen=True)
class LayerPolicy:
    """How a layer is computed.

    Attributes:
        a_bits: of the activations.
        w_bits: of the weights of the bit-serial core's filters.
        lut_frac: share of filters of the bit-serial core.
    """

    a_bits: int
    w_bits: int
    lut_frac: float

    @property
    def dsp_bits(self) -> int:
        """The DSP core's operands: 8 bits at the ends of the network, else 4 in the released model."""
        return 8 if self.a_bits > 4 else 4

    def n_lut(self, n: int) -> int:
        """Return how many of n filters the bit-serial core gets."""
        return round(n * self.lut_frac)


@dataclass(frozen=True)
class LayerCycles:
    """What a layer takes.

    Attributes:
        n_lut: filters of the bit-serial core.
        lut, dsp: cycles of each core; 0 for a core without filters.
    """

    n_lut: int
    lut: float
    dsp: float

    @property
    def cycles(self) -> float:
        """The later core's: layers wait for each other."""
        return max(self.lut, self.dsp)


def lut_cycles(gemm: Gemm, a_bits: int, w_bits: int, config: GemmConfig) -> float:
    """Return the cycles of the bit-serial core for `gemm.n` filters, 0 for none.

    Raises:
        DoesNotFit: not even one stripe of activations fits the core's memory; the released model divides by zero there.
    """
    core = config.lut
    assert core is not None, "the configuration has no LUT core"
    if gemm.n == 0:
        return 0.0
    t_m, t_k, t_n = (math.ceil(size / tile) for size, tile in zip(
        (gemm.m, gemm.k, gemm.n), (core.n_rows, core.word_bits, core.n_columns), strict=True
    ))  # fmt: skip
    n_resident = core.lhs_depth // (t_k * a_bits)
    if n_resident == 0:
        raise DoesNotFit(f"lut.lhs_depth must be at least {t_k * a_bits} for k = {gemm.k} at {a_bits} bits")
    lhs_fetch = _FETCH_CYCLES + core.n_rows * core.word_bits * a_bits * t_k / _PORT_BITS
    rhs_fetch = _FETCH_CYCLES + core.n_columns * core.word_bits * w_bits * t_k / _PORT_BITS
    execute = (t_k + _PAIR_CYCLES) * a_bits * w_bits + _PAIR_CYCLES
    n_groups, n_left = math.ceil(t_m / n_resident), t_m % n_resident
    exposed = 0.0 if lhs_fetch - 1 > execute else 10 + (n_resident - _ROWS_AHEAD) * (execute - lhs_fetch)
    if t_m * t_n <= n_resident + _ROWS_AHEAD:
        later = 0
    elif n_groups > 1:
        later = ((n_resident - _ROWS_AHEAD) * (t_n - 1) * n_groups + n_left) * execute
    else:
        later = max(n_left - _ROWS_AHEAD, 0) * (t_n - 1) * execute
    return _LUT_FIXED_CYCLES + t_m * lhs_fetch + n_groups * t_n * rhs_fetch + n_groups * exposed + later


def dsp_cycles(gemm: Gemm, element_bits: int, config: GemmConfig) -> float:
    """Return the cycles of the DSP core for `gemm.n` filters, 0 for none.

    Args:
        gemm: the layer.
        element_bits: 4, which takes two inputs a slice at once, or 8.
        config: of the machine.

    Raises:
        DoesNotFit: not even one tile of weights, or one row of activations, fits the core's memories.
    """
    core = config.dsp
    assert core is not None, "the configuration has no DSP core"
    if gemm.n == 0:
        return 0.0
    t_k = math.ceil(gemm.k / core.n_word_inputs(element_bits))
    passes = core.n_passes
    lhs_resident, rhs_resident = core.lhs_depth // t_k, core.rhs_depth // (t_k * passes)
    if not lhs_resident or not rhs_resident:
        raise DoesNotFit(
            f"dsp.lhs_depth must be at least {t_k} and dsp.rhs_depth {t_k * passes} for k = {gemm.k} at {element_bits} bits"
        )
    lhs_groups, lhs_left = divmod(math.ceil(gemm.m / core.n_rows), lhs_resident)
    rhs_groups, rhs_left = divmod(math.ceil(gemm.n / core.n_outputs), rhs_resident)
    word_cycles = core.n_inputs * 8 / _PORT_BITS
    tile_load, row_load = word_cycles * core.n_columns, word_cycles * core.n_rows
    rhs_fetch = _LATENCY_CYCLES + core.n_columns + t_k * rhs_resident * tile_load
    lhs_fetch = _LATENCY_CYCLES + core.n_rows + _DSP_ROWS_AHEAD * t_k * row_load
    last_fetch = _LATENCY_CYCLES + core.n_outputs + t_k * rhs_left * tile_load
    wait = 1 + max(0.0, t_k * row_load - t_k * rhs_resident * passes)
    wait_left = 1 + max(0.0, t_k * row_load - t_k * rhs_left * passes) if rhs_left else 1
    whole = t_k * rhs_resident * lhs_resident * passes * wait + 6
    return (
        lhs_groups * rhs_groups * (whole + rhs_fetch + lhs_fetch)
        + rhs_groups * (t_k * lhs_left * passes * rhs_resident * wait + rhs_fetch + lhs_fetch)
        + lhs_groups
        * (t_k * lhs_resident * passes * rhs_left * wait_left + lhs_fetch + last_fetch + _LATENCY_CYCLES + core.n_outputs)
        + (t_k * lhs_left * rhs_left * passes * wait_left + lhs_fetch + last_fetch)
        + _LATENCY_CYCLES
    )


def layer_cycles(gemm: Gemm, policy: LayerPolicy, n_lut: int, config: GemmConfig) -> LayerCycles:
    """Return what a layer takes with `n_lut` filters on the bit-serial core and the others on the DSP core."""
    lut = lut_cycles(Gemm(gemm.m, gemm.k, n_lut), policy.a_bits, policy.w_bits, config)
    dsp = dsp_cycles(Gemm(gemm.m, gemm.k, gemm.n - n_lut), policy.dsp_bits, config)
    return LayerCycles(n_lut, lut, dsp)


def network_cycles(layers: Sequence[Gemm], policies: Sequence[LayerPolicy], config: GemmConfig) -> tuple[LayerCycles, ...]:
    """Return what every layer takes with the policies' own split; the network takes their sum."""
    pairs = zip(layers, policies, strict=True)
    return tuple(layer_cycles(gemm, policy, policy.n_lut(gemm.n), config) for gemm, policy in pairs)


def with_best_split(gemm: Gemm, policy: LayerPolicy, config: GemmConfig) -> LayerCycles:
    """Return a layer with the whole number of filters on the bit-serial core that takes the fewest cycles."""
    splits = (layer_cycles(gemm, policy, n_lut, config) for n_lut in range(gemm.n + 1))
    return min(splits, key=lambda split: split.cycles)


def with_scanned_split(gemm: Gemm, policy: LayerPolicy, config: GemmConfig) -> LayerCycles:
    """Return a layer with the split of the released search, in steps of one per cent.

    It stops where the DSP core is first the earlier one, and steps back once if that is better.
    """
    before = None
    for step in range(101):
        found = layer_cycles(gemm, policy, round(gemm.n * step / 100), config)
        if found.dsp < found.lut:
            return found if before is None or found.lut <= before.dsp else before
        before = found
    assert before is not None
    return before


def total_ms(layers: Sequence[LayerCycles], clock_hz: float = CLOCK_HZ) -> float:
    """Return the milliseconds of a network whose layers run one after the other."""
    return math.fsum(layer.cycles for layer in layers) * 1e3 / clock_hz
