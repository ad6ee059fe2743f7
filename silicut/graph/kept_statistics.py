"""The whole network with every statistic taken over the channels that stay: what a proof compares a pruned one with.

Written out in elementary operators (take the kept channels, mean, variance, normalise all channels), so that it shares
nothing with the edit that makes norms smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from silicut.graph.network import Network, Operator, Ref, Tensor
from silicut.graph.normal_form import symbolic


def with_kept_statistics(network: Network, masks: Mapping[str, Mapping[int, np.ndarray]]) -> Network:
    """Return the network whose norms and reductions over channels see only those that stay.

    Args:
        network: the whole network.
        masks: for each tensor, by axis, which positions stay.
    """
    build = _Builder(network)
    for operator in network.operators:
        rewrite = _REWRITES.get(operator.kind)
        source = operator.arguments.get("input", operator.arguments.get("self"))
        partly = {} if rewrite is None else masks.get(source.name, {})
        chosen = {axis: mask for axis, mask in partly.items() if not mask.all()}
        if rewrite is None or not chosen or not rewrite(build, operator, *next(iter(chosen.items()))):
            build.operators.append(operator)
    parameters = {**network.parameters, **build.indices}
    constants = network.constants | build.indices.keys()
    return replace(
        network, tensors=build.tensors, operators=tuple(build.operators), parameters=parameters, constants=constants
    )


@dataclass
class _Builder:
    network: Network
    operators: list[Operator] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(init=False)
    indices: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tensors = dict(self.network.tensors)

    def call(self, o: Operator, target: str, shape: tuple[int, ...], /, **arguments: Any) -> str:
        """Append one step of what replaces an operator; return the name of its result."""
        name = f"{o.name}/{len(self.operators)}"
        self.operators.append(Operator(name, f"aten.{target}", arguments, (name,), o.source))
        self.tensors[name] = Tensor(shape, self.tensors[o.outputs[0]].dtype)
        return name

    def result(self, o: Operator, name: str) -> None:
        """Give a step's result the name of what the operator made."""
        self.operators.append(Operator(o.name, "aten.alias.default", {"self": Ref(name)}, o.outputs[:1], o.source))

    def kept(self, o: Operator, source: str, axis: int, mask: np.ndarray) -> str:
        """Append the step that takes the kept positions of an axis."""
        index = f"{o.name}/index{len(self.indices)}"
        self.indices[index] = np.flatnonzero(mask)
        shape = list(self.tensors[source].shape)
        shape[axis] = int(mask.sum())
        return self.call(o, "index_select.default", tuple(shape), self=Ref(source), dim=axis, index=Ref(index))

    def normalised(self, o: Operator, source: str, kept: str, axes: tuple[int, ...]) -> str:
        """Append (x - mean) / sqrt(variance + eps), or x / root mean square, of statistics over some kept channels."""
        shape = self.tensors[source].shape
        small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
        over = {"dim": axes, "keepdim": True}
        if o.kind == "rms_norm":
            square = self.call(o, "mul.Tensor", self.tensors[kept].shape, self=Ref(kept), other=Ref(kept))
            spread = self.call(o, "mean.dim", small, self=Ref(square), **over)
        else:
            mean = self.call(o, "mean.dim", small, self=Ref(kept), **over)
            spread = self.call(o, "var.correction", small, self=Ref(kept), correction=0, **over)
            source = self.call(o, "sub.Tensor", shape, self=Ref(source), other=Ref(mean))
        eps = o.arguments["eps"] if o.arguments["eps"] is not None else float(np.finfo(np.float64).eps)
        spread = self.call(o, "add.Scalar", small, self=Ref(spread), other=eps)
        root = self.call(o, "sqrt.default", small, self=Ref(spread))
        return self.call(o, "div.Tensor", shape, self=Ref(source), other=Ref(root))

    def scaled(self, o: Operator, source: str, shape: tuple[int, ...]) -> str:
        """Append the weight and bias of a norm, seen in a shape that broadcasts."""
        for argument, target in (("weight", "mul.Tensor"), ("bias", "add.Tensor")):
            if o.arguments.get(argument) is not None:
                seen = self.call(o, "reshape.default", shape, self=o.arguments[argument], shape=shape)
                source = self.call(o, target, self.tensors[source].shape, self=Ref(source), other=Ref(seen))
        return source


def _layer_norm(b: _Builder, o: Operator, axis: int, mask: np.ndarray) -> bool:
    source, own = o.arguments["input"].name, o.arguments["normalized_shape"]
    n_axes = len(b.tensors[source].shape)
    axes = tuple(range(n_axes - len(own), n_axes))
    if axis not in axes:
        return False
    normalised = b.normalised(o, source, b.kept(o, source, axis, mask), axes)
    b.result(o, b.scaled(o, normalised, tuple(own)))
    return True


def _group_norm(b: _Builder, o: Operator, axis: int, mask: np.ndarray) -> bool:
    by_group = mask.reshape(int(o.arguments["num_groups"]), -1)
    if (by_group == by_group[:, :1]).all():  # whole groups go with their statistics
        return False
    source = o.arguments["input"].name
    shape = b.tensors[source].shape
    apart = (shape[0], *by_group.shape, *shape[2:])
    groups = b.call(o, "reshape.default", apart, self=Ref(source), shape=symbolic(apart))
    normalised = b.normalised(o, groups, b.kept(o, groups, 2, by_group[0]), tuple(range(2, len(apart))))
    joined = b.call(o, "reshape.default", shape, self=Ref(normalised), shape=symbolic(shape))
    b.result(o, b.scaled(o, joined, (shape[1], *[1] * (len(shape) - 2))))
    return True


def _reduction(b: _Builder, o: Operator, axis: int, mask: np.ndarray) -> bool:
    source, dims = o.arguments["self"].name, o.arguments.get("dim", ())
    n_axes = len(b.tensors[source].shape)
    if axis not in [int(d) % n_axes for d in (dims if isinstance(dims, tuple) else (dims,))]:
        return False
    b.operators.append(o.with_arguments(self=Ref(b.kept(o, source, axis, mask))))
    return True


_REWRITES: dict[str, Callable[[_Builder, Operator, int, np.ndarray], bool]] = {
    **dict.fromkeys(("layer_norm", "rms_norm"), _layer_norm),
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "linalg_vector_norm", "norm"), _reduction
    ),
    "group_norm": _group_norm,
}
