"""Bits of every layer for a given build, proven best: a slot's time depends on few widths, which neighbours share.

A slot's time depends on the bits of its weights, of the tensor that it reads, and of those that it makes; so a variable
stands for the weights of each layer and for each tensor that layers read, and the times are tables over up to three of
them. `silicut.search` solves that by variable elimination at prices, with the widths of tensors as the state.

What widths lose comes from measured sensitivities, or from a *proxy* where there are no weights or data: the noise power of
rounding, 4^-bits, of each layer's weights and of what it reads, weighted by its share of the multiply-accumulates. A proxy
ranks plans of one network; it says nothing about accuracy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.predicted import Options, Slot, predicted_with, slots_of
from silicut.accelerators.gemm.cost.work import Kind, NetworkWork, network_work
from silicut.compress.quantisation.bits import BitPlan, LayerBits
from silicut.graph.layer_shapes import WEIGHTED, LayerShape
from silicut.records import ConfigError
from silicut.search import Problem, Solution, Table, Variable, solve

CYCLES, LOSS = "cycles", "loss"

Levels = Mapping[str, int]
"""By variable the width that is chosen."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What each width alone loses; losses of different variables are added.

    Attributes:
        weights: by layer and width.
        tensors: by the first layer that reads it, and width.
        kind: "kl" or "squared error" where measured, "proxy" where not.
    """

    weights: Mapping[str, Mapping[int, float]]
    tensors: Mapping[str, Mapping[int, float]]
    kind: str


@dataclass(frozen=True, kw_only=True, eq=False)
class BitSpace:
    """The widths that may be chosen for a network.

    Attributes:
        shapes: layers of the float network.
        weight_bits, activation_bits: widths to choose from, increasing.
        fixed: layers whose widths are given.
        losses: of each width; the proxy by default.

    Raises:
        ConfigError: a given layer is not one of the network, or widths are no increasing numbers.
    """

    shapes: Sequence[LayerShape]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    fixed: Mapping[str, LayerBits] = field(default_factory=dict)
    losses: Losses | None = None

    def __post_init__(self) -> None:
        problems = [f"fixed must name layers of the network, not {name}" for name in self.fixed if name not in self._names]
        for what, bits in (("weight_bits", self.weight_bits), ("activation_bits", self.activation_bits)):
            if not bits or tuple(sorted(set(bits))) != tuple(bits):
                problems.append(f"{what} must be increasing widths, not {bits}")
        if problems:
            raise ConfigError(*problems)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(shape.name for shape in self.shapes if shape.kind in WEIGHTED)

    @cached_property
    def reads(self) -> dict[str, str]:
        """By layer with weights the first layer that reads the same tensor; it names the tensor."""
        first: dict[str, str] = {}
        sources = {shape.name: shape.inputs[0] for shape in self.shapes if shape.kind in WEIGHTED}
        return {name: first.setdefault(source, name) for name, source in sources.items()}

    @cached_property
    def levels(self) -> dict[str, tuple[int, ...]]:
        """By variable its widths."""
        weights = {_weights(n): (self.fixed[n].weight_bits,) if n in self.fixed else self.weight_bits for n in self._names}
        tensors: dict[str, tuple[int, ...]] = {}
        for name, first in self.reads.items():
            given = (self.fixed[name].activation_bits,) if name in self.fixed else self.activation_bits
            known = tensors.get(_tensor(first), given)
            tensors[_tensor(first)] = given if len(given) < len(known) else known
        return weights | tensors

    def plan(self, levels: Levels) -> BitPlan:
        """Return the plan that a choice of widths stands for."""
        layers = {name: LayerBits(levels[_weights(name)], levels[_tensor(self.reads[name])]) for name in self._names}
        widest = max(levels.values())
        return BitPlan(default=LayerBits(widest, widest), layers=layers)

    def work(self, levels: Levels) -> NetworkWork:
        """Return what the accelerator has to do at a choice of widths."""
        return network_work(self.shapes, self.plan(levels))

    @cached_property
    def widest(self) -> dict[str, int]:
        """Every variable at its largest width."""
        return {name: levels[-1] for name, levels in self.levels.items()}

    @cached_property
    def shares(self) -> dict[str, float]:
        """Of the multiply-accumulates, by layer with weights."""
        macs = {layer.name: layer.n_macs for layer in self.work(self.widest).layers if layer.kind is not Kind.WINDOWS}
        total = sum(macs.values()) or 1
        return {name: macs.get(name, 0) / total for name in self._names}

    @cached_property
    def loss_tables(self) -> dict[str, np.ndarray]:
        """By variable what each of its widths loses."""
        losses = self.losses or proxy_losses(self)
        weights = {_weights(name): losses.weights[name] for name in self._names}
        tensors = {_tensor(name): losses.tensors[name] for name in dict.fromkeys(self.reads.values())}
        tables = weights | tensors
        return {name: np.array([tables[name][level] for level in levels]) for name, levels in self.levels.items()}

    def loss(self, levels: Levels) -> float:
        """Return what a choice of widths loses."""
        return float(sum(self.loss_tables[name][self.levels[name].index(level)] for name, level in levels.items()))

    def uniform(self, weight_bits: int) -> dict[str, int]:
        """Return the choice with so many bits of every weight that is free, or the nearest width that it may have."""
        free = {_weights(name) for name in self._names}
        near = {name: min(levels, key=lambda b: abs(b - weight_bits)) for name, levels in self.levels.items()}
        return {name: near[name] if name in free else self.widest[name] for name in self.levels}

    @cached_property
    def narrowest(self) -> dict[str, int]:
        """Every variable at its smallest width."""
        return {name: levels[0] for name, levels in self.levels.items()}

    def loss_like(self, weight_bits: float) -> float:
        """Return what weights of so many bits everywhere lose; between whole numbers, on the line through the logarithms.

        Raises:
            ConfigError: there are no such widths to choose from.
        """
        low, high = math.floor(weight_bits), math.ceil(weight_bits)
        if not self.weight_bits[0] <= weight_bits <= self.weight_bits[-1]:
            raise ConfigError(f"max-loss of {weight_bits:g} bits must be within the widths of weights, {self.weight_bits}")
        ends = [math.log(max(self.loss(self.uniform(bits)), 1e-300)) for bits in (low, high)]
        return math.exp(ends[0] + (weight_bits - low) * (ends[1] - ends[0]))

    def mean_weight_bits(self, levels: Levels) -> float:
        """Return the mean bits of weights over multiply-accumulates, of the layers that are free."""
        free = [name for name in self._names if name not in self.fixed]
        total = sum(self.shares[name] for name in free) or 1.0
        return sum(self.shares[name] * levels[_weights(name)] for name in free) / total

    @cached_property
    def slots(self) -> tuple[SlotBits, ...]:
        """The slots of the network, each at every combination of the widths that its time depends on."""
        base = slots_of(self.work(self.widest).layers)
        names: list[list[str]] = [[] for _ in base]
        for name, levels in self.levels.items():
            other = slots_of(self.work({**self.widest, name: levels[0]}).layers)
            for i, (one, two) in enumerate(zip(base, other, strict=True)):
                names[i] += [name] if one != two else []
        return tuple(self._slot(i, tuple(own)) for i, own in enumerate(names))

    def _slot(self, i: int, names: tuple[str, ...]) -> SlotBits:
        combinations = list(itertools.product(*(self.levels[name] for name in names)))
        slots = [
            slots_of(self.work({**self.widest, **dict(zip(names, levels, strict=True))}).layers)[i]
            for levels in combinations
        ]
        return SlotBits(names, tuple(combinations), tuple(slots))

    def options(self, price: float) -> Options:
        """Return all slots at all widths, each free of its neighbours, with what they lose at a price in cycles.

        What a tensor loses is shared by the slots whose time depends on it. The least over these options is never above
        the least over plans, in which neighbours agree on widths.
        """
        n_users = {name: sum(name in slot.names for slot in self.slots) for name in self.levels}
        idle = sum(float(self.loss_tables[name].min()) for name, n in n_users.items() if not n)
        penalties = [
            [
                price * sum(self._loss_of(name, level) / n_users[name] for name, level in zip(slot.names, each, strict=True))
                for each in slot.combinations
            ]
            for slot in self.slots
        ]
        penalties[0] = [penalty + price * idle for penalty in penalties[0]]
        return Options.merged([slot.slots for slot in self.slots], penalties)

    def _loss_of(self, name: str, level: int) -> float:
        return float(self.loss_tables[name][self.levels[name].index(level)])

    def problem(self, config: GemmConfig, budgets: Mapping[str, float]) -> Problem:
        """Return the problem of a build: least loss within a budget of cycles, or fewest cycles within one of loss.

        Raises:
            ConfigError: a slot's time depends on more than three widths, or not exactly one budget is given.
        """
        if set(budgets) not in ({CYCLES}, {LOSS}):
            raise ConfigError(f"budgets must be of {CYCLES} or of {LOSS}, not {list(budgets)}")
        groups = predicted_with(Options([[slot] for each in self.slots for slot in each.slots]), [config]).cycles[0]
        variables = tuple(Variable(name, levels) for name, levels in self.levels.items())
        times, start = [], 0
        for slot in self.slots:
            table = groups[start : start + len(slot.slots)].reshape([len(self.levels[name]) for name in slot.names])
            start += len(slot.slots)
            names = slot.names or (variables[0].name,)
            shape = table.shape or (len(variables[0].levels),)
            times.append(Table.of(names, np.broadcast_to(np.minimum(table, _NEVER), shape)))
        losses = [Table.of((name,), table) for name, table in self.loss_tables.items()]
        value, cost = (times, losses) if LOSS in budgets else (losses, times)
        negative = tuple(replace(table, entries=tuple(-entry for entry in table.entries)) for table in value)
        return Problem(variables=variables, values=negative, costs={next(iter(budgets)): tuple(cost)}, budgets=dict(budgets))

    def solved(self, config: GemmConfig, budgets: Mapping[str, float], time_limit_s: float = 10.0) -> Solution:
        """Return the best widths for a build; the value is the negative of what was minimised.

        Raises:
            ConfigError: as `problem`.
            DoesNotFit: no widths keep the budget.
        """
        return solve(self.problem(config, budgets), time_limit_s=time_limit_s)


_NEVER = 1e15  # cycles of what a build has no room for


@dataclass(frozen=True)
class SlotBits:
    """A slot at every combination of the widths that its time depends on.

    Attributes:
        names: of these variables.
        combinations: of their levels, in order.
        slots: what is to be done at each.
    """

    names: tuple[str, ...]
    combinations: tuple[tuple[int, ...], ...]
    slots: tuple[Slot, ...]


def proxy_losses(space: BitSpace) -> Losses:
    """Return the proxy: 4^-bits of weights and of what is read, by the share of the multiply-accumulates."""
    widths = range(2, 9)
    tensors: dict[str, float] = {}
    for name, first in space.reads.items():
        tensors[first] = tensors.get(first, 0.0) + space.shares[name]
    return Losses(
        weights={name: {b: share * 4.0**-b for b in widths} for name, share in space.shares.items()},
        tensors={name: {b: share * 4.0**-b for b in widths} for name, share in tensors.items()},
        kind="proxy",
    )


def _weights(layer: str) -> str:
    return f"weights of {layer}"


def _tensor(first_reader: str) -> str:
    return f"what {first_reader} reads"
