"""What every layer of a network costs on an engine, over all widths worth having.

Probe the staircases, sample the network at random legal widths, fit a surface for each layer shape, sample again where a
surface is unsure, then check the sum of the layers against fresh networks. The result is a record from which a problem's
cost tables are read; making it again takes no time.
"""

from __future__ import annotations

import contextlib
import itertools
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from silicut.graph import Network
from silicut.records import BadFile, Cache, ConfigError, NothingToPrune, Progress, Record, Tracker, silent
from silicut.search.problem import Cost, SumVariable, Table, Variable, reachable_sums
from silicut.targets.cost_tables import cost_over
from silicut.targets.engine import Engine, EngineSettings
from silicut.targets.isolated import IsolatedLayers
from silicut.targets.layers import Layer, Width
from silicut.targets.samples import SURE_FRAC, USUAL_FRAC, Bench, Sample
from silicut.targets.staircase import Staircase, candidate_widths, corner_widths, probe_plan, staircase
from silicut.targets.surface import Surface, fit_surface

_UNSURE_FRAC = 0.03
_NEGLIGIBLE_FRAC = 0.002  # of the dense latency: layers that never cost more get no table of their own
_BATCH, _CANDIDATES = 8, 16  # networks measured between two fits, and how many each is the best of
_REMOVED_FRAC = 0.3  # of the blocks, in every other network that checks the prediction
_MAX_DRAWS = 20
_CLEARLY_FRAC = 0.002  # less mean error than that of medians
EVEN_FRACS = (0.0, 0.05, 0.1, 0.15, 0.25, 0.4)


