"""Values from measured divergences: of one group or block at a time (sensitivity), and learned from random prunings.

A *divergence* is a number >= 0 that says how far a pruned network's outputs are from the dense one's. Both values are
measured once for a network and serve every budget. Here are the plans to measure and what is made of the numbers; who
measures them is no matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from silicut.compress.scores import GroupScore, Scores, with_block_removal
from silicut.graph import Block
from silicut.search import Variable

Levels = dict[str, int]

_WIDTH_FRACS = (0.25, 0.5, 0.75)  # of the channels, besides the smallest width
_KEPT_FRACS = (0.35, 1.0)  # of the channels of a random pruning, on average
_SPREAD_FRAC = 0.25  # of one group around that average
_REMOVED_FRAC = 0.2  # of the blocks of a random pruning, at most
_MAX_SCALE_RATIO = (
    10.0  # of a scale to the common one, either way: without it groups that random prunings leave open cost nothing
)
_COMMON_WEIGHT = 0.1  # how strongly scales are drawn to their common one, relative to what the prunings say


def sensitivity_plans(variables: Sequence[Variable], blocks: Sequence[Block]) -> tuple[Levels, ...]:
    """Return the plans whose divergences `sensitivity` needs: each group alone at up to 4 widths, each block alone removed.

    Args:
        variables: legal widths of every group, level 0 included where a block may go.
        blocks: the removable blocks.
    """
    dense = {v.name: v.levels[-1] for v in variables}
    plans = [dense | {v.name: width} for v in variables for width in _probed_widths(v)]
    return (*plans, *(dense | dict.fromkeys(block.inner_groups, 0) for block in blocks))


def sensitivity(
    variables: Sequence[Variable], blocks: Sequence[Block], orders: Scores, divergences: Sequence[float]
) -> dict[str, GroupScore]:
    """Return the scores whose value of a width is minus the divergence of pruning that group alone.

    Divergences are made monotone (a narrower group is never better) and interpolated by a monotone cubic (PCHIP) between
    the widths that were measured; below the smallest one they stay.

    Args:
        variables, blocks: as given to `sensitivity_plans`.
        orders: which channels each group loses first.
        divergences: of these plans, in order.
    """
    given = iter(divergences)
    scores = {}
    for variable in variables:
        widths = _probed_widths(variable)
        measured = [next(given) for _ in widths]
        n_channels = len(orders[variable.name].order)
        lost = _interpolated(widths, measured, variable.levels[-1], n_channels)
        scores[variable.name] = GroupScore(orders[variable.name].order, -lost)
    removal = {block.name: -next(given) for block in blocks}
    return with_block_removal(scores, blocks, lambda block: removal[block.name])


def _probed_widths(variable: Variable) -> tuple[int, ...]:
    legal = [level for level in variable.levels if level]
    wanted = (0.0, *(frac * legal[-1] for frac in _WIDTH_FRACS))
    nearest = {min(legal, key=lambda width: (abs(width - at), width)) for at in wanted}
    return tuple(sorted(nearest - {legal[-1]}))


def _interpolated(widths: Sequence[int], measured: Sequence[float], full: int, n_channels: int) -> np.ndarray:
    """Return the divergence at 0..n_channels kept channels; entry 0 is that of the smallest width."""
    from scipy.interpolate import PchipInterpolator

    if not widths:
        return np.zeros(n_channels + 1)
    finite = np.nan_to_num(np.array([*measured, 0.0]), posinf=max((m for m in measured if np.isfinite(m)), default=1.0))
    monotone = np.maximum.accumulate(np.maximum(finite, 0.0)[::-1])[::-1]
    at = np.clip(np.arange(n_channels + 1), widths[0], full)
    curve = PchipInterpolator([*widths, full], monotone)(at)
    lost: np.ndarray = np.maximum.accumulate(curve[::-1])[::-1]
    return lost


def random_plans(variables: Sequence[Variable], blocks: Sequence[Block], n_plans: int, seed: int = 0) -> tuple[Levels, ...]:
    """Return random prunings, from slight to strong, that differ in which groups they cut most.

    Args:
        variables: legal widths of every group.
        blocks: the removable blocks; few are removed.
        n_plans: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    return tuple(_random_plan(variables, blocks, rng) for _ in range(n_plans))


