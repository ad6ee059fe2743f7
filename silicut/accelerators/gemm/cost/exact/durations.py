"""How long each job keeps its unit busy, from the loop nests of the schedules.

    window, product      pixels * planes * sum over segments of ceil(elements / fill)        + start-up
    window, depthwise    rows * columns * taps down * ceil(channels * bits / fill)           + start-up
    execute, product     words of a row * cycles of a word, for each stripe of each tile
    execute, depthwise   columns * taps down * turns, tile by tile of one output column
    result               valid pixels * ceil(valid filters / lanes), for each tile
    vector unit          pixels * sum over words of max(taps, ceil(channels / lanes))        + start-up
    memory               words of 64 bits

Jobs of a queue are in the order of the steps, so the n-th product of a queue is the n-th step of its core. What the loop
nests leave open (words of a transfer, parts of a pool) is read off the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from silicut.accelerators.gemm.compile.geometry import Geometry
from silicut.accelerators.gemm.compile.jobs import Job
from silicut.accelerators.gemm.compile.schedule import (
    DepthwiseSchedule,
    LayerSchedule,
    PoolSchedule,
    ProductSchedule,
    UnitSchedule,
)
from silicut.accelerators.gemm.config import POST_STARTUP_CYCLES, WINDOW_STARTUP_CYCLES, GemmConfig
from silicut.accelerators.gemm.program import (
    Barrier,
    Depthwise,
    Expand,
    ExpandColumns,
    Gemm,
    LoadInstructions,
    LoadLookup,
    LoadResidual,
    LoadRows,
    LoadTable,
    LoadWeights,
    Pool,
    Queue,
    Store,
    Sync,
    Unit,
)

_WORD_BITS = 64
_LOOKUP_WORDS = 32
_WINDOWS = {Unit.LUT: Queue.LUT_WINDOW, Unit.DSP: Queue.DSP_WINDOW}
_COMPUTES = {Unit.LUT: Queue.LUT_COMPUTE, Unit.DSP: Queue.DSP_COMPUTE}


@dataclass(frozen=True)
class Tiles:
    """A step of a core.

    Attributes:
        execute: cycles of each tile, in order.
        result: cycles of each tile's results; empty where sums go on in the next step.
        opens: whether sums begin, so that a bank of accumulators must be free.
    """

    execute: tuple[int, ...]
    result: tuple[int, ...]
    opens: bool = True


@dataclass(frozen=True)
class Busy:
    """A job of one stage.

    Attributes:
        cycles: that its unit is busy, the dispatch left out; of a transfer, words.
    """

    cycles: int = 0


Duration = Busy | Tiles | None
"""None: all queues meet."""


def durations(
    schedules: Sequence[LayerSchedule], queues: Mapping[Queue, Sequence[Job]], config: GemmConfig
) -> dict[Queue, list[Duration]]:
    """Return how long each job of each queue takes, in order."""
    steps: dict[Queue, Iterator[Duration]] = {
        queue: _of_units(schedules, queue, config) for queue in (*_WINDOWS.values(), *_COMPUTES.values())
    }
    steps[Queue.POST] = _pools(schedules, queues[Queue.POST], config)
    return {queue: [_duration(job, steps.get(queue), config) for job in jobs] for queue, jobs in queues.items()}


def _duration(job: Job, steps: Iterator[Duration] | None, config: GemmConfig) -> Duration:
    kind = job.instruction
    if isinstance(kind, Barrier):
        return None
    if isinstance(kind, Gemm | Depthwise | Expand | ExpandColumns | Pool):
        assert steps is not None
        return next(steps)
    return Busy(_words(job, config)) if job.queue is Queue.MEMORY else Busy()


def _words(job: Job, config: GemmConfig) -> int:
    """Return the words that a transfer moves."""
    moved = job.instruction
    if isinstance(moved, LoadWeights):
        core_bits = _bank_bits(Unit(moved.unit), config)
        return moved.n_lines * -(-moved.n_banks * core_bits // _WORD_BITS)
    if isinstance(moved, LoadTable):
        return moved.n_entries
    if isinstance(moved, LoadLookup):
        return _LOOKUP_WORDS
    if isinstance(moved, Sync):
        return 0
    assert isinstance(moved, LoadRows | LoadResidual | LoadInstructions | Store)
    return moved.n_words


def _bank_bits(unit: Unit, config: GemmConfig) -> int:
    if unit is Unit.LUT:
        assert config.lut is not None
        return config.lut.word_bits
    assert config.dsp is not None
    return 8 * config.dsp.n_inputs


def _of_units(schedules: Sequence[LayerSchedule], queue: Queue, config: GemmConfig) -> Iterator[Duration]:
    """Yield the durations of all steps of a core's window unit or array, layer after layer."""
    is_window = queue in _WINDOWS.values()
    unit = next(unit for unit, own in (_WINDOWS if is_window else _COMPUTES).items() if own is queue)
    for layer in schedules:
        for part in layer.units:
            if part.unit is not unit:
                continue
            if isinstance(part.nest, ProductSchedule):
                yield from (_expansions if is_window else _products)(part.nest, config)
            elif isinstance(part.nest, DepthwiseSchedule):
                yield from _columns(part, layer.geometry, config, is_window=is_window)


