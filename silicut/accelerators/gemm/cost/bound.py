"""A lower bound of the accelerator's cycles, for many layers, configurations and splits at once.

Each unit of the machine has a *roof*: the cycles that it is busy for a layer however the layer is scheduled. No schedule
can be faster than the highest roof, and with queues that overlap, no network faster than the sum of one unit's roofs. All
counts round down where a compiler may choose, so the bound is never above the exact time; it is no prediction.

    LUT execute   ceil(m / M) ceil(n / N) ceil(k / K) a w
    DSP execute   ceil(m / B) ceil(n / O) ceil(k / word) P'        word = inputs of 4 or 8 bits, P' = cycles of a word
    window        m kernel_height ceil(kernel_width channels a / F), once for each core that has filters
    result        m ceil(n / lanes)
    banks         (execute + result + tiles * latency) / banks of accumulators: a tile waits until one of them is free
    vector unit   m max(taps ceil(n bits / word), ceil(n / lanes))              bits = 4 or 8 of an element
    memory        bytes of input, weights, tables, residual, output and copy, each once, / bytes a cycle, and its pauses;
                  where each core has ports of its own, weights through these

Sizes and machines are columns of numbers that broadcast: an array of layers along the last axis, one of splits or of
machines before it. Cycles are float64, exact below 2^53, and infinite where a core that has filters is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silicut.accelerators.gemm.config import GRANULE, GemmConfig
from silicut.accelerators.gemm.cost.work import Kind, LayerWork

Cycles = NDArray[np.float64]
_WORD_BITS = 64  # of memory; also a table's entry

_LAYER_NUMBERS = (
    "in_channels in_height in_width out_channels out_height out_width kernel_height kernel_width stride_x n_rows_read "
    "n_groups a_bits w_bits dsp_bits out_bits copy_bits added_bits may_be_unrolled m k"
).split()


@dataclass(frozen=True)
class Roofs:
    """Cycles that each unit is busy, one array of the broadcast shape each.

    Attributes:
        lut_execute, lut_window, lut_result, lut_banks: of the bit-serial core.
        dsp_execute, dsp_window, dsp_result, dsp_banks: of the DSP core.
        vector: of the vector unit.
        memory: of the memory queue.
    """

    lut_execute: Cycles
    lut_window: Cycles
    lut_result: Cycles
    lut_banks: Cycles
    dsp_execute: Cycles
    dsp_window: Cycles
    dsp_result: Cycles
    dsp_banks: Cycles
    vector: Cycles
    memory: Cycles

    def of(self, unit: str) -> Cycles:
        """Return the roof of a unit, by its name in `UNITS`."""
        found: Cycles = getattr(self, unit)
        return found

    @property
    def lut(self) -> Cycles:
        """The highest roof of the bit-serial core."""
        return self._highest("lut_")

    @property
    def dsp(self) -> Cycles:
        """The highest roof of the DSP core."""
        return self._highest("dsp_")

    @property
    def layer(self) -> Cycles:
        """The highest roof: no schedule of the layer is shorter."""
        return self._highest("")

    def _highest(self, prefix: str) -> Cycles:
        highest: Cycles = np.maximum.reduce([self.of(unit) for unit in UNITS if unit.startswith(prefix)])
        return highest

    @property
    def network(self) -> Cycles:
        """The sum over the layers (the last axis) of the unit that has most to do: no schedule of all is shorter."""
        busiest: Cycles = np.maximum.reduce([self.of(unit).sum(-1) for unit in UNITS])
        return busiest

    def limiting(self) -> NDArray[np.str_]:
        """Return the name of the unit with the highest roof, for each element."""
        names: NDArray[np.str_] = np.array(UNITS)[np.argmax([self.of(unit) for unit in UNITS], axis=0)]
        return names


UNITS = tuple(Roofs.__dataclass_fields__)
"""The units that have a roof."""


def layer_columns(layers: Sequence[LayerWork]) -> Any:
    """Return the numbers of layers as arrays (layers,), for `roofs`."""
    columns: dict[str, Any] = {
        name: np.array([getattr(layer, name) for layer in layers], np.int64) for name in _LAYER_NUMBERS
    }
    columns |= {f"is_{kind.value}": np.array([layer.kind is kind for layer in layers]) for kind in Kind}
    return SimpleNamespace(**columns)


def machine_columns(configs: Sequence[GemmConfig]) -> Any:
    """Return the numbers of configurations as arrays (configs, 1), for `roofs`; a core that is not there has size 0."""
    rows = [_machine(config) for config in configs]
    return SimpleNamespace(**{name: np.array([[row[name]] for row in rows], np.int64) for name in rows[0]})


def _machine(config: GemmConfig) -> dict[str, int]:
    lut, dsp, memory = config.lut, config.dsp, config.memory
    return {
        "lut_rows": lut.n_rows if lut else 0,
        "lut_columns": lut.n_columns if lut else 0,
        "lut_word": lut.word_bits if lut else 0,
        "dsp_rows": dsp.n_rows if dsp else 0,
        "dsp_outputs": dsp.n_outputs if dsp else 0,
        "dsp_columns": dsp.n_columns if dsp else 0,
        "dsp_word_bits": dsp.n_inputs * 8 if dsp else 0,
        "dsp_cycles_4": dsp.n_tile_cycles(4) if dsp else 1,
        "dsp_cycles_8": dsp.n_tile_cycles(8) if dsp else 1,
        "lut_latency": lut.latency_cycles if lut else 0,
        "dsp_latency": dsp.latency_cycles if dsp else 0,
        "lut_banks": lut.n_accumulator_banks if lut else 1,
        "dsp_banks": dsp.n_accumulator_banks if dsp else 1,
        "lanes": config.n_lanes,
        "vector_lanes": config.n_vector_lanes,
        "vector_word_bits": config.vector_word_bits,
        "fill_bits": config.fill_bits,
        "beat_bits": 8 * memory.bytes_per_cycle,
        "n_port_groups": len(memory.groups),
        "refresh_every": memory.refresh_every,
        "refresh_cycles": memory.refresh_cycles,
    }


def roofs(layers: Any, n_lut: ArrayLike, machine: Any) -> Roofs:
    """Return the roofs of every unit.

    Args:
        layers: of `layer_columns`, arrays (layers,).
        n_lut: filters of the bit-serial core, array (..., layers); the DSP core gets the others. Only products look at it:
            depthwise layers run on the DSP core, on the bit-serial one where there is no other.
        machine: of `machine_columns`, arrays (machines, 1), which broadcast with `n_lut`.

    Returns:
        Arrays of the broadcast shape (machines, layers), or (splits, layers) for one machine.
    """
    has_dsp = machine.dsp_rows > 0
    n_lut = np.where(layers.is_product, n_lut, layers.is_depthwise * ~has_dsp * layers.out_channels)
    n_dsp = np.where(layers.is_product, layers.out_channels - n_lut, 0)
    columns = {part: has_dsp * cycles for part, cycles in _depthwise(layers, machine).items()}
    lut_execute, lut_result = _lut_execute(layers, n_lut, machine), layers.m * _ceil(n_lut, machine.lanes)
    dsp_execute = _dsp_execute(layers, n_dsp, machine) + columns["execute"]
    dsp_result = layers.m * _ceil(n_dsp, machine.lanes) + columns["result"]
    lut_tiles = _n_tiles(layers, n_lut, machine.lut_rows, machine.lut_columns)
    dsp_tiles = _n_tiles(layers, n_dsp, machine.dsp_rows, machine.dsp_outputs) + columns["tiles"]
    parts = (
        lut_execute,
        (n_lut > 0) * _window(layers, layers.a_bits, layers.a_bits, machine),
        lut_result,
        np.floor((lut_execute + lut_result + lut_tiles * machine.lut_latency) / machine.lut_banks),
        dsp_execute,
        (n_dsp > 0) * _window(layers, 1, layers.dsp_bits, machine) + columns["window"],
        dsp_result,
        np.floor((dsp_execute + dsp_result + dsp_tiles * machine.dsp_latency) / machine.dsp_banks),
        _vector(layers, machine),
        _memory(layers, n_lut, n_dsp, machine),
    )
    shape = np.broadcast_shapes(*(np.shape(part) for part in parts))
    return Roofs(*(np.broadcast_to(np.asarray(part, np.float64), shape) for part in parts))


def layer_bounds(layers: Sequence[LayerWork], n_lut: ArrayLike, config: GemmConfig) -> Cycles:
    """Return the bound of each layer that runs alone, array (..., layers).

    To the highest roof comes the latency of the first read, before which no unit but the memory has anything to do.
    """
    found = roofs(layer_columns(layers), n_lut, machine_columns([config]))
    others = np.maximum.reduce([found.of(unit) for unit in UNITS if unit != "memory"])
    bound: Cycles = np.maximum(found.memory, others + config.memory.latency_cycles)
    return bound


def network_bound(layers: Sequence[LayerWork], n_lut: ArrayLike, config: GemmConfig) -> float:
    """Return the bound of a network whose layers overlap: what the busiest unit has to do in all of them."""
    return float(roofs(layer_columns(layers), n_lut, machine_columns([config])).network.max())


def _ceil(a: ArrayLike, b: ArrayLike) -> Any:
    """Return a / b rounded up; infinite where b is 0 and a is not."""
    a, b = np.asarray(a), np.asarray(b)
    whole = -(-a // np.maximum(b, 1))
    return np.where((b == 0) & (a > 0), np.inf, whole) if np.any(b == 0) else whole


def _lut_execute(layers: Any, n_lut: Any, machine: Any) -> Any:
    """Return the cycles of execution; filters of several groups are taken to share a tile that is as long as one group's."""
    with np.errstate(invalid="ignore"):
        stripes = _ceil(layers.m, machine.lut_rows) * _ceil(layers.k, machine.lut_word)
        return np.where(n_lut > 0, _ceil(n_lut, machine.lut_columns) * stripes * layers.a_bits * layers.w_bits, 0)


