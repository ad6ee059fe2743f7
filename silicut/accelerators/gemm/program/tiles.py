"""How instructions fall into tiles, stripes and words for one build."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.program.compute_instructions import Depthwise, Gemm, SetProduct, SetTaps
from silicut.accelerators.gemm.program.queues import Unit
from silicut.accelerators.gemm.program.registers import Windows
from silicut.accelerators.gemm.program.transfers import bank_bits
from silicut.accelerators.gemm.program.window_instructions import Expand, ExpandColumns


@dataclass(frozen=True)
class CoreShape:
    """What programs must know of a core.

    Attributes:
        n_rows: output pixels of a stripe, one LHS bank each.
        n_filters: filters of a tile.
        n_banks: RHS banks.
        n_passes: filters of a tile that share a bank.
        lhs_depth, rhs_depth: words of a bank.
        bank_bits: width of a word.
        n_accumulator_banks: tiles whose sums are held at once.
    """

    n_rows: int
    n_filters: int
    n_banks: int
    n_passes: int
    lhs_depth: int
    rhs_depth: int
    bank_bits: int
    n_accumulator_banks: int

    @classmethod
    def of(cls, unit: Unit, config: GemmConfig) -> CoreShape:
        """Return the shape of a core of a build.

        Raises:
            ValueError: the build lacks it.
        """
        bits = bank_bits(unit, config)
        if unit is Unit.LUT:
            lut = config.lut
            assert lut is not None
            depths = (lut.lhs_depth, lut.rhs_depth)
            return cls(lut.n_rows, lut.n_columns, lut.n_columns, 1, *depths, bits, lut.n_accumulator_banks)
        dsp = config.dsp
        assert dsp is not None
        depths = (dsp.lhs_depth, dsp.rhs_depth)
        return cls(dsp.n_rows, dsp.n_outputs, dsp.n_columns, dsp.n_passes, *depths, bits, dsp.n_accumulator_banks)

    def n_stripes(self, gemm: Gemm | Expand) -> int:
        """Return into how many stripes pixels fall."""
        return -(-gemm.n_pixels // self.n_rows)

    def n_tiles(self, gemm: Gemm) -> int:
        """Return into how many tiles filters fall."""
        return -(-gemm.n_filters // self.n_filters)

    def tiles(self, gemm: Gemm) -> Iterator[tuple[int, int]]:
        """Yield the valid pixels and valid filters of every tile in the order of execution."""
        for filters in _parts(gemm.n_filters, self.n_filters):
            for pixels in _parts(gemm.n_pixels, self.n_rows):
                yield pixels, filters


def _parts(n: int, size: int) -> Iterator[int]:
    yield from (min(size, n - start) for start in range(0, n, size))


def is_bit_serial(unit: Unit) -> bool:
    """Tell whether banks of a core hold planes of numbers, one a word, instead of numbers."""
    return unit is Unit.LUT


def lhs_row_words(expand: Expand, windows: Windows, shape: CoreShape, unit: Unit) -> int:
    """Return the words t_k of one plane (LUT) or of all elements (DSP) of a row that an expansion makes."""
    segments = windows.segments[expand.first_segment : expand.first_segment + expand.n_segments]
    bits = 1 if is_bit_serial(unit) else windows.map.bits
    return -(-sum(segment.n_elements for segment in segments) * bits // shape.bank_bits)


def lhs_stripe_words(n_words: int, bits: int, unit: Unit) -> int:
    """Return how many words of a bank a stripe of rows of t_k words takes."""
    return n_words * bits if is_bit_serial(unit) else n_words


def rhs_tile_lines(product: SetProduct, shape: CoreShape, unit: Unit) -> int:
    """Return how many lines of the RHS banks a tile of filters takes."""
    return product.n_words * (product.rhs_bits if is_bit_serial(unit) else shape.n_passes)


def n_input_columns(n_columns: int, kernel_width: int, stride_x: int) -> int:
    """Return how many input columns some neighbouring output columns read."""
    return (n_columns - 1) * stride_x + kernel_width


def columns_lhs_words(expand: ExpandColumns, windows: Windows) -> int:
    """Return how many words of a bank an expansion by columns fills."""
    kernel = windows.kernel
    return n_input_columns(expand.n_columns, kernel.width, kernel.stride_x) * kernel.height


def depthwise_lhs_words(depthwise: Depthwise, taps: SetTaps) -> int:
    """Return how many words of a bank a depthwise instruction reads."""
    return n_input_columns(depthwise.n_columns, taps.width, taps.stride_x) * taps.height


def depthwise_turns(taps: SetTaps, shape: CoreShape) -> int:
    """Return in how many turns the taps of a row share the columns."""
    return -(-taps.width // shape.n_banks)