def _expansions(nest: ProductSchedule, config: GemmConfig) -> Iterator[Busy]:
    for step in nest.steps():
        if step.is_expanded:
            chunk = nest.k_chunks[step.k]
            segments = nest.segments[chunk.first_segment : chunk.first_segment + chunk.n_segments]
            if nest.unit is Unit.LUT:  # plane by plane
                cycles = nest.element_bits * sum(-(-n // config.fill_bits) for n in segments)
            else:
                cycles = sum(-(-n * nest.element_bits // config.fill_bits) for n in segments)
            yield Busy(WINDOW_STARTUP_CYCLES + len(step.pixels) * cycles)


def _products(nest: ProductSchedule, config: GemmConfig) -> Iterator[Tiles]:
    for step in nest.steps():
        chunk = nest.k_chunks[step.k]
        stripes = _pieces(len(step.pixels), nest.stripe_pixels)
        filters = [len(nest.filters(range(tile, tile + 1))) for tile in step.tiles]
        execute = (chunk.n_words * nest.word_cycles,) * (len(stripes) * len(filters))
        results = tuple(pixels * -(-n // config.n_lanes) for n in filters for pixels in stripes)
        is_last = step.k == len(nest.k_chunks) - 1
        yield Tiles(execute, results if is_last else (), opens=step.k == 0)


def _pieces(n: int, size: int) -> list[int]:
    return [min(size, n - start) for start in range(0, n, size)]


def _columns(part: UnitSchedule, geometry: Geometry, config: GemmConfig, *, is_window: bool) -> Iterator[Duration]:
    """Yield the steps of a depthwise layer: chunk of blocks, output rows, block, part of the columns."""
    nest = part.nest
    assert isinstance(nest, DepthwiseSchedule)
    assert config.dsp is not None
    (height, width), stride = geometry.kernel, geometry.stride[1]
    column = height * -(-width // config.dsp.n_columns)  # cycles of one column of the input
    for chunk in nest.chunks:
        for n_rows in _pieces(geometry.output_size[0], nest.rows_per_step):
            for block in chunk:
                n_channels = len(nest.blocks[block][1])
                for n in map(len, nest.column_parts):
                    if is_window:
                        fills = -(-n_channels * nest.element_bits // config.fill_bits)
                        columns = (n - 1) * stride + width
                        yield Busy(WINDOW_STARTUP_CYCLES + n_rows * columns * height * fills)
                    else:
                        execute = (width * column, *[stride * column] * (n - 1))
                        yield Tiles(execute, (n_rows * -(-n_channels // config.n_lanes),) * n)


def _pools(schedules: Sequence[LayerSchedule], jobs: Sequence[Job], config: GemmConfig) -> Iterator[Busy]:
    """Yield the durations of the vector unit's jobs; a layer's are those between two changes of the layer's number."""
    layers = (layer for layer in schedules if any(isinstance(part.nest, PoolSchedule) for part in layer.units))
    number = -1
    for job in jobs:
        pool = job.instruction
        if not isinstance(pool, Pool):
            continue
        if pool.layer != number:
            number, layer = pool.layer, next(layers)
        yield Busy(POST_STARTUP_CYCLES + pool.n_pixels * _pooled_pixel(layer, pool.n_channels, config))


def _pooled_pixel(layer: LayerSchedule, n_channels: int, config: GemmConfig) -> int:
    """Return the cycles of one pixel: whole words of channels, and the rest of them."""
    nest, n_taps = layer.units[0].nest, layer.geometry.kernel[0] * layer.geometry.kernel[1]
    assert isinstance(nest, PoolSchedule)
    word = config.vector_word_bits // nest.element_bits
    n_words, rest = divmod(n_channels, word)
    whole = n_words * max(n_taps, -(-word // config.n_vector_lanes))
    return whole + (max(n_taps, -(-rest // config.n_vector_lanes)) if rest else 0)