def _dsp_execute(layers: Any, n_dsp: Any, machine: Any) -> Any:
    word_inputs = machine.dsp_word_bits // layers.dsp_bits
    cycles = np.where(layers.dsp_bits == 4, machine.dsp_cycles_4, machine.dsp_cycles_8)
    with np.errstate(invalid="ignore"):
        stripes = _ceil(layers.m, machine.dsp_rows) * _ceil(layers.k, word_inputs)
        return np.where(n_dsp > 0, _ceil(n_dsp, machine.dsp_outputs) * stripes * cycles, 0)


def _n_tiles(layers: Any, n: Any, n_rows: Any, n_filters: Any) -> Any:
    """Return the tiles of a product, 0 for a core that is not there."""
    return _ceil(layers.m, np.maximum(n_rows, 1)) * _ceil(n, np.maximum(n_filters, 1))


def _window(layers: Any, n_planes: Any, element_bits: Any, machine: Any) -> Any:
    """Return the cycles of filling the banks, each plane (LUT) or all of an element (DSP) at once."""
    bits = element_bits // n_planes
    channels = layers.in_channels // layers.n_groups
    by_rows = layers.kernel_height * _ceil(layers.kernel_width * channels * bits, machine.fill_bits)
    at_once = _ceil(layers.kernel_height * layers.kernel_width * channels * bits, machine.fill_bits)
    return layers.m * n_planes * np.where(layers.may_be_unrolled, at_once, by_rows)


