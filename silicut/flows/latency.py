"""Where a network must be fast, and what a latency budget means there: on one engine, on all, or on a mix of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from silicut.flows.budget import Budget
from silicut.flows.platform import Candidate, Platform
from silicut.flows.pruning_problem import LATENCY
from silicut.flows.stages import PRUNED
from silicut.records import Progress
from silicut.search import Cost, CostSource, Variable
from silicut.targets import Measurement, MeasureOptions
from silicut.targets.profile import Profile

WORST, WEIGHTED = "worst", "weighted"


@dataclass(frozen=True)
class Target:
    """One platform with the profile of the network on it.

    Attributes:
        platform: where the network runs.
        profile: made there.
        weight: of its latency in a weighted sum, > 0.
    """

    platform: Platform
    profile: Profile
    weight: float = 1.0

    @property
    def name(self) -> str:
        """The platform's name."""
        return self.platform.name


@dataclass(frozen=True)
class Latencies:
    """A latency budget on one or more engines.

    Latencies are fractions here. "worst": every engine within its budget, so the fraction is the greatest of all engines'.
    "weighted": the sum of weight x fraction is within the budget. With a budget in milliseconds the fractions are of the
    slowest dense network ("worst") or of the weighted sum of all dense ones.

    Attributes:
        targets: at least one.
        mode: "worst" or "weighted"; the same for one engine.
        shares: what the fraction of an engine's own dense latency is multiplied by, one for each target.
        limit: the budget as such a fraction.
    """

    targets: tuple[Target, ...]
    mode: str
    shares: tuple[float, ...]
    limit: float

    @classmethod
    def within(cls, targets: Sequence[Target], mode: str, budget: Budget, dense_ms: Sequence[float]) -> Latencies:
        """Return what a budget means on some engines.

        Args:
            targets: the engines.
            mode: "worst" or "weighted".
            budget: per cent of each dense latency, or milliseconds (of the weighted mean where weighted).
            dense_ms: of the dense network on each engine, now.
        """
        total = sum(target.weight for target in targets)
        weights = [target.weight / total if mode == WEIGHTED else 1.0 for target in targets]
        if budget.is_relative:
            return cls(tuple(targets), mode, tuple(weights), budget.limit_frac(1.0))
        each = [weight * ms for weight, ms in zip(weights, dense_ms, strict=True)]
        unit_ms = sum(each) if mode == WEIGHTED else max(each)
        return cls(tuple(targets), mode, tuple(ms / unit_ms for ms in each), budget.limit_frac(unit_ms))

    @property
    def unit_ms(self) -> float:
        """Milliseconds of the first engine's profile: what a fraction of 1 costs in a problem."""
        return self.targets[0].profile.dense_ms

    def sources(self) -> dict[str, CostSource]:
        """Return the cost source of each latency resource: one where there is one engine or a weighted sum."""
        scaled = [
            _Scaled((target.profile,), (share * self.unit_ms / target.profile.dense_ms,))
            for target, share in zip(self.targets, self.shares, strict=True)
        ]
        if len(scaled) == 1:
            return {LATENCY: scaled[0]}
        if self.mode == WEIGHTED:
            return {LATENCY: _Scaled(tuple(s.sources[0] for s in scaled), tuple(s.factors[0] for s in scaled))}
        return {f"{LATENCY} on {target.name}": source for target, source in zip(self.targets, scaled, strict=True)}

    def budgets(self, target_frac: float) -> dict[str, float]:
        """Return the budget of each latency resource at a fraction."""
        return dict.fromkeys(self.resources, target_frac * self.unit_ms)

    @property
    def resources(self) -> tuple[str, ...]:
        """The names of the latency resources in a problem."""
        if len(self.targets) == 1 or self.mode == WEIGHTED:
            return (LATENCY,)
        return tuple(f"{LATENCY} on {target.name}" for target in self.targets)

    def predicted_frac(self, costs: Mapping[str, float]) -> float:
        """Return the predicted fraction of a solution's costs."""
        return max(costs[resource] for resource in self.resources) / self.unit_ms

    def binding_resource(self, costs: Mapping[str, float]) -> str:
        """Return the latency resource of which a solution uses most."""
        return max(self.resources, key=lambda resource: costs[resource])

    def ratio(self, measurements: Sequence[Measurement]) -> float:
        """Return the measured fraction of the pruned network, one measurement for each engine."""
        parts = [share * m.timings[PRUNED].ratio for share, m in zip(self.shares, measurements, strict=True)]
        return sum(parts) if self.mode == WEIGHTED else max(parts)

    def measure(
        self, candidates: Mapping[str, Candidate], options: MeasureOptions, progress: Progress
    ) -> tuple[Measurement, ...]:
        """Measure networks beside the dense one on every platform, in order."""
        return tuple(target.platform.measure(candidates, options, progress) for target in self.targets)


@dataclass(frozen=True)
class _Scaled:
    """A weighted sum of cost sources."""

    sources: tuple[CostSource, ...]
    factors: tuple[float, ...]

    @property
    def variables(self) -> tuple[Variable, ...]:
        return tuple(variable for source in self.sources for variable in source.variables)

    def cost(self, variables: Sequence[Variable], gates: Mapping[str, str]) -> Cost:
        costs = [
            source.cost(variables, gates).scaled(factor) for source, factor in zip(self.sources, self.factors, strict=True)
        ]
        return Cost(
            tables=tuple(table for cost in costs for table in cost.tables),
            sums=tuple({derived.name: derived for cost in costs for derived in cost.sums}.values()),
            fixed=sum(cost.fixed for cost in costs),
        )
