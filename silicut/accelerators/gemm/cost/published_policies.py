"""ResNet-18 as the released model of N3H-Core sees it, and the policies of which figures are known.

Layers are in the order of the released tables: the stem, then the convolutions of each stage with the shortcut of a stage's
first block third, then the classifier.
"""

from __future__ import annotations

from itertools import chain, repeat

from silicut.accelerators.gemm.cost.published import Gemm, LayerPolicy


def _stage(m: int, n: int) -> tuple[Gemm, ...]:
    """Return a stage that halves the map: two convolutions, the shortcut, two convolutions."""
    half = n // 2
    return Gemm(m, 9 * half, n), Gemm(m, 9 * n, n), Gemm(m, half, n), Gemm(m, 9 * n, n), Gemm(m, 9 * n, n)


RESNET18 = (
    Gemm(12544, 147, 64),
    *repeat(Gemm(3136, 576, 64), 4),
    *chain.from_iterable(_stage(m, n) for m, n in ((784, 128), (196, 256), (49, 512))),
    Gemm(1, 512, 1000),
)
"""ResNet-18 at 224 x 224: 21 products, 1.814e9 multiply-accumulates."""

PUBLISHED_POLICY = tuple(
    LayerPolicy(*row)
    for row in (
        (8, 8, 0.25),
        *repeat((3, 7, 0.50), 4),
        (2, 3, 0.75), (2, 3, 0.88), (4, 8, 0.13), (3, 3, 0.75), (2, 3, 0.75),
        (2, 3, 0.82), (3, 3, 0.81), (4, 7, 0.06), (3, 3, 0.81), (2, 5, 0.82),
        (2, 2, 0.85), (3, 2, 0.90), (4, 6, 0.05), (3, 3, 0.85), (2, 4, 0.82),
        (8, 8, 0.30),
    )
)  # fmt: skip
"""What the released search found (README of its repository)."""

UNIFORM_POLICY = tuple(
    LayerPolicy(bits, bits, lut_frac)
    for bits, lut_frac in zip(
        (8, *repeat(4, 19), 8),
        (0, *repeat(0.5, 5), 0.66, 0.13, 0.66, 0.66, 0.94, 0.75, 0.13, 0.75, 0.75, 0.72, 0.85, 0.46, 0.85, 0.85, 0.28),
        strict=True,
    )
)
"""8 bits at the ends and 4 between, with the split of the released training logs."""
