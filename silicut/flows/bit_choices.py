"""Bits as decisions of the pruning problem: one for every tensor that layers read, and for the weights of these layers.

A level is the number with two digits that a person would type: 48 stands for weights of 4 bits on a tensor of 8. Layers that
read the same tensor have the same bits, so that a layer's cost is a table over three variables: channels in, channels out,
bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from silicut.compress.quantisation import BitPlan, LayerBits, Sites
from silicut.compress.quantisation.sensitivity import Sensitivity, read_by_layers
from silicut.flows.decisions import Decisions, Loss
from silicut.search import Variable

WEIGHT_BITS = (2, 3, 4, 5, 6, 8)
ACTIVATION_BITS = (2, 3, 4, 5, 6, 8)
BITS_PREFIX = "bits of "
"""What names of such variables begin with; the first layer that reads the tensor follows."""


@dataclass(frozen=True)
class BitChoices:
    """The bits of one network that may be chosen.

    Attributes:
        of_layer: by layer, the name of its variable; layers whose bits are given are left out.
        variables: with the levels described above, the widest last.
        given: of the layers that are left out.
    """

    of_layer: dict[str, str]
    variables: tuple[Variable, ...]
    given: dict[str, LayerBits]

    @classmethod
    def of(cls, sites: Sites, edge_bits: int | None) -> BitChoices:
        """Return the choices of a network.

        Args:
            sites: where it is rounded.
            edge_bits: of the first and the last layer, and of whatever reads what they read; None lets them be chosen too.
        """
        read = read_by_layers(sites)
        edges = set() if edge_bits is None else {read[sites.layers[0]], read[sites.layers[-1]]}
        first = {tensor: layer for layer, tensor in reversed(read.items())}
        of_layer = {layer: f"{BITS_PREFIX}{first[tensor]}" for layer, tensor in read.items() if tensor not in edges}
        levels = tuple(sorted(10 * w + a for w, a in itertools.product(WEIGHT_BITS, ACTIVATION_BITS)))
        given = {layer: LayerBits(edge_bits, edge_bits) for layer in read if edge_bits and layer not in of_layer}
        return cls(of_layer, tuple(Variable(name, levels) for name in dict.fromkeys(of_layer.values())), given)

    @staticmethod
    def bits_of(level: int) -> LayerBits:
        """Return what a level stands for.

        Example:
            >>> str(BitChoices.bits_of(48))
            '4/8'
        """
        return LayerBits(*divmod(level, 10))

    def plan(self, levels: Mapping[str, int]) -> BitPlan:
        """Return the plan of a choice; what it does not name is at its widest."""
        widest = {variable.name: variable.levels[-1] for variable in self.variables}
        chosen = widest | {name: level for name, level in levels.items() if name in widest}
        layers = {layer: self.bits_of(chosen[name]) for layer, name in self.of_layer.items()}
        return BitPlan(default=LayerBits(8, 8), layers=layers | self.given)

    def decisions(self, sites: Sites, measured: Sensitivity) -> Decisions:
        """Return the variables with the losses of weights and activations, each measured alone; they add up."""
        read, first = read_by_layers(sites), {name: layer for layer, name in reversed(self.of_layer.items())}
        weights = (
            Loss(name, layer, self._by_level(name, 0, measured, measured.weights[layer]))
            for layer, name in self.of_layer.items()
        )
        tensors = (
            Loss(name, layer, self._by_level(name, 1, measured, measured.activations[read[layer]]))
            for name, layer in first.items()
        )
        return Decisions(self.variables, (*weights, *tensors))

    def _by_level(self, name: str, digit: int, measured: Sensitivity, lost: Sequence[float]) -> tuple[float, ...]:
        """Return the loss of each level by its first digit (weights) or its second (what is read)."""
        levels = next(variable.levels for variable in self.variables if variable.name == name)
        return tuple(lost[measured.bits.index(divmod(level, 10)[digit])] for level in levels)
