"""The builds among which a design is chosen: a committed grid of shapes, memories and lanes.

Most points of the grid exceed any given part; they are points all the same, and a search has to find that out. Both cores
are always there, slices compute two filters at once, and what the grid leaves open (ports, clock) belongs to the board.
"""

from __future__ import annotations

from silicut.accelerators.gemm.config import Buffers, DspCore, GemmConfig, LutCore, Memory
from silicut.search import Parameter, Point, Space

LUT_CORE = ("lut_rows", "lut_columns", "lut_word_bits")
LUT_DEPTHS = ("lut_lhs_depth", "lut_rhs_depth")
DSP_CORE = ("dsp_rows", "dsp_inputs", "dsp_outputs", "dsp_passes")
DSP_DEPTHS = ("dsp_lhs_depth", "dsp_rhs_depth")
ROW_BUFFERS = ("feature_words", "residual_words", "output_words")
TABLE = "table_entries"

_LEVELS: dict[str, tuple[int, ...]] = {
    "lut_rows": (2, 4, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28),
    "lut_columns": (4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24, 28, 32),
    "lut_word_bits": (64, 96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 576),
    "lut_lhs_depth": (512, 1024, 1536, 2048),
    "lut_rhs_depth": (512, 1024, 1536, 2048),
    "dsp_rows": (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16),
    "dsp_inputs": (4, 8, 12, 16, 24, 32),
    "dsp_outputs": (4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64),
    "dsp_passes": (2, 4),
    "dsp_lhs_depth": (512, 1024, 1536, 2048),
    "dsp_rhs_depth": (512, 1024, 1536, 2048),
    "n_lanes": (2, 3, 4, 6, 8, 12, 16, 24),
    "n_vector_lanes": (2, 4, 8),
    "adds_in_luts": (0, 1),
    "fill_bits": (64, 128, 192, 256, 512),
    "feature_words": (1024, 2048, 3072, 4096, 6144, 8192),
    "residual_words": (512, 1024, 1536, 2048, 4096),
    "output_words": (512, 1024, 1536, 2048, 4096),
    "table_entries": (256, 512, 1024),
}

GRID = Space(tuple(Parameter(name, levels) for name, levels in _LEVELS.items()))
"""The committed grid."""

_N3H_LEVELS = {
    "lut_word_bits": tuple(range(64, 257, 64)),
    "lut_rows": tuple(range(1, 51)),
    "lut_columns": tuple(range(1, 51)),
    "lut_lhs_depth": tuple(range(1024, 50 * 1024 + 1, 1024)),
    "dsp_lhs_depth": tuple(range(1024, 25 * 1024 + 1, 1024)),
    "dsp_rhs_depth": tuple(range(1024, 4 * 1024 + 1, 1024)),
}
_N3H_FIXED = {
    "lut_rhs_depth": 1024,
    "dsp_rows": 1,
    "dsp_inputs": 16,
    "dsp_outputs": 16,
    "dsp_passes": 2,
    "n_lanes": 4,
    "n_vector_lanes": 4,
    "adds_in_luts": 0,
    "fill_bits": 128,
    "feature_words": 4096,
    "residual_words": 1024,
    "output_words": 2048,
    "table_entries": 1024,
}

N3H_SPACE = Space(
    tuple(Parameter(name, levels) for name, levels in _N3H_LEVELS.items())
    + tuple(Parameter(name, (level,)) for name, level in _N3H_FIXED.items())
)
"""The six hardware actions of N3H-Core's released search (arXiv 2112.08193), in its order; the rest is fixed."""


def config_of(point: Point, memory: Memory | None = None, clock_hz: float = 100e6, name: str = "design") -> GemmConfig:
    """Return the build that a point stands for.

    Args:
        point: of `GRID` or `N3H_SPACE`.
        memory: of the board; two ports by default.
        clock_hz: assumed.
        name: for tables.
    """
    at = {parameter: int(level) for parameter, level in point.items()}
    lut = LutCore(
        n_rows=at["lut_rows"],
        n_columns=at["lut_columns"],
        word_bits=at["lut_word_bits"],
        lhs_depth=at["lut_lhs_depth"],
        rhs_depth=at["lut_rhs_depth"],
        n_accumulator_banks=4,
    )
    dsp = DspCore(
        n_rows=at["dsp_rows"],
        n_inputs=at["dsp_inputs"],
        n_outputs=at["dsp_outputs"],
        n_passes=at["dsp_passes"],
        lhs_depth=at["dsp_lhs_depth"],
        rhs_depth=at["dsp_rhs_depth"],
        macs_per_slice_4bit=4,
        macs_per_slice_8bit=2,
    )
    buffers = Buffers(**{field: at[field] for field in (*ROW_BUFFERS, TABLE)})
    return GemmConfig(
        name=name,
        lut=lut,
        dsp=dsp,
        memory=memory or Memory(),
        buffers=buffers,
        n_lanes=at["n_lanes"],
        n_vector_lanes=at["n_vector_lanes"],
        adds_in_luts=bool(at["adds_in_luts"]),
        fill_bits=at["fill_bits"],
        clock_hz=clock_hz,
    )
