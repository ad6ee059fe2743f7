"""Which value function to trust for this network: the one whose plan keeps most accuracy, tried before any training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from silicut.compress import Restrictions, Scores, kept_channels, pruned, removed_by
from silicut.flows.pruning_problem import VALUES, Subject, pruning_problem
from silicut.graph import to_module
from silicut.records import Progress, Tracker, silent
from silicut.search import solve
from silicut.targets.profile import Profile
from silicut.training import Metric, TrainingData, evaluate, recalibrate_batch_norm

AUTO = "auto"
WITHOUT_DATA = "log-energy"
_N_IMAGES, _BATCH_SIZE = 2000, 250


def accuracy_by_value(  # noqa: PLR0913
    subject: Subject,
    profile: Profile,
    scores_of: Callable[[str], Scores],
    data: TrainingData,
    limit_frac: float,
    *,
    restrictions: Restrictions,
    solver: str,
    metric: Metric | None = None,
    progress: Progress = silent,
) -> Mapping[str, float]:
    """Return what the plan of each value function is right on, after recalibrating batch normalisation, untrained.

    All plans are solved for the same predicted latency. Training images are used, those of another epoch than the ones
    recalibrated on: the evaluation images decide nothing.

    Args:
        subject: the network.
        profile: made on it.
        scores_of: the scores by name of a value function.
        data: training images.
        limit_frac: the budget as a fraction of the dense latency.
        restrictions, solver, metric: as in the run.
        progress: told after each value function.

    Returns:
        For each name in `VALUES`, the fraction of 2,000 training images.
    """
    tracker = Tracker(progress, "compare value functions", len(VALUES))
    found = {}
    for value in VALUES:
        scores = scores_of(value)
        levels = solve(pruning_problem(subject, profile, scores, restrictions, limit_frac * profile.dense_ms), solver).levels
        module = to_module(pruned(subject.network, kept_channels(levels, scores), removed_by(levels, subject.blocks)))
        recalibrate_batch_norm(module, data, _N_IMAGES, _BATCH_SIZE)
        batches = itertools.islice(data.training_batches(1, _BATCH_SIZE, 0), _N_IMAGES // _BATCH_SIZE)
        found[value] = evaluate(module, batches, metric).accuracy_frac
        tracker.step(f"{value}: {100 * found[value]:.1f} %")
    return found