@dataclass(frozen=True, kw_only=True)
class ProfileOptions(Record):
    """How thoroughly to profile.

    Attributes:
        n_samples: random legal networks measured at first.
        n_samples_max: and at most, where surfaces are unsure.
        n_validation: fresh random legal networks on which the sum of layers is checked; every other one without some of
            its residual blocks.
        least_width: the smallest width to offer, also where it is below a step; 1 keeps a single filter.
        seed: of the random networks, >= 0.

    Raises:
        ConfigError: every number that is below its least, at construction.

    Example:
        >>> ProfileOptions(n_samples=0)
        Traceback (most recent call last):
        silicut.records.errors.ConfigError: n_samples must be >= 1, not 0
    """

    schema: ClassVar[str] = "profile_options/1"
    n_samples: int = 24
    n_samples_max: int = 72
    n_validation: int = 20
    least_width: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"n_samples": 1, "n_samples_max": self.n_samples, "n_validation": 1, "least_width": 1, "seed": 0}
        wrong = [f"{name} must be >= {n}, not {getattr(self, name)}" for name, n in least.items() if getattr(self, name) < n]
        if wrong:
            raise ConfigError(*wrong)


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """The cost of one layer.

    Attributes:
        name: the operator.
        shape: in words.
        dense_ms: at full width.
        table: milliseconds over the legal widths of the groups (or sums of groups) it depends on; None where it depends
            on none.
    """

    name: str
    shape: str
    dense_ms: float
    table: Table | None


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Predicted against measured latency of random legal networks.

    Attributes:
        measured_ms: one for each network.
        predicted_ms: overhead plus the sum of the costs of the layers that are left.
        isolated_ms: the sum of layers each measured alone in a session of its own, on the scale of the dense network.
        r2: coefficient of determination of the prediction.
        mean_error_frac, max_error_frac: of abs(predicted / measured - 1).
        isolated_mean_error_frac, isolated_max_error_frac: the same for the isolated sum; 0 where it was not measured.
        n_removed_blocks: residual blocks that were removed from each; empty where nobody counted.
    """

    measured_ms: tuple[float, ...]
    predicted_ms: tuple[float, ...]
    isolated_ms: tuple[float, ...]
    r2: float
    mean_error_frac: float
    max_error_frac: float
    isolated_mean_error_frac: float
    isolated_max_error_frac: float
    n_removed_blocks: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Profile(Record):
    """The latency of a network on an engine as a function of its widths.

    Attributes:
        network_hash: structure of the network it was made from.
        fingerprint: machine, engine, version, threads, batch.
        settings: engine settings.
        options: how it was made.
        dense_ms: latency of the dense network, low quantile, while profiling.
        overhead_ms: what a run takes besides its layers, whatever is pruned.
        scale: factor on the layers' times that fits whole networks best; in every layer's cost.
        variables: legal widths of every group.
        sums: widths that are sums of groups.
        layers: cost of every layer that takes time.
        staircases: the probes.
        validation: how well the sum predicts.
        n_measured: networks measured for it, validation included.
    """

    schema: ClassVar[str] = "profile/3"
    network_hash: str
    fingerprint: dict[str, Any]
    settings: EngineSettings
    options: ProfileOptions
    dense_ms: float
    overhead_ms: float
    scale: float
    variables: tuple[Variable, ...]
    sums: tuple[SumVariable, ...]
    layers: tuple[LayerCost, ...]
    staircases: tuple[Staircase, ...]
    validation: Validation
    n_measured: int

    def layer_ms(self, widths: Mapping[str, int]) -> dict[str, float]:
        """Return each layer's predicted milliseconds at some widths of all groups; between legal ones, the next larger's."""
        numbers = dict(widths) | {s.name: sum(widths[part] for part in s.parts) for s in self.sums}
        costs = {}
        for layer in self.layers:
            cost = layer.dense_ms
            if layer.table is not None:
                cost = layer.table.array[tuple(bisect_left(self.levels[v], numbers[v]) for v in layer.table.variables)]
            costs[layer.name] = float(cost)
        return costs

    def group_ms(self, group: str, widths: Mapping[str, int]) -> float:
        """Return the predicted milliseconds of all layers that touch a group, at legal widths of all groups."""
        depends = {s.name for s in self.sums if group in s.parts} | {group}
        costs = self.layer_ms(widths)
        return sum(costs[la.name] for la in self.layers if la.table is not None and depends.intersection(la.table.variables))

    def cost(self, variables: Sequence[Variable], gates: Mapping[str, str]) -> Cost:
        """Return the milliseconds over some levels of the groups; see `silicut.search.CostSource`."""
        return cost_over(self, variables, gates)

    @cached_property
    def levels(self) -> dict[str, tuple[int, ...]]:
        """Legal widths by group, and reachable numbers by sum."""
        return {v.name: v.levels for v in self.variables} | {s.name: s.levels(self.variables) for s in self.sums}


def profile_network(
    network: Network,
    engine: Engine,
    *,
    cache: Cache | None = None,
    options: ProfileOptions | None = None,
    progress: Progress = silent,
) -> Profile:
    """Return the profile of a network on an engine, from the cache where it was made before.

    Args:
        network: as captured; its weights' values do not matter.
        engine: where it is measured.
        cache: where samples and profiles are kept; the user's cache folder by default.
        options: how thorough to be.
        progress: told after every network that was measured.

    Raises:
        NothingToPrune: the network has no channel group.
    """
    cache, options = cache or Cache(), options or ProfileOptions()
    if (cached := cached_profile(network, engine, cache=cache, options=options)) is not None:
        return cached
    bench = Bench.open(network, engine, cache)
    try:
        profile = Profiler(bench, network.structure_hash, options, progress).run()
    finally:
        bench.close()
    cache.put(profile_key(network, engine, options), profile.to_json())
    return profile


def remember(profile: Profile, cache: Cache) -> None:
    """Keep a profile where `profile_network` finds it for its network, engine and options."""
    cache.put(_key(profile.network_hash, profile.fingerprint, profile.options), profile.to_json())


def profile_key(network: Network, engine: Engine, options: ProfileOptions) -> dict[str, Any]:
    """Return what a profile is kept under in a cache."""
    return _key(network.structure_hash, engine.fingerprint(), options)


def cached_profile(
    network: Network, engine: Engine, *, cache: Cache | None = None, options: ProfileOptions | None = None
) -> Profile | None:
    """Return the profile that `profile_network` has made of the network before, None where there is none.

    Args:
        network: as captured.
        engine: where it was measured.
        cache: where profiles are kept; the user's cache folder by default.
        options: those it was made with.
    """
    with contextlib.suppress(BadFile):  # one of another version is made again
        return Profile.from_json(
            (cache or Cache()).get(profile_key(network, engine, options or ProfileOptions())), "cached profile"
        )
    return None


def _key(network_hash: str, fingerprint: Mapping[str, Any], options: ProfileOptions) -> dict[str, Any]:
    return {
        "profile": Profile.schema,
        "network": network_hash,
        "fingerprint": dict(fingerprint),
        "options": options.to_json(),
    }


@dataclass
class Profiler:
    """The steps of one profile; every measurement goes through `bench`, which remembers it."""

    bench: Bench
    network_hash: str
    options: ProfileOptions
    progress: Progress
    levels: dict[str, tuple[int, ...]] = field(default_factory=dict)
    surfaces: dict[str, Surface] = field(default_factory=dict)
    overhead_ms: float = 0.0
    scale: float = 1.0

    def run(self) -> Profile:
        """Return the profile.

        Raises:
            NothingToPrune: the network has no channel group.
        """
        self._check_groups()
        staircases = self._probe()
        dense, least = self.bench.dense_widths, self.options.least_width
        self.levels = {s.group: candidate_widths(dense[s.group], s.step, least) for s in staircases}
        self._sample()
        self._fit()
        self.levels = {name: self._corners(name) for name in self.levels}
        self._sample_corners()
        self._fit()
        timed = self._timed_layers()
        self.overhead_ms, self.scale = self._calibrate(timed)
        validation = self._validate(timed)
        variables = tuple(Variable(name, levels) for name, levels in self.levels.items())
        sums = {s.name: s for layer in timed for w in (layer.inputs, layer.outputs) if (s := sum_variable(w))}
        return Profile(
            network_hash=self.network_hash,
            fingerprint=self.bench.engine.fingerprint(),
            settings=self.bench.engine.settings,
            options=self.options,
            dense_ms=self.bench.dense_ms,
            overhead_ms=self.overhead_ms,
            scale=self.scale,
            variables=variables,
            sums=tuple(sums.values()),
            layers=tuple(self._layer_cost(layer, variables) for layer in timed),
            staircases=staircases,
            validation=validation,
            n_measured=len(self.bench.samples()),
        )

    def _check_groups(self) -> None:
        channels = self.bench.channels
        if not channels.groups:
            reasons = "; ".join(f"{', '.join(f.operators[:2])}: {f.reason}" for f in channels.frozen[:5])
            raise NothingToPrune(f"no channel group of the network may be pruned ({reasons}); rewrite what freezes them")

    def _measure(self, stage: str, plan: Sequence[Mapping[str, int]], error_frac: float = USUAL_FRAC) -> list[Sample]:
        self.bench.prepare(plan, error_frac)
        tracker = Tracker(self.progress, stage, len(plan))
        samples = []
        for widths in plan:
            samples.append(self.bench.sample(widths, error_frac))
            tracker.step(f"{samples[-1].ratio:.2f} of dense")
        return samples

    def _probe(self) -> tuple[Staircase, ...]:
        dense = self.bench.dense_widths
        samples = self._measure("probe staircases", list(probe_plan(self.bench.layers, dense)))
        touching = {name: [la.name for la in self.bench.layers if name in la.groups] for name in dense}
        costs: dict[str, dict[int, float]] = {name: {} for name in dense}
        for sample in samples:
            for name, layers in touching.items():
                varied = {
                    n for la in self.bench.layers if la.name in layers for n in la.groups if sample.widths[n] < dense[n]
                }
                if varied <= {name}:
                    cost = sum(sample.layers_frac.get(layer, 0.0) for layer in layers) * self.bench.dense_ms
                    costs[name].setdefault(sample.widths[name], cost)
        return tuple(staircase(name, dense[name], costs[name]) for name in dense)

    def _random_widths(self, rng: np.random.Generator) -> dict[str, int]:
        return {name: int(rng.choice(levels)) for name, levels in self.levels.items()}

    def _even_widths(self, frac: float) -> dict[str, int]:
        """Return every group at the same fraction of its legal widths: small networks, which random widths seldom make."""
        return {name: levels[round(frac * (len(levels) - 1))] for name, levels in self.levels.items()}

    def _first_networks(self, rng: np.random.Generator, n: int) -> list[dict[str, int]]:
        """Return some even networks and n random ones, all legal."""
        return [*map(self._even_widths, EVEN_FRACS), *(self._random_widths(rng) for _ in range(n))]

    def _sample(self) -> None:
        """Measure random legal networks until every surface is sure enough at all legal widths, or there were enough."""
        rng = np.random.default_rng(self.options.seed)
        n_done = self.options.n_samples
        self._measure("sample widths", self._first_networks(rng, n_done))
        while n_done < self.options.n_samples_max:
            self._fit()
            batch = [self._most_informative(rng) for _ in range(_BATCH)]
            if all(unsure == 0 for _, unsure in batch):
                return
            self._measure("complete tables", [widths for widths, _ in batch])
            n_done += len(batch)

    def _sample_corners(self) -> None:
        """Measure more networks where few of the first ones have only widths that turned out to be worth having.

        Staircases that were probed too finely put many of them on cliffs, whose costs say little of the corners.
        """
        n_missing = self.options.n_samples - len(self._legal_samples())
        if n_missing > 0:
            rng = np.random.default_rng(self.options.seed + 20_000)
            self._measure("sample corners", self._first_networks(rng, n_missing))

    def _legal_samples(self) -> list[Sample]:
        return [s for s in self.bench.samples() if all(w in self.levels[n] for n, w in s.widths.items())]

    def _most_informative(self, rng: np.random.Generator) -> tuple[dict[str, int], float]:
        """Return, of some random networks, the one whose layers are least known, and by how much they are over the limit."""
        candidates = [self._random_widths(rng) for _ in range(_CANDIDATES)]
        unsure = np.zeros(len(candidates))
        for layer in self.bench.layers:
            if layer.groups and layer.shape.key in self.surfaces:
                cost, spread = self.surfaces[layer.shape.key].predict([layer.cell(widths)[1:] for widths in candidates])
                is_unsure = (spread > _UNSURE_FRAC) & (cost > _NEGLIGIBLE_FRAC * self.bench.dense_ms)
                unsure += np.where(is_unsure, cost * spread, 0.0)
        best = int(np.argmax(unsure))
        return candidates[best], float(unsure[best])

    def _fit(self) -> None:
        """Fit every surface to the points at legal widths; those on a cliff would draw their neighbours up."""
        legal = self._legal_numbers()
        for key in {layer.shape.key for layer in self.bench.layers}:
            n_in, n_out = legal[key]
            points = [(at, cost) for at, cost in self.bench.points(key) if at[0] in n_in and at[1] in n_out]
            if points and max(cost for _, cost in points) > 0:
                self.surfaces[key] = fit_surface([p for p, _ in points], [c for _, c in points])

    def _legal_numbers(self) -> dict[str, tuple[set[int], set[int]]]:
        """Return the channels in and out that occur at legal widths, by layer shape."""
        legal: dict[str, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        for layer in self.bench.layers:
            for numbers, width in zip(legal[layer.shape.key], (layer.inputs, layer.outputs), strict=True):
                parts = [(self.levels[name], n) for name, n in Counter(width.parts).items()]
                numbers.update(width.constant + number for number in reachable_sums(parts))
        return legal

    def _cost(self, layer: Layer, widths: Mapping[str, int]) -> float:
        _, n_in, n_out = layer.cell(widths)
        return float(self._costs(layer, [(n_in, n_out)])[0])

    def _costs(self, layer: Layer, points: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return the milliseconds of a layer at (channels in, channels out), scaled once calibrated."""
        if layer.shape.key not in self.surfaces:
            return np.zeros(len(points))
        return self.scale * self.surfaces[layer.shape.key].predict(points)[0]

    def _corners(self, group: str) -> tuple[int, ...]:
        dense = self.bench.dense_widths
        layers = [layer for layer in self.bench.layers if group in layer.groups]

        def cost(width: int) -> float:
            return sum(self._cost(layer, dense | {group: width}) for layer in layers)

        return corner_widths(self.levels[group], cost)

    def _timed_layers(self) -> list[Layer]:
        samples = self.bench.samples()
        most = {la.name: max(s.layers_frac.get(la.name, 0.0) for s in samples) for la in self.bench.layers}
        return [la for la in self.bench.layers if most[la.name] > _NEGLIGIBLE_FRAC and la.shape.key in self.surfaces]

    def _calibrate(self, layers: Sequence[Layer]) -> tuple[float, float]:
        """Return what a run takes besides its layers, and the factor on these that predicts whole networks (medians).

        Layers run faster in small networks, whose weights stay near the processor. Where that shows, both numbers are
        those of the line through all networks.
        """
        samples = self._legal_samples()
        besides = [max(0.0, s.ratio - sum(s.layers_frac.values())) for s in samples]
        overhead_ms = float(np.median(besides)) * self.bench.dense_ms
        sums = np.array([sum(self._cost(layer, s.widths) for layer in layers) for s in samples])
        measured = np.array([s.ratio for s in samples]) * self.bench.dense_ms
        medians = overhead_ms, float(np.median((measured - overhead_ms) / sums))
        line = line_through(sums, measured)
        errors = [float(np.abs((a + b * sums) / measured - 1).mean()) for a, b in (medians, line)]
        return line if errors[1] < errors[0] - _CLEARLY_FRAC else medians

    def _validate(self, layers: Sequence[Layer]) -> Validation:
        fresh = self._fresh_networks()
        samples = self._measure("validate on fresh networks", fresh, SURE_FRAC)
        timed = {layer.name for layer in layers}
        left = [[layer for layer in self.bench.layers_at(widths) if layer.name in timed] for widths in fresh]
        predicted = [
            self.overhead_ms + sum(self._cost(layer, widths) for layer in layers_left)
            for widths, layers_left in zip(fresh, left, strict=True)
        ]
        n_removed = [len(self.bench.removed(widths)) for widths in fresh]
        measured = [s.ratio * self.bench.dense_ms for s in samples]
        return validation(measured, predicted, self._isolated_ms(fresh), n_removed)

    def _isolated_ms(self, networks: Sequence[Mapping[str, int]]) -> list[float]:
        """Return the sum of the layers of each network, each measured alone."""
        alone = IsolatedLayers(self.bench)
        tracker = Tracker(self.progress, "sum isolated layers", len(networks))
        sums_ms = []
        for widths in networks:
            sums_ms.append(alone.sum_ms(widths))
            tracker.step()
        return sums_ms

    def _fresh_networks(self) -> list[dict[str, int]]:
        """Return the networks that check the prediction, every other one without some of its blocks."""
        rng = np.random.default_rng(self.options.seed + 10_000)
        return [self._fresh_widths(rng, removes_blocks=i % 2 == 1) for i in range(self.options.n_validation)]

    def _fresh_widths(self, rng: np.random.Generator, *, removes_blocks: bool) -> dict[str, int]:
        """Return random widths of a network that no surface was fitted to, if a few draws find one."""
        for _ in range(_MAX_DRAWS):
            widths = self._random_widths(rng)
            for block in self.bench.blocks:
                if removes_blocks and rng.random() < _REMOVED_FRAC:
                    widths |= dict.fromkeys(block.inner_groups, 0)
            if not self.bench.has_sampled(widths):
                break
        return widths

    def _layer_cost(self, layer: Layer, variables: Sequence[Variable]) -> LayerCost:
        dense_ms = self._cost(layer, self.bench.dense_widths)
        if not layer.groups:
            return LayerCost(name=layer.name, shape=layer.shape.describe(), dense_ms=dense_ms, table=None)
        axes = list(dict.fromkeys(axis_name(w) for w in (layer.inputs, layer.outputs) if w.parts))
        levels = {v.name: v.levels for v in variables}
        for width in (layer.inputs, layer.outputs):
            if (total := sum_variable(width)) is not None:
                levels[total.name] = total.levels(variables)
        settings = list(itertools.product(*(levels[axis] for axis in axes)))
        points = [self._channels(layer, dict(zip(axes, numbers, strict=True))) for numbers in settings]
        costs = self._costs(layer, points).reshape([len(levels[a]) for a in axes])
        return LayerCost(
            name=layer.name, shape=layer.shape.describe(), dense_ms=dense_ms, table=Table.of(tuple(axes), costs)
        )

    @staticmethod
    def _channels(layer: Layer, numbers: Mapping[str, int]) -> tuple[int, int]:
        n_in, n_out = (w.constant + (numbers[axis_name(w)] if w.parts else 0) for w in (layer.inputs, layer.outputs))
        return n_in, n_out


