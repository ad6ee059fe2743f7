"""Why a network is no faster: its predicted latency by what could change it, and the known causes that apply.

Everything is read from a profile and the network itself; a cause that the records do not show is not named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from silicut.flows.pruning_problem import Subject
from silicut.graph import Network, Operator
from silicut.graph.counting import macs_by_operator
from silicut.report import wording
from silicut.report.findings import Finding, LatencyParts
from silicut.targets.profile import Profile
from silicut.targets.staircase import Staircase

LAUNCH_BOUND_FRAC = 0.5
"""Launch-bound is a network that spends at least this share of its latency on starting operators."""
COARSE_FRAC = 0.25
"""A group's steps are coarse where at least this share of its channels must go before anything is saved."""
MACS_PER_BYTE = 4.0
"""Layers that do fewer multiply-accumulates for each byte they move wait for memory on most machines (a 1x1 convolution of
64 to 64 channels does 8, a depthwise 3x3 about 1)."""
_NOTABLE_FRAC = 0.05  # a cause that concerns less of the latency is not named
_MEMORY_FRAC = 0.2
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Diagnosis:
    """A network at some widths, looked at through its profile.

    Attributes:
        subject: the dense network.
        profile: made on it.
        widths: legal widths of all groups; 0 for those that went with a residual block.
        network: the network at these widths, batch normalisation folded.
        scale: factor on all milliseconds, where the dense network measured otherwise than while profiling.
    """

    subject: Subject
    profile: Profile
    widths: Mapping[str, int]
    network: Network
    scale: float = 1.0

    @classmethod
    def of_dense(cls, subject: Subject, profile: Profile) -> Diagnosis:
        """Return the diagnosis of the network before anything is pruned."""
        return cls(subject, profile, {v.name: v.levels[-1] for v in profile.variables}, subject.folded)

    @cached_property
    def parts(self) -> LatencyParts:
        """The predicted latency by what could still change it."""
        now, least = self._now_ms, self._least_ms
        touched = self._touching(self._groups)
        untouched = now.keys() - touched - self._frozen_layers
        return LatencyParts(
            overhead_ms=self.scale * self.profile.overhead_ms,
            frozen_ms=self._sum_ms(self._frozen_layers),
            untouched_ms=self._sum_ms(untouched),
            least_ms=math.fsum(min(now[name], least[name]) for name in touched),
            narrowing_ms=math.fsum(max(0.0, now[name] - least[name]) for name in touched),
            removal_ms=math.fsum(min(now[name], least[name]) for name in self._removable_layers),
        )

    def findings(self) -> tuple[Finding, ...]:
        """Return the known causes that apply, those of the largest share of the latency first."""
        causes = (self._launch_bound, self._coarse, self._cliffs, self._frozen, self._untouched, self._memory_bound)
        found = [finding for cause in causes if (finding := cause()) is not None]
        return tuple(sorted(found, key=lambda finding: -finding.frac))

    def _launch_bound(self) -> Finding | None:
        parts = self.parts
        if parts.launch_frac < LAUNCH_BOUND_FRAC:
            return None
        spent = wording.ms_text(parts.overhead_ms + parts.least_ms)
        blocks = [block.name for block in self.subject.blocks if not block.operators <= self._gone]
        removal = ""
        if blocks:
            saved = wording.ms_text(parts.removal_ms)
            removal = f"Remove residual blocks ({wording.listing(blocks)} may go; all of them save {saved}), or "
        return Finding(
            cause="launch-bound",
            frac=parts.launch_frac,
            sentence=f"{spent} are left at the smallest widths, where little but starting operators is done.",
            advice=f"{removal or 'Narrowing saves little: '}run a larger batch, or, on a GPU, replay the network as one "
            "CUDA graph.",
        )

    def _coarse(self) -> Finding | None:
        """Groups of which much must go before anything is saved."""
        levels = self.profile.levels
        following = {name: max((n for n in levels[name] if n < self.widths[name]), default=0) for name in self._groups}
        coarse = [n for n, width in following.items() if width and width <= (1 - COARSE_FRAC) * self.widths[n]]
        if not coarse or (frac := self._frac(self._touching(coarse))) < _NOTABLE_FRAC:
            return None
        example = max(coarse, key=lambda name: 1 - following[name] / self.widths[name])
        return Finding(
            cause="coarse steps",
            frac=frac,
            sentence=f"In {len(coarse)} of {len(self._groups)} groups nothing is saved before "
            f"{wording.percent_text(COARSE_FRAC, 0)} or more of the channels go: below {self.widths[example]} the next "
            f"width of {example} that pays is {following[example]}.",
            advice="Taking away fewer channels than a step only costs accuracy; keep to the legal widths.",
        )

    def _cliffs(self) -> Finding | None:
        stairs = [s for s in self.profile.staircases if any(c < self.widths[s.group] for c in s.cliffs)]
        if not stairs or (frac := self._frac(self._touching(s.group for s in stairs))) < _NOTABLE_FRAC:
            return None
        height, width, larger, group = max(_steepest(s, self.widths[s.group]) for s in stairs)
        return Finding(
            cause="cliffs",
            frac=frac,
            sentence=f"{len(stairs)} of {len(self._groups)} groups have widths that are slower than wider ones: {group} at "
            f"{width} channels takes {height:.2f} times as long as at {larger}.",
            advice="Widths that were chosen by a ratio land on them; round up to the next legal width.",
        )

    def _frozen(self) -> Finding | None:
        if (frac := self._frac(self._frozen_layers)) < _NOTABLE_FRAC:
            return None
        names = [
            frozen.operators[0] for frozen in self.subject.channels.frozen if set(frozen.operators) & self._frozen_layers
        ]
        return Finding(
            cause="frozen channels",
            frac=frac,
            sentence=f"{wording.ms_text(self.parts.frozen_ms)} are in layers whose channels must stay: "
            f"{wording.listing(list(dict.fromkeys(names)))}.",
            advice="The reasons name the lines; written so that channels can be followed, these layers could be narrowed.",
        )

    def _untouched(self) -> Finding | None:
        names = [name for name in self._now_ms if name not in self._touching(self._groups) | self._frozen_layers]
        if (frac := self._frac(names)) < _NOTABLE_FRAC:
            return None
        longest = sorted(names, key=lambda name: -self._now_ms[name])
        return Finding(
            cause="untouched layers",
            frac=frac,
            sentence=f"{wording.ms_text(self.parts.untouched_ms)} are in layers on no channel group: "
            f"{wording.listing(longest)}.",
            advice="Their time is the same whatever is pruned; smaller inputs or other operators would change it.",
        )

    def _memory_bound(self) -> Finding | None:
        operators = [o for o in self.network.operators if o.name in self._now_ms]
        macs = macs_by_operator(self.network)
        names = [o.name for o in operators if macs.get(o.name, 0) < MACS_PER_BYTE * _moved_bytes(self.network, o)]
        if (frac := self._frac(names)) < _MEMORY_FRAC:
            return None
        longest = sorted(names, key=lambda name: -self._now_ms[name])
        return Finding(
            cause="memory-bound",
            frac=frac,
            sentence=f"{len(names)} layers do fewer than {MACS_PER_BYTE:g} multiply-accumulates for each byte they move, "
            f"which on most machines makes memory the limit: {wording.listing(longest)}.",
            advice="Half the width is half their time at best, not a quarter; smaller maps or numbers (int8) save more.",
        )

    @cached_property
    def _groups(self) -> tuple[str, ...]:
        """The groups that are left."""
        return tuple(name for name, width in self.widths.items() if width)

    @cached_property
    def _gone(self) -> frozenset[str]:
        blocks = [b for b in self.subject.blocks if all(self.widths.get(name) == 0 for name in b.inner_groups)]
        return frozenset(operator for block in blocks for operator in block.operators)

    @cached_property
    def _now_ms(self) -> dict[str, float]:
        """Milliseconds of the layers that are left."""
        return self._layer_ms(self.widths)

    @cached_property
    def _least_ms(self) -> dict[str, float]:
        """The same at the smallest legal widths."""
        return self._layer_ms({})

    def _layer_ms(self, widths: Mapping[str, int]) -> dict[str, float]:
        legal = {v.name: widths.get(v.name) or v.levels[0] for v in self.profile.variables}
        costs = self.profile.layer_ms(legal)
        return {name: self.scale * ms for name, ms in costs.items() if name not in self._gone}

    def _touching(self, groups: Iterable[str]) -> frozenset[str]:
        """Return the layers that are left whose cost depends on some of the groups."""
        wanted = set(groups)
        axes = wanted | {s.name for s in self.profile.sums if wanted.intersection(s.parts)}
        tables = {layer.name: layer.table for layer in self.profile.layers if layer.name not in self._gone}
        return frozenset(name for name, table in tables.items() if table is not None and axes.intersection(table.variables))

    @cached_property
    def _frozen_layers(self) -> frozenset[str]:
        makers = {name for frozen in self.subject.channels.frozen for name in frozen.operators}
        return frozenset(makers & self._now_ms.keys()) - self._touching(self._groups)

    @cached_property
    def _removable_layers(self) -> frozenset[str]:
        return frozenset(o for block in self.subject.blocks for o in block.operators) & self._now_ms.keys()

    def _sum_ms(self, layers: Iterable[str]) -> float:
        return math.fsum(self._now_ms[name] for name in layers)

    def _frac(self, layers: Iterable[str]) -> float:
        return self._sum_ms(layers) / self.parts.total_ms


def _steepest(stairs: Staircase, width: int) -> tuple[float, int, int, str]:
    """Return a group's highest cliff below a width: how high, where, above which cheaper width, and the group's name."""
    costs = dict(zip(stairs.widths, stairs.costs_ms, strict=True))
    cliffs = [cliff for cliff in stairs.cliffs if cliff < width]
    cheaper = {cliff: min((w for w in costs if w > cliff), key=lambda w: (costs[w], w)) for cliff in cliffs}
    return max((costs[cliff] / costs[larger], cliff, larger, stairs.group) for cliff, larger in cheaper.items())


def _moved_bytes(network: Network, operator: Operator) -> int:
    """Return the bytes that an operator reads and writes for one input, its parameters included."""
    tensors = [name for name in (*operator.refs(), *operator.outputs) if name in network.tensors]
    n_activations = sum(math.prod(network.tensors[name].sizes(1)) for name in tensors)
    n_parameters = sum(network.parameters[name].size for name in operator.refs() if name in network.parameters)
    return _FLOAT_BYTES * (n_activations + n_parameters)
