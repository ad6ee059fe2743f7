"""Mix&Match's builds, modelled: the baseline that divides a layer's filters by a ratio fixed for the whole part.

Mix&Match (Chang et al., HPCA 2021, arXiv 2012.04240) computes some filters with fixed-point weights on DSP slices and the
others with weights that are sums of two powers of two on look-up tables, in one ratio for all layers. Its builds compute
`n_rows` x `n_inputs` x (`n_fixed` + `n_shifted`) products of 4 x 4 bits a cycle at 100 MHz.

*Modelled* here is execution alone: m / rows, k / inputs, n / filters, each rounded up, without any transfer. What the
paper's tables say is *recalled*, not read; the two stand side by side in reports, never mixed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from silicut.accelerators.gemm.cost.published import Gemm

CLOCK_HZ = 100e6


@dataclass(frozen=True, kw_only=True)
class MixMatchDesign:
    """One build.

    Attributes:
        name: as in the paper.
        part: on which it runs.
        n_rows: output pixels at once.
        n_inputs: inputs of a filter at once.
        n_fixed: filters at once on DSP slices.
        n_shifted: filters at once on look-up tables.
        recalled_ms: of ResNet-18 at 224 in the paper, from memory; None where no figure is known.
    """

    name: str
    part: str
    n_rows: int
    n_inputs: int
    n_fixed: int
    n_shifted: int
    recalled_ms: float | None = None

    @property
    def peak_gops(self) -> float:
        """1e9 operations a second, a product and its sum being two."""
        return 2 * self.n_rows * self.n_inputs * (self.n_fixed + self.n_shifted) * CLOCK_HZ / 1e9

    def cycles(self, gemm: Gemm) -> int:
        """Return the cycles of a layer's execution: both kinds of filters side by side, as many tiles of each.

        Example:
            >>> D1_1.cycles(Gemm(m=49, k=64, n=20))
            392
        """
        tile = self.n_fixed + self.n_shifted
        return math.ceil(gemm.m / self.n_rows) * math.ceil(gemm.k / self.n_inputs) * math.ceil(gemm.n / tile)

    def modelled_ms(self, layers: Sequence[Gemm]) -> float:
        """Return the milliseconds of a network's execution, transfers left out."""
        return sum(map(self.cycles, layers)) * 1e3 / CLOCK_HZ


def _design(name: str, n_rows: int, n_shifted: int, recalled_ms: float | None = None) -> MixMatchDesign:
    part = "xc7z020" if name.startswith("D1") else "xc7z045"
    return MixMatchDesign(
        name=name, part=part, n_rows=n_rows, n_inputs=16, n_fixed=16, n_shifted=n_shifted, recalled_ms=recalled_ms
    )


D1_1, D1_2, D1_3 = _design("D1-1", 1, 0), _design("D1-2", 1, 16), _design("D1-3", 1, 24, 47.1)
D2_1, D2_2, D2_3 = _design("D2-1", 4, 0), _design("D2-2", 4, 16), _design("D2-3", 4, 32, 10.1)

DESIGNS = (D1_1, D1_2, D1_3, D2_1, D2_2, D2_3)
"""All builds of the paper, by part and share of filters on look-up tables."""
