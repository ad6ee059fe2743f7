"""What a design is to be good at: a network, a part with its limits, a memory, and the predicted time that is minimised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from silicut.accelerators.gemm.config import GemmConfig, Memory
from silicut.accelerators.gemm.cost.predicted import Options, predicted_with, slots_of
from silicut.accelerators.gemm.cost.resources import AMOUNTS, Limits, Use, resources
from silicut.accelerators.gemm.cost.work import LayerWork
from silicut.accelerators.gemm.design.space import GRID, config_of
from silicut.records import content_hash
from silicut.search import Outcome, Point, Space
from silicut.targets.parts import Part

_PROBES = (0.2, 0.4, 0.6, 0.8)  # of the way through the levels of every parameter


@dataclass(frozen=True, kw_only=True, eq=False)
class DesignProblem:
    """Where a design is chosen, and by what.

    Attributes:
        layers: of the network, with their bits.
        part: whose amounts are the limits.
        limits: shares of the part that may be used.
        memory: of the board.
        clock_hz: assumed.
        space: the builds.
        network: its name.
    """

    layers: Sequence[LayerWork]
    part: Part
    limits: Limits = field(default_factory=Limits)
    memory: Memory = field(default_factory=Memory)
    clock_hz: float = 100e6
    space: Space = field(default=GRID)
    network: str = "network"

    @cached_property
    def name(self) -> str:
        """Names the function that is minimised: network and part, and a hash of all that it depends on.

        The models of time and resources are among that, as what they answer for some builds.
        """
        facts = [repr(x) for x in (*self.layers, self.part, self.limits, self.memory, self.clock_hz, self.space)]
        facts += [repr(self.evaluate(self._probe(share))) for share in _PROBES]
        return f"design of {self.network} on {self.part.name} {content_hash(facts)[:12]}"

    def _probe(self, share: float) -> Point:
        return {p.name: p.levels[int(share * len(p.levels))] for p in self.space.parameters}

    @cached_property
    def options(self) -> Options:
        """All legal splits of all slots."""
        return Options.merged([[slot] for slot in slots_of(self.layers)])

    def config(self, point: Point) -> GemmConfig:
        """Return the build of a point."""
        return config_of(point, self.memory, self.clock_hz)

    def allowed(self) -> Use:
        """Return how much of each amount may be used."""
        return Use(*(math.floor(getattr(self.limits, name) * getattr(self.part, name)) for name in AMOUNTS))

    def evaluate(self, point: Point) -> Outcome:
        """Return the predicted cycles of a point, what it takes of the part, and which limits it breaks."""
        config = self.config(point)
        found = predicted_with(self.options, [config])
        use = resources(config).total
        broken = [*self._exceeded(use), *self._refused(found.cycles[0])]
        cycles = float(found.network[0])
        details = {"cycles": cycles if math.isfinite(cycles) else None} | {name: getattr(use, name) for name in AMOUNTS}
        return Outcome(cycles, sum(excess for excess, _ in broken), tuple(why for _, why in broken), details)

    def _exceeded(self, use: Use) -> Iterator[tuple[float, str]]:
        allowed = self.allowed()
        for name, words in AMOUNTS.items():
            needed, most = getattr(use, name), getattr(allowed, name)
            if needed > most:
                yield (needed - most) / max(most, 1), f"{words}: {needed:,} needed, {most:,} allowed of {self.part.name}"

    def _refused(self, cycles: np.ndarray) -> Iterator[tuple[float, str]]:
        groups = self.options.groups
        refused = [group[0].layers[0].name for group, n in zip(groups, cycles, strict=True) if not math.isfinite(n)]
        if refused:
            yield len(refused) / len(groups), f"a buffer is too small for {len(refused)} kinds of layers, {refused[0]} first"