def _random_plan(variables: Sequence[Variable], blocks: Sequence[Block], rng: np.random.Generator) -> Levels:
    kept_frac, removed_frac = rng.uniform(*_KEPT_FRACS), rng.uniform(0.0, _REMOVED_FRAC)
    levels = {}
    for variable in variables:
        legal = [level for level in variable.levels if level]
        wanted = legal[-1] * (kept_frac + rng.uniform(-_SPREAD_FRAC, _SPREAD_FRAC))
        levels[variable.name] = min(legal, key=lambda width, at=wanted: abs(width - at))  # type: ignore[misc]
    for block in blocks:
        if rng.random() < removed_frac:
            levels |= dict.fromkeys(block.inner_groups, 0)
    return levels


def learned(base: Scores, blocks: Sequence[Block], plans: Sequence[Levels], divergences: Sequence[float]) -> Scores:
    """Return a value function with a scale of its own for every group and block, fitted to the divergences of plans.

    The divergence of a plan is regressed on the sum of scale x (value lost) by least squares on errors relative to the
    typical divergence. Scales are drawn to their common one and stay within a tenth and ten times of it (as LeGR ranks
    filters by a learned affine map of each layer, arXiv 1904.12368; here one factor, by regression).

    Args:
        base: the value function whose shape and order are taken.
        blocks: the removable blocks.
        plans: prunings that were measured.
        divergences: of the plans.
    """
    from scipy.optimize import lsq_linear

    names = [*base, *(f"{block.name} removed" for block in blocks)]
    lost = np.array([_losses(base, blocks, plan) for plan in plans])
    measured = np.array([d if np.isfinite(d) else np.nan for d in divergences])
    lost, measured = lost[np.isfinite(measured)], measured[np.isfinite(measured)]
    weight = 1.0 / (measured + max(float(np.median(measured)), 1e-12))
    total = lost.sum(axis=1) * weight
    common = max(float(total @ (measured * weight)) / max(float(total @ total), 1e-300), 1e-12)
    drawn = _COMMON_WEIGHT * np.sqrt((weight[:, None] ** 2 * lost**2).mean(axis=0)) + 1e-9
    rows = np.concatenate([weight[:, None] * lost, np.diag(drawn)])
    bounds = common / _MAX_SCALE_RATIO, common * _MAX_SCALE_RATIO
    fitted = lsq_linear(rows, np.concatenate([weight * measured, common * drawn]), bounds).x
    scales = dict(zip(names, fitted, strict=True))
    scores = {name: GroupScore(score.order, _scaled(score.values, scales[name])) for name, score in base.items()}
    removal = {block.name: scales[f"{block.name} removed"] * _removal(base, block) for block in blocks}
    return with_block_removal(scores, blocks, lambda block: removal[block.name])


def _scaled(values: np.ndarray, scale: float) -> np.ndarray:
    """Return what is lost relative to the whole group, scaled: 0 at the full width."""
    scaled: np.ndarray = scale * (values - values[-1])
    return scaled


def _losses(base: Scores, blocks: Sequence[Block], plan: Levels) -> list[float]:
    """Return what a plan loses of each group's value, then of each block's."""
    groups = [float(s.values[-1] - s.values[plan[name]]) if plan[name] else 0.0 for name, s in base.items()]
    gone = [all(plan[name] == 0 for name in block.inner_groups) for block in blocks]
    return groups + [-_removal(base, block) * is_gone for block, is_gone in zip(blocks, gone, strict=True)]


def _removal(base: Scores, block: Block) -> float:
    return sum(float(base[name].values[0] - base[name].values[-1]) for name in block.inner_groups)


def value_of(scores: Scores, plan: Mapping[str, int]) -> float:
    """Return the value of a plan: the sum over groups, as a problem adds it up."""
    return sum(float(scores[name].values[level]) for name, level in plan.items())


def rank_correlation(values: Sequence[float], divergences: Sequence[float]) -> float:
    """Return Spearman's rank correlation of values with minus the divergences: 1 where every better value means less loss.

    Example:
        >>> rank_correlation([3.0, 2.0, 1.0], [0.1, 0.2, 0.7])
        1.0
    """
    from scipy.stats import rankdata

    ranks = np.array([rankdata(values), rankdata(-np.asarray(divergences))])
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    return float(ranks[0] @ ranks[1]) / size if size else 0.0
