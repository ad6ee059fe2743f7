"""Small random layers and problems, and searches that try everything: references written apart from the package."""

import itertools
import math

from silicut.accelerators.multi_engine.config import PRECISIONS
from silicut.accelerators.multi_engine.layers import ConvLayer
from silicut.accelerators.multi_engine.partition import Limits, PartitionProblem


def random_layers(rng, n, most_channels=6, most_side=7):
    """Return a chain of layers."""
    return tuple(
        ConvLayer(
            name=f"l{i}",
            inputs=(f"l{i - 1}",) if i else (),
            in_channels=int(rng.integers(1, most_channels + 1)),
            out_channels=int(rng.integers(1, most_channels + 1)),
            height=int(rng.integers(1, most_side + 1)),
            width=int(rng.integers(1, most_side + 1)),
            kernel=(int(rng.choice((1, 3, 5))),) * 2,
            strides=(int(rng.choice((1, 2))),) * 2,
        )
        for i in range(n)
    )


def random_problem(rng, n_layers, max_engines=3, **memory):
    """Return a problem of few slices."""
    precision = PRECISIONS[str(rng.choice(tuple(PRECISIONS)))]
    n_dsps = int(rng.integers(4, 20)) * precision.n_dsps_per_mac
    return PartitionProblem(random_layers(rng, n_layers), precision, Limits(n_dsps=n_dsps, **memory), max_engines)


def cycles(layer, n_in, n_out):
    """Return the cycles of a layer by its loop nest."""
    steps = len(range(0, layer.in_channels, n_in)) * len(range(0, layer.out_channels, n_out))
    return layer.height * layer.width * layer.kernel[0] * layer.kernel[1] * steps


def bank_blocks(n_words, is_of_sums):
    """Return the blocks of a bank by the rules as they are stated."""
    if n_words <= 10:
        return 0
    if n_words <= 256:
        return 2 if is_of_sums else 1
    return 2 * math.ceil(n_words / 512)


def engine_blocks(n_in, n_out, layers, input_depth, sum_depth, precision):
    """Return the blocks of an engine with banks of some depths."""
    side_by_side = 2 if precision.bits == 16 else 1
    taps = max(layer.kernel[0] * layer.kernel[1] for layer in layers)
    banks = ((n_in, input_depth, False), (n_in * n_out, taps, False), (n_out, sum_depth, True))
    return sum(math.ceil(n / side_by_side) * bank_blocks(words, is_sums) for n, words, is_sums in banks)


def words(layer, rows, columns, n_out):
    """Return the words that a layer moves, counted tile by tile."""
    moved = 0
    for top, left in itertools.product(range(0, layer.height, rows), range(0, layer.width, columns)):
        high, wide = min(rows, layer.height - top), min(columns, layer.width - left)
        for first in range(0, layer.out_channels, n_out):
            n = min(n_out, layer.out_channels - first)
            tile = ((rows - 1) * layer.strides[0] + layer.kernel[0]) * ((columns - 1) * layer.strides[1] + layer.kernel[1])
            moved += layer.in_channels * (tile + n * layer.kernel[0] * layer.kernel[1]) + n * high * wide
    return moved


def fewest_words(layer, n_out, input_depth, sum_depth):
    """Return the fewest words of any tile that fits into banks of some depths; infinite if none does."""
    found = math.inf
    for rows, columns in itertools.product(range(1, layer.height + 1), range(1, layer.width + 1)):
        tile = ((rows - 1) * layer.strides[0] + layer.kernel[0]) * ((columns - 1) * layer.strides[1] + layer.kernel[1])
        if tile <= input_depth and rows * columns <= sum_depth:
            found = min(found, words(layer, rows, columns, n_out))
    return found


def runs(order, max_runs):
    """Yield every way to cut an order into at most some runs."""
    for n_cuts in range(min(max_runs, len(order))):
        for cuts in itertools.combinations(range(1, len(order)), n_cuts):
            yield [order[a:b] for a, b in zip((0, *cuts), (*cuts, len(order)), strict=True)]


def shapes(problem):
    """Return all sizes of an engine that there are slices for, whether useful or not."""
    most = problem.limits.n_dsps // problem.precision.n_dsps_per_mac
    widest = max(layer.in_channels for layer in problem.layers), max(layer.out_channels for layer in problem.layers)
    return [(a, b) for a in range(1, widest[0] + 1) for b in range(1, widest[1] + 1) if a * b <= most]


def least_epoch(problem, groups):
    """Return the least epoch of engines of any sizes for some groups of layers, slices alone limited."""
    most = problem.limits.n_dsps // problem.precision.n_dsps_per_mac
    best = {0: 0}  # slices -> epoch
    for group in groups:
        grown = {}
        for used, epoch in best.items():
            for a, b in shapes(problem):
                if used + a * b <= most:
                    longest = max(epoch, sum(cycles(problem.layers[i], a, b) for i in group))
                    grown[used + a * b] = min(longest, grown.get(used + a * b, longest))
        best = grown
    return min(best.values(), default=math.inf)
