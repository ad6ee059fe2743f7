"""What each engine does for an image, step by step: the loop nest that all figures of cycles and bytes mean.

    for the layers of the engine:
        for each tile of Tr x Tc pixels of the output map:
            for each Tm outputs:
                for each Tn inputs:                                  one step
                    load the inputs' tile and the weights; compute Tr Tc K K cycles, keeping sums
                store the tile of the outputs

Tiles at the rim compute and store fewer pixels; what is loaded is counted whole, padding included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from silicut.accelerators.multi_engine.config import PRECISIONS, EngineConfig, MultiEngineConfig, PlacedLayer
from silicut.accelerators.multi_engine.cost.buffers import input_tile_words
from silicut.accelerators.multi_engine.layers import ConvLayer, by_name
from silicut.accelerators.system import Step, Task


@dataclass(frozen=True)
class EngineProgram:
    """An engine as a system sees it: an `Accelerator`.

    Attributes:
        name: "engine 0", "engine 1" ...
        tasks: its layers.
    """

    name: str
    tasks: tuple[Task, ...]


def programs(config: MultiEngineConfig, layers: Sequence[ConvLayer]) -> tuple[EngineProgram, ...]:
    """Return what the engines of a configuration do for each image."""
    known, n_bytes = by_name(layers), PRECISIONS[config.precision].n_bytes
    return tuple(
        EngineProgram(
            f"engine {number}",
            tuple(
                Task(placed.name, known[placed.name].inputs, tuple(steps(known[placed.name], placed, engine, n_bytes)))
                for placed in engine.layers
            ),
        )
        for number, engine in enumerate(config.engines)
    )


def steps(layer: ConvLayer, placed: PlacedLayer, engine: EngineConfig, n_bytes: int) -> Iterator[Step]:
    """Yield the steps of a layer for one image.

    Args:
        layer: to execute.
        placed: its tiles.
        engine: that executes it.
        n_bytes: of a number.
    """
    tile_words = int(input_tile_words(layer, placed.tile_rows, placed.tile_columns))
    for rows in _parts(layer.height, placed.tile_rows):
        for columns in _parts(layer.width, placed.tile_columns):
            for n_outputs in _parts(layer.out_channels, engine.n_outputs):
                inputs = list(_parts(layer.in_channels, engine.n_inputs))
                for i, n_inputs in enumerate(inputs):
                    loaded = n_inputs * (tile_words + n_outputs * layer.n_taps)
                    stored = n_outputs * rows * columns if i == len(inputs) - 1 else 0
                    yield Step(loaded * n_bytes, rows * columns * layer.n_taps, stored * n_bytes)


def _parts(total: int, size: int) -> Iterator[int]:
    """Yield the lengths of the pieces of a whole that is cut into pieces of a size."""
    for start in range(0, total, size):
        yield min(size, total - start)