def axis_name(width: Width) -> str:
    """Return the variable a width depends on: its one group, or the sum of several.

    Example:
        >>> axis_name(Width(0, ("a",))), axis_name(Width(0, ("a", "a", "b")))
        ('a', '2*a + b')
    """
    counts = Counter(width.parts)
    return " + ".join(name if n == 1 else f"{n}*{name}" for name, n in counts.items())


def sum_variable(width: Width) -> SumVariable | None:
    """Return the sum that a width of several parts is, None for a width of one group or none."""
    return SumVariable(axis_name(width), width.parts) if len(width.parts) > 1 else None


def line_through(sums: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """Return the a >= 0 and b >= 0 for which a + b sum has the least absolute errors, relative to what was measured.

    Args:
        sums, measured: (n,) positive, n >= 1.

    Example:
        >>> a, b = line_through(np.array([1.0, 2.0, 4.0, 8.0]), np.array([2.5, 4.5, 8.5, 16.5]))
        >>> round(a, 3), round(b, 3)
        (0.5, 2.0)
    """
    from scipy.optimize import linprog

    n = len(sums)
    rows = np.stack([np.full(n, sums.min()), sums], 1) / measured[:, None]  # times a / least sum and b, about 1
    within = np.block([[rows, -np.eye(n)], [-rows, -np.eye(n)]])  # abs(rows x - 1) <= error of each
    found = linprog(np.r_[0.0, 0.0, np.ones(n)], within, np.r_[np.ones(n), -np.ones(n)]).x
    return float(found[0] * sums.min()), float(found[1])


def validation(
    measured: Sequence[float], predicted: Sequence[float], isolated: Sequence[float], n_removed: Sequence[int] = ()
) -> Validation:
    """Return the figures of predictions beside measurements (milliseconds; `isolated` and `n_removed` may be empty)."""
    m, p = np.asarray(measured), np.asarray(predicted)
    errors = np.abs(p / m - 1)
    alone = np.abs(np.asarray(isolated) / m - 1) if len(isolated) else np.zeros(1)
    return Validation(
        measured_ms=tuple(map(float, m)),
        predicted_ms=tuple(map(float, p)),
        isolated_ms=tuple(map(float, isolated)),
        r2=float(1 - ((m - p) ** 2).sum() / max(((m - m.mean()) ** 2).sum(), 1e-12)),
        mean_error_frac=float(errors.mean()),
        max_error_frac=float(errors.max()),
        isolated_mean_error_frac=float(alone.mean()),
        isolated_max_error_frac=float(alone.max()),
        n_removed_blocks=tuple(n_removed),
    )