def _vector(layers: Any, machine: Any) -> Any:
    """Return the cycles of the vector unit: words that it reads, or results that it finishes."""
    n_words = _ceil(layers.out_channels * np.where(layers.a_bits <= 4, 4, 8), machine.vector_word_bits)
    taps = layers.kernel_height * layers.kernel_width * n_words
    return layers.is_windows * layers.m * np.maximum(taps, _ceil(layers.out_channels, machine.vector_lanes))


def _depthwise(layers: Any, machine: Any) -> dict[str, Any]:
    """Return the cycles of depthwise layers: execution, filling the banks, results; and their tiles, columns of outputs."""
    taps = layers.kernel_height * _ceil(layers.kernel_width, np.maximum(1, machine.dsp_columns))
    n_columns = (layers.out_width - 1) * layers.stride_x + layers.kernel_width
    blocks = _ceil(layers.out_channels, np.maximum(1, machine.dsp_word_bits // layers.dsp_bits))
    fill = layers.out_height * n_columns * layers.kernel_height
    steps = _ceil(layers.out_height, np.maximum(1, machine.dsp_rows)) * blocks
    parts = {
        "execute": steps * n_columns * taps,
        "tiles": steps * layers.out_width,
        "window": fill * _ceil(layers.out_channels * layers.dsp_bits, machine.fill_bits),
        "result": layers.m * _ceil(layers.out_channels, machine.lanes),
    }
    return {name: np.where(layers.is_depthwise, cycles, 0) for name, cycles in parts.items()}


def _memory(layers: Any, n_lut: Any, n_dsp: Any, machine: Any) -> Any:
    rest, weights = _feature_words(layers) + _output_words(layers), _weight_bits(layers, n_lut, n_dsp, machine)
    words = rest + _ceil(weights[0] + weights[1], _WORD_BITS) + np.where(layers.is_windows, 0, layers.out_channels)
    beats = _ceil(words * _WORD_BITS, machine.beat_bits)
    own_beats = (rest * _WORD_BITS + machine.n_port_groups * np.maximum(*weights)) // machine.beat_bits
    beats = np.maximum(beats, np.where(machine.n_port_groups > 1, own_beats, 0))
    pauses = np.where(machine.refresh_every > 0, beats // np.maximum(machine.refresh_every, 1), 0)
    return beats + pauses * machine.refresh_cycles


def _feature_words(layers: Any) -> Any:
    """Return the words of the rows that windows see, of the network's input in the smaller of its two layouts."""
    plain = layers.n_rows_read * _ceil(layers.in_width * layers.in_channels, GRANULE)
    unrolled = layers.out_height * _ceil(layers.in_width * layers.in_channels * layers.kernel_height, GRANULE)
    return np.where(layers.may_be_unrolled, np.minimum(plain, unrolled), plain) * layers.a_bits


def _output_words(layers: Any) -> Any:
    """Return the words of what is written and of what is added to it."""
    granules = layers.out_height * _ceil(layers.out_width * layers.out_channels, GRANULE)
    return granules * (layers.out_bits + layers.copy_bits + layers.added_bits)


def _weight_bits(layers: Any, n_lut: Any, n_dsp: Any, machine: Any) -> tuple[Any, Any]:
    """Return the bits of weights of either core, padded to the words of the banks."""
    with np.errstate(invalid="ignore"):
        lut_bits = n_lut * np.where(n_lut > 0, _ceil(layers.k, machine.lut_word) * machine.lut_word * layers.w_bits, 0)
        word_inputs = machine.dsp_word_bits // layers.dsp_bits
        dsp_bits = n_dsp * np.where(n_dsp > 0, _ceil(layers.k, word_inputs) * machine.dsp_word_bits, 0)
    on_dsp = layers.is_depthwise & (machine.dsp_rows > 0)
    depthwise = layers.out_channels * layers.kernel_height * layers.kernel_width * layers.dsp_bits * on_dsp
    return np.nan_to_num(lut_bits), np.nan_to_num(dsp_bits) + depthwise
