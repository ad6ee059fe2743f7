"""Where a network is rounded: which tensors become integers, which operators that takes together, and at which widths.

A *site* is a tensor of the float network at which numbers are rounded to a format. The result of a layer or a sum is
rounded once, behind the clamp (ReLU, ReLU6) that alone reads it; what moves numbers keeps the rounding before it; a tensor
that is only concatenated has the rounding of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from silicut.compress.quantisation.bits import BitPlan
from silicut.compress.quantisation.kinds import ADVICE, KINDS, OTHERWISE, Role, activations_read, limits
from silicut.graph import Network, Operator, Ref, Tensor, bypass, drop_dead, fold_batch_norm
from silicut.records import UnsupportedModel

Limits = tuple[float, float]
ANYTHING: Limits = (-float("inf"), float("inf"))

_IDENTITIES = "dropout feature_dropout alpha_dropout alias contiguous detach clone lift_fresh_copy".split()
_FLATTEN = "aten.flatten.using_ints"
_SAME_IF_SHAPE_IS = "slice reshape view flatten expand squeeze adaptive_avg_pool2d pad".split()


def quantisable(network: Network) -> Network:
    """Return the network as it is quantised: batch norms folded into layers, means over maps as pools, no idle operators.

    Computes the same; every step of quantisation starts from this network, and layers are named as in it.

    Raises:
        UnsupportedModel: operators have no integer form; all of them are listed with the user's lines.
    """
    network = _with_pools(drop_dead(fold_batch_norm(network)))
    for output in [operator.outputs[0] for operator in network.operators]:
        operator = network.producer[output]  # as earlier rounds have left it
        if _does_nothing(network, operator):
            network = bypass(network, output, activations_read(network, operator)[0])
    offenders = [line for operator in network.operators if (line := _offence(network, operator))]
    offenders += [
        f"tensor {name} holds {tensor.dtype}; give floats"
        for name, tensor in network.tensors.items()
        if np.dtype(tensor.dtype).kind != "f"
    ]
    if offenders:
        raise UnsupportedModel(offenders, "Change these, or quantise the part of the network without them")
    return network


def _with_pools(network: Network) -> Network:
    """Return the network with global average pools for means over maps."""
    operators, tensors = [], dict(network.tensors)
    for operator in network.operators:
        source = operator.arguments.get("self")
        if operator.kind != "mean" or not isinstance(source, Ref) or not _is_over_maps(operator, tensors.get(source.name)):
            operators.append(operator)
            continue
        shape = tensors[source.name].shape
        pooled = operator.outputs[0] if operator.arguments["keepdim"] else f"{operator.outputs[0]}.pooled"
        pool = replace(operator, target="aten.adaptive_avg_pool2d.default", outputs=(pooled,))
        operators.append(replace(pool, arguments={"self": source, "output_size": (1, 1)}))
        if pooled not in tensors:
            tensors[pooled] = replace(tensors[source.name], shape=(*shape[:2], 1, 1))
            flat = {"self": Ref(pooled), "start_dim": 1, "end_dim": -1}
            operators.append(Operator(f"{operator.name}.flat", _FLATTEN, flat, operator.outputs, operator.source))
    return replace(network, operators=tuple(operators), tensors=tensors)


def _is_over_maps(mean: Operator, source: Tensor | None) -> bool:
    axes = {int(axis) % 4 for axis in mean.arguments.get("dim") or ()}
    return source is not None and len(source.shape) == 4 and axes == {2, 3}


def _does_nothing(network: Network, operator: Operator) -> bool:
    read = activations_read(network, operator)
    if len(read) != 1 or len(operator.outputs) != 1 or network.tensors[read[0]] != network.tensors[operator.outputs[0]]:
        return False
    is_same = operator.kind in _SAME_IF_SHAPE_IS and operator.arguments.get("step", 1) == 1
    return operator.kind in _IDENTITIES or is_same


def _offence(network: Network, operator: Operator) -> str:
    known = KINDS.get(operator.kind)
    if known is None:
        why = f"has no integer form ({ADVICE.get(operator.kind, OTHERWISE)})"
    elif not activations_read(network, operator):
        why = "reads no activation (leave it out)"
    elif refusal := known.refusal(network, operator):
        what, _, instead = refusal.partition("; ")
        why = f"has no integer form here: {what} ({instead})"
    else:
        return ""
    place = f" at {operator.source}" if operator.source else ""
    return f"operator {operator.name} ({operator.kind}){place} {why}"


@dataclass(frozen=True)
class Site:
    """One rounding: a tensor and a width.

    Attributes:
        tensor: of the float network.
        bits: of the integers.
    """

    tensor: str
    bits: int


@dataclass(frozen=True, eq=False)
class Sites:
    """Where a network is rounded, whatever the widths.

    Attributes:
        network: what `quantisable` gave.
        layers: names of the convolutions and linear layers, in order.
        ends: by layer or sum, the tensor that its rounded result is: its own, or that of the clamp behind it.
        of: by every tensor that integers stand for, the tensor at which it was rounded.
        limits: by tensor that rounds, what its numbers are limited to whatever the input.
        joined: pairs of tensors that round, one and the concatenation that it is part of, in order; where both have one
            quantisation, nothing is rounded between them.
    """

    network: Network
    layers: tuple[str, ...]
    ends: dict[str, str]
    of: dict[str, str]
    limits: dict[str, Limits]
    joined: tuple[tuple[str, str], ...]

    def widths(self, plan: BitPlan) -> dict[str, tuple[int, ...]]:
        """Return the widths of every tensor that rounds: its own, then that of the copy for layers if they read one.

        Raises:
            ConfigError: the plan names layers that the network lacks.
        """
        plan.check(self.layers)
        asked: dict[str, list[int]] = {tensor: [] for tensor in self.limits}
        by_layers: dict[str, list[int]] = {tensor: [] for tensor in self.limits}
        for name in self.network.outputs:
            asked[self.of[name]].append(plan.output_bits)
        for operator in self.network.operators:
            for name in self._rounded_inputs(operator):
                is_layer = KINDS[operator.kind].role is Role.LAYER
                bits = plan.of(operator.name).activation_bits if is_layer else plan.inner_bits
                (by_layers if is_layer else asked)[self.of[name]].append(bits)
        found: dict[str, tuple[int, ...]] = {}
        for tensor, others in asked.items():
            layers = max(by_layers[tensor], default=0)
            own = max([layers, *others])
            found[tensor] = (own,) if layers in (0, own) else (own, layers)
        return found

    def _rounded_inputs(self, operator: Operator) -> Iterator[str]:
        """Yield the tensors whose integers an operator computes with, as against those that it only moves."""
        role = KINDS[operator.kind].role
        for name in activations_read(self.network, operator):
            is_moved = role is Role.MOVEMENT or (role is Role.JOIN and self.of[name] == self.of[operator.outputs[0]])
            if name in self.of and not is_moved:
                yield name

    def at(self, plan: BitPlan) -> tuple[Site, ...]:
        """Return all roundings of a plan.

        Raises:
            ConfigError: the plan names layers that the network lacks.
        """
        return tuple(Site(tensor, bits) for tensor, widths in self.widths(plan).items() for bits in widths)

    def around(self, plan: BitPlan) -> dict[str, tuple[Site, Site]]:
        """Return by layer where what it reads and what it makes is rounded.

        Raises:
            ConfigError: the plan names layers that the network lacks.
        """
        widths, found = self.widths(plan), {}
        for operator in self.network.operators:
            if operator.name in self.layers:
                read = self.of[operator.arguments["input"].name]
                made = self.of[self.ends.get(operator.name, operator.outputs[0])]
                found[operator.name] = (Site(read, widths[read][-1]), Site(made, widths[made][0]))
        return found


def find_sites(network: Network) -> Sites:
    """Return where a network is rounded.

    Args:
        network: what `quantisable` gave.
    """
    fused = _fused_clamps(network)
    ends, of, found_limits = {}, {name: name for name in network.inputs}, dict.fromkeys(network.inputs, ANYTHING)
    for operator in network.operators:
        role, output = KINDS[operator.kind].role, operator.outputs[0]
        if role is Role.MOVEMENT:
            of.update(dict.fromkeys(operator.outputs, of[activations_read(network, operator)[0]]))
        elif role in (Role.LAYER, Role.SUM):
            clamp = fused.get(output)
            end = output if clamp is None else clamp.outputs[0]
            ends[operator.name] = of[end] = end
            found_limits[end] = ANYTHING if clamp is None else limits(clamp)
        elif role is Role.JOIN:
            of[output] = output
            found_limits[output] = _hull([found_limits[of[name]] for name in activations_read(network, operator)])
        elif output not in of:
            of[output] = output
            found_limits[output] = limits(operator) if role is Role.CLAMP else ANYTHING
    for operator in network.operators:
        if KINDS[operator.kind].role is Role.JOIN:
            _share(network, operator, of, found_limits)
    layers = tuple(o.name for o in network.operators if KINDS[o.kind].role is Role.LAYER)
    return Sites(network, layers, ends, of, found_limits, tuple(_joined(network, of, found_limits)))


def _fused_clamps(network: Network) -> dict[str, Operator]:
    """Return the clamps that become part of the rounding before them, by the tensor that they limit."""
    fused = {}
    for operator in network.operators:
        if KINDS[operator.kind].role is not Role.CLAMP:
            continue
        (source,) = activations_read(network, operator)
        maker = network.producer.get(source)
        is_alone = len(network.consumers[source]) == 1 and source not in network.outputs
        if maker is not None and is_alone and KINDS[maker.kind].role in (Role.LAYER, Role.SUM):
            fused[source] = operator
    return fused


def _hull(all_limits: list[Limits]) -> Limits:
    return min(low for low, _ in all_limits), max(high for _, high in all_limits)


def _share(network: Network, join: Operator, of: dict[str, str], found_limits: dict[str, Limits]) -> None:
    """Let what is only joined have the rounding of the result, where both have the same limits."""
    result = join.outputs[0]
    for tensor in dict.fromkeys(of[name] for name in activations_read(network, join)):
        if found_limits[tensor] == found_limits[result] and _is_only_joined(network, tensor, of):
            found_limits.pop(tensor)
            of.update({name: result for name, at in of.items() if at == tensor})


def _is_only_joined(network: Network, tensor: str, of: dict[str, str]) -> bool:
    """Tell whether one concatenation is all that reads a rounded tensor; those of concatenations stay their own."""
    maker = network.producer.get(tensor)
    if maker is None or KINDS[maker.kind].role is Role.JOIN:
        return False
    names = [name for name, at in of.items() if at == tensor]
    readers = [reader for name in names for reader in network.consumers.get(name, ())]
    joins = [reader for reader in readers if KINDS[reader.kind].role is not Role.MOVEMENT]
    is_output = any(name in network.outputs for name in names)
    return not is_output and len(joins) == 1 and KINDS[joins[0].kind].role is Role.JOIN


def _joined(network: Network, of: dict[str, str], found_limits: dict[str, Limits]) -> Iterator[tuple[str, str]]:
    """Yield what is joined and the result, where they are rounded apart and have the same limits."""
    for operator in network.operators:
        if KINDS[operator.kind].role is Role.JOIN:
            result = of[operator.outputs[0]]
            for tensor in dict.fromkeys(of[name] for name in activations_read(network, operator)):
                if tensor not in (result, *network.inputs) and found_limits[tensor] == found_limits[result]:
                    yield tensor, result
