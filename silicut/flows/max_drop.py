"""The fastest network that loses at most so much accuracy: which latency that takes, found before the full recovery.

What a network will be right on after its full recovery cannot be known before, and to fine-tune fully for every budget tried
is too slow. So a budget is judged by its plan after a *short* recovery: batch normalisation recalibrated, then a few epochs
of the recipe with its schedule shortened. A full recovery gains more, so the latency found is rather too high than too
low. The accuracy is that which the run reports, on the evaluation images, since that is what the user's limit is about;
the final network is trained anew from the dense weights, and its own drop is reported whatever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from silicut.flows.budget import Budget
from silicut.flows.latency import Latencies
from silicut.flows.verify import Verifier
from silicut.records import DoesNotFit, Tracker
from silicut.search import cheapest

_N_TRIES = 5  # each halves the range of latencies that is left


@dataclass(frozen=True)
class Drop:
    """One latency that was tried.

    Attributes:
        limit_frac: of the dense latency, predicted.
        drop: what the plan loses after its short recovery, in the unit of the quality.
        is_allowed: whether that is within the limit.
    """

    limit_frac: float
    drop: float
    is_allowed: bool


def fastest_within(verifier: Verifier, allowed: float, drop_of: Callable[[Mapping[str, int]], float]) -> tuple[Drop, ...]:
    """Return the latencies that were tried, by bisection between the least that can be reached and the dense one.

    It takes a smaller latency to lose more; where noise breaks that, the smallest latency seen to lose little enough counts.

    Args:
        verifier: solves for a latency.
        allowed: the greatest drop.
        drop_of: what a plan loses after a short recovery.

    Raises:
        DoesNotFit: every latency that was tried loses more; the message says what the largest of them loses.
    """
    low, high = _least_frac(verifier), 1.0
    tracker = Tracker(verifier.progress, "bisect the latency", _N_TRIES)
    tried: list[Drop] = []
    for _ in range(_N_TRIES):
        middle = (low + high) / 2
        latencies = _at(verifier, middle)
        drop = drop_of(verifier.solve(latencies, latencies.limit).levels)
        tried.append(Drop(middle, drop, drop <= allowed))
        low, high = (low, middle) if tried[-1].is_allowed else (middle, high)
        tracker.step(f"{100 * middle:.1f} % of dense loses {drop:.4g}")
    if not any(each.is_allowed for each in tried):
        last = max(tried, key=lambda each: each.limit_frac)
        raise DoesNotFit(
            f"even at {100 * last.limit_frac:.1f} % of the dense latency the network loses {last.drop:.4g} after its short "
            f"recovery, above the {allowed:.4g} allowed; allow more, or raise the epochs of the short recovery (drop_epochs)"
        )
    return tuple(tried)


def _at(verifier: Verifier, frac: float) -> Latencies:
    profiled = [target.profile.dense_ms for target in verifier.targets]
    return Latencies.within(verifier.targets, verifier.options.mode, Budget(100 * frac, True), profiled)


def _least_frac(verifier: Verifier) -> float:
    latencies = _at(verifier, 1.0)
    problem = verifier.problem(latencies, 1.0)
    alone = [cheapest(problem, key, verifier.options.time_limit_s).costs[key] for key in latencies.resources]
    return max(alone) / latencies.unit_ms
