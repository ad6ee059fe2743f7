"""What every layer costs on the GEMM accelerator over all widths worth having, and over bits where these are chosen.

The tables come from the accelerator's own cost model, from sizes alone; nothing is measured. Layers overlap, so a network
takes a little less or more than their sum: some random networks are compiled and timed exactly, layer by layer (with
barriers) and as wholes. The layers correct the model where they are seen and near it; overhead and scale are those of the
line through the wholes, and fresh networks check it. Tensors are kept in groups of eight channels, so widths worth having
are multiples of eight (and all channels), as far as they save cycles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.bound import layer_columns, machine_columns, roofs
from silicut.accelerators.gemm.cost.predicted import predicted
from silicut.accelerators.gemm.cost.split import best_splits
from silicut.accelerators.gemm.cost.work import Kind, LayerWork, dsp_bits, network_work
from silicut.compress import options, random_plans, removable_blocks, removed_by
from silicut.compress.pruning import Restrictions
from silicut.compress.quantisation import BitPlan, LayerBits
from silicut.flows.bit_choices import BitChoices
from silicut.flows.gemm_corrections import Corrections, Timed
from silicut.flows.pruning_problem import Subject
from silicut.graph.layer_shapes import layer_shapes
from silicut.records import NothingToPrune, Progress, Tracker
from silicut.search import SumVariable, Table, Variable
from silicut.targets.engine import EngineSettings
from silicut.targets.layers import Layer, layers_of
from silicut.targets.profile import (
    LayerCost,
    Profile,
    ProfileOptions,
    Validation,
    axis_name,
    line_through,
    sum_variable,
    validation,
)
from silicut.targets.staircase import Staircase, corner_widths

CHANNEL_STEP = 8
"""Channels of a tensor come in groups of this many in the memory of the accelerator."""
_MAX_LEVELS = 32
_N_AT_ONCE = 4096  # layers that the model sees at once
_N_FITTED, _N_CHECKED = 16, 8  # random networks that are compiled
Levels = Mapping[str, int]


def candidate_widths(n_channels: int) -> tuple[int, ...]:
    """Return the widths whose cost is asked for: multiples of eight, thinned to at most 32, and all channels.

    Example:
        >>> candidate_widths(20), candidate_widths(6)
        ((8, 16, 20), (6,))
    """
    n_steps = -(-n_channels // CHANNEL_STEP)
    stride = CHANNEL_STEP * -(-n_steps // _MAX_LEVELS)
    return (*(w for w in sorted({CHANNEL_STEP, *range(stride, n_channels, stride)}) if w < n_channels), n_channels)


@dataclass(frozen=True)
class _Fit:
    """How sums of layers become times of networks."""

    dense_ms: float
    overhead_ms: float
    scale: float
    validation: Validation


@dataclass
class GemmProfiler:
    """Makes the profile of one network on one build.

    Attributes:
        subject: the network.
        config: the build.
        plan: bits of the dense network.
        bits: what is chosen besides widths; None where bits are given.
        time_of: the exact time of the network at some levels.
        progress: told every step.
    """

    subject: Subject
    config: GemmConfig
    plan: BitPlan
    bits: BitChoices | None
    time_of: Callable[[Levels], Timed]
    progress: Progress
    _known: dict[LayerWork, float] = field(default_factory=dict)
    _corrections: Corrections = field(default_factory=Corrections)

    def profile(self, settings: EngineSettings, fingerprint: dict[str, object], asked: ProfileOptions) -> Profile:
        """Return the profile, in milliseconds at the clock of the build.

        Raises:
            NothingToPrune: the network has neither a channel group nor bits that may be chosen.
        """
        groups = self.subject.channels.groups
        if not groups and self.bits is None:
            raise NothingToPrune("no channel group of the network may be pruned; see silicut inspect for the reasons")
        bits = self.bits.variables if self.bits else ()
        widths = [Variable(group.name, candidate_widths(group.n_channels)) for group in groups]
        networks = self._networks((*widths, *bits), asked.seed)
        timed = self._timed(networks)
        for levels, found in list(zip(networks, timed, strict=True))[: 1 + _N_FITTED]:
            self._correct(levels, found)
        stairs = tuple(self._staircase(group.name, group.n_channels) for group in groups)
        fit = self._fitted(networks, timed)
        variables = (*map(self._corners, stairs), *bits)
        costs = tuple(self._layer_cost(work, variables) for work in self._works)
        return Profile(
            network_hash=self.subject.network.structure_hash,
            fingerprint=dict(fingerprint),
            settings=settings,
            options=asked,
            dense_ms=fit.dense_ms,
            overhead_ms=fit.overhead_ms,
            scale=fit.scale,
            variables=variables,
            sums=self._sums,
            layers=tuple(_scaled(cost, fit.scale) for cost in costs),
            staircases=stairs,
            validation=fit.validation,
            n_measured=1 + _N_FITTED + _N_CHECKED,
        )

    # The model

    @cached_property
    def _works(self) -> tuple[LayerWork, ...]:
        """What the layers of the dense network have to do."""
        return network_work(layer_shapes(self.subject.folded), self.plan).layers

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        """The widths of every operator, by its name."""
        return {layer.name: layer for layer in layers_of(self.subject.folded, self.subject.channels, 1)}

    @cached_property
    def _sums(self) -> tuple[SumVariable, ...]:
        widths = [w for work in self._works for layer in (self._layers[work.name],) for w in (layer.inputs, layer.outputs)]
        sums = {s.name: s for width in widths if (s := sum_variable(width)) is not None}
        return tuple(sums.values())

    def _cycles(self, works: Sequence[LayerWork]) -> NDArray[np.float64]:
        """Return the modelled cycles of layers, corrected by layers that were timed, array (works,)."""
        cycles, shapes = self._modelled(works), np.array([self._layers[work.name].shape.key for work in works])
        for shape in dict.fromkeys(shapes.tolist()):
            at = np.flatnonzero(shapes == shape)
            cycles[at] *= self._corrections.of(shape, [works[int(i)] for i in at])
        return cycles

    def _modelled(self, works: Sequence[LayerWork]) -> NDArray[np.float64]:
        """Return the modelled cycles of layers, array (works,); layers of equal sizes are asked for once."""
        plain = [replace(work, name="") for work in works]
        missing = list(dict.fromkeys(work for work in plain if work not in self._known))
        for start in range(0, len(missing), _N_AT_ONCE):
            chunk = missing[start : start + _N_AT_ONCE]
            self._known.update(zip(chunk, modelled_cycles(chunk, self.config).tolist(), strict=True))
        return np.array([self._known[work] for work in plain])

    def _staircase(self, group: str, n_channels: int) -> Staircase:
        widths, dense = candidate_widths(n_channels), self._dense_widths
        touching = [work for work in self._works if group in self._layers[work.name].groups]
        works = [self._at(work, self._numbers(work, dense | {group: width})) for width in widths for work in touching]
        costs = self._cycles(works).reshape(len(widths), -1).sum(1)
        return Staircase(
            group=group, widths=widths, costs_ms=tuple(map(self._ms, costs.tolist())), step=CHANNEL_STEP, cliffs=()
        )

    @staticmethod
    def _corners(stairs: Staircase) -> Variable:
        costs = dict(zip(stairs.widths, stairs.costs_ms, strict=True))
        return Variable(stairs.group, corner_widths(stairs.widths, costs.__getitem__))

    @cached_property
    def _dense_widths(self) -> dict[str, int]:
        return {group.name: group.n_channels for group in self.subject.channels.groups}

    def _layer_cost(self, work: LayerWork, variables: Sequence[Variable]) -> LayerCost:
        layer, described = self._layers[work.name], f"{work.kind.value} {self._layers[work.name].shape.describe()}"
        axes = [axis_name(width) for width in (layer.inputs, layer.outputs) if width.parts]
        bits = self._bits_axis(work)
        axes = list(dict.fromkeys([*axes, *([bits] if bits else [])]))
        dense_ms = self._ms(float(self._cycles([work])[0]))
        if not axes:
            return LayerCost(name=work.name, shape=described, dense_ms=dense_ms, table=None)
        levels = {v.name: v.levels for v in variables} | {s.name: s.levels(variables) for s in self._sums}
        settings = (dict(zip(axes, numbers, strict=True)) for numbers in itertools.product(*(levels[a] for a in axes)))
        costs = self._cycles([self._at(work, numbers) for numbers in settings])
        table = Table.of(axes, np.array(list(map(self._ms, costs))).reshape([len(levels[a]) for a in axes]))
        return LayerCost(name=work.name, shape=described, dense_ms=dense_ms, table=table)

    def _numbers(self, work: LayerWork, widths: Levels) -> dict[str, int]:
        """Return the values of a layer's axes at widths of all groups."""
        layer = self._layers[work.name]
        varying = [width for width in (layer.inputs, layer.outputs) if width.parts]
        return {axis_name(width): width.at(widths) - width.constant for width in varying}

    def _at(self, work: LayerWork, numbers: Levels) -> LayerWork:
        """Return a layer's work at values of its axes; a bits axis that is not named is at its widest."""
        layer = self._layers[work.name]
        n_in, n_out = (w.constant + (numbers[axis_name(w)] if w.parts else 0) for w in (layer.inputs, layer.outputs))
        n_groups = n_in if work.kind is not Kind.PRODUCT else max(1, work.n_groups * n_in // work.in_channels)
        changed = replace(work, in_channels=n_in, out_channels=n_out, n_groups=n_groups)
        level = numbers.get(self._bits_axis(work))
        return changed if level is None else with_bits(changed, BitChoices.bits_of(level))

    def _bits_axis(self, work: LayerWork) -> str:
        """Return the variable of a layer's bits, "" where they are given."""
        return self.bits.of_layer.get(work.name, "") if self.bits else ""

    # From layers to networks

    def _networks(self, variables: Sequence[Variable], seed: int) -> list[dict[str, int]]:
        """Return the dense network, then random ones: widths from slight to strong, bits evenly drawn."""
        rng = np.random.default_rng(seed)
        widths = [v for v in variables if v.name in self._dense_widths]
        legal = options(widths, self.subject.channels, self.subject.blocks, Restrictions())
        plans = random_plans(legal, removable_blocks(self.subject.blocks, Restrictions()), _N_FITTED + _N_CHECKED, seed)
        others = [v for v in variables if v.name not in self._dense_widths]
        drawn = [dict(plan) | {v.name: int(rng.choice(v.levels)) for v in others} for plan in plans]
        return [{v.name: v.levels[-1] for v in variables}, *drawn]

    def _timed(self, networks: Sequence[Levels]) -> list[Timed]:
        tracker, timed = Tracker(self.progress, "compile random networks", len(networks)), []
        for levels in networks:
            timed.append(self.time_of(levels))
            tracker.step(f"{timed[-1].cycles / timed[0].cycles:.2f} of dense")
        return timed

    def _correct(self, levels: Levels, found: Timed) -> None:
        """Remember what the layers of a network take in truth."""
        works = [work for work in self._left(levels) if work.name in found.layers]
        for work, modelled in zip(works, self._modelled(works), strict=True):
            if modelled > 0:
                self._corrections.add(self._layers[work.name].shape.key, work, found.layers[work.name] / modelled)

    def _left(self, levels: Levels) -> list[LayerWork]:
        """Return the layers of the network at some levels."""
        removed = set(removed_by(levels, self.subject.blocks))
        gone = {operator for block in self.subject.blocks if block.name in removed for operator in block.operators}
        left = [work for work in self._works if work.name not in gone]
        return [self._at(work, self._numbers(work, levels) | dict(levels)) for work in left]

    def _fitted(self, networks: Sequence[Levels], timed: Sequence[Timed]) -> _Fit:
        """Return overhead and scale that fit networks best, checked on those that corrected nothing."""
        exact = np.array([self._ms(found.cycles) for found in timed])
        sums = np.array([self._ms(float(self._cycles(self._left(levels)).sum())) for levels in networks])
        n = 1 + _N_FITTED
        overhead_ms, scale = line_through(sums[:n], exact[:n])
        n_removed = [len(removed_by(levels, self.subject.blocks)) for levels in networks[n:]]
        checked = validation(exact[n:].tolist(), (overhead_ms + scale * sums[n:]).tolist(), (), n_removed)
        return _Fit(float(exact[0]), overhead_ms, scale, checked)

    def _ms(self, cycles: float) -> float:
        return 1e3 * cycles / self.config.clock_hz


def modelled_cycles(works: Sequence[LayerWork], config: GemmConfig) -> NDArray[np.float64]:
    """Return what each layer is predicted to take, its filters split as is best for it, array (works,).

    Where the model finds no room for a layer, which the compiler may yet take apart, it is the highest roof.
    """
    cycles: NDArray[np.float64] = predicted(works, [config]).cycles[0]
    if np.isfinite(cycles).all():
        return cycles
    highest = roofs(layer_columns(works), best_splits(works, config), machine_columns([config])).layer[0]
    return np.where(np.isfinite(cycles), cycles, highest)


def with_bits(work: LayerWork, bits: LayerBits) -> LayerWork:
    """Return a product's work at other widths of its weights and of what it reads."""
    w_bits, a_bits = bits.weight_bits, bits.activation_bits
    return replace(work, w_bits=w_bits, a_bits=a_bits, dsp_bits=dsp_bits(a_bits, w_bits))


def _scaled(layer: LayerCost, scale: float) -> LayerCost:
    table = None if layer.table is None else Table.of(layer.table.variables, scale * layer.table.array)
    return replace(layer, dense_ms=scale * layer.dense_ms, table=table)
