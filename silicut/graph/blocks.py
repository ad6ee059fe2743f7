"""Residual blocks: branches that can be removed whole, leaving their shortcut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from silicut.graph.channels import Channels
from silicut.graph.edit import bypass
from silicut.graph.network import Network, Operator, Ref


@dataclass(frozen=True)
class Block:
    """A branch added to a shortcut.

    Attributes:
        name: module path all its layers share ("layer1.0"), or the addition's name; unique ("layer1.0#2").
        addition: the operator that adds branch and shortcut.
        shortcut: the tensor that takes the sum's place when the branch goes.
        operators: names of the operators that go with the branch, the addition included.
        inner_groups: channel groups that exist only inside the branch.
        last: the operator with parameters that makes the branch's output.
    """

    name: str
    addition: str
    shortcut: str
    operators: frozenset[str]
    inner_groups: tuple[str, ...]
    last: str


def find_blocks(network: Network, channels: Channels) -> tuple[Block, ...]:
    """Return the residual branches that can be removed, in order of execution.

    A branch qualifies when its removal leaves a valid network, takes at least one convolution or linear layer away, and
    has an unfrozen channel group of its own, whose width 0 stands for the removal.
    """
    found: list[Block] = []
    for operator in network.operators:
        block = _block_at(network, channels, operator)
        if block is not None:
            n = 1 + sum(other.name.partition("#")[0] == block.name for other in found)
            found.append(block if n == 1 else replace(block, name=f"{block.name}#{n}"))
    return tuple(found)


def remove_blocks(network: Network, blocks: Iterable[Block]) -> Network:
    """Return the network without the branches of these blocks, all found on a network with the same operator names."""
    removed = {block.addition: block for block in blocks}
    # Last block first: the tensors of earlier blocks, which are the shortcuts of later ones, still have their names.
    for addition in [o for o in reversed(network.operators) if o.name in removed]:
        if addition.outputs[0] in network.tensors:  # else it went with a block around it
            network = bypass(network, addition.outputs[0], removed[addition.name].shortcut)
    return network


def _block_at(network: Network, channels: Channels, addition: Operator) -> Block | None:
    if addition.kind != "add" or addition.arguments.get("alpha", 1) != 1:
        return None
    sides = [v.name for v in addition.arguments.values() if isinstance(v, Ref) and v.name in network.tensors]
    shapes = {network.tensors[name].shape for name in (*sides, addition.outputs[0])}
    if len(sides) != 2 or len(shapes) != 1:
        return None
    dead = [_dead_without(network, addition, shortcut) for shortcut in sides]
    branch, shortcut = (dead[0], sides[0]) if _weight(dead[0]) >= _weight(dead[1]) else (dead[1], sides[1])
    if _weight(branch) == 0:
        return None
    names = frozenset(o.name for o in branch)
    inner = tuple(g.name for g in channels.groups if {m.operator for m in g.members} <= names)
    last = next((o for o in reversed(branch) if o.kind in _LAYERS), None)
    if not inner or last is None:
        return None
    return Block(_shared_path(branch) or addition.name, addition.name, shortcut, names, inner, last.name)


_LAYERS = ("linear", *(f"conv{transposed}{n}d" for transposed in ("", "_transpose") for n in (1, 2, 3)))


def _weight(operators: list[Operator]) -> int:
    return sum(o.kind in _LAYERS for o in operators)


def _dead_without(network: Network, addition: Operator, shortcut: str) -> list[Operator]:
    """Return the operators that nothing needs once the addition's readers read the shortcut."""
    edited = bypass(network, addition.outputs[0], shortcut)
    stays = {o.name for o in edited.operators}
    return [o for o in network.operators if o.name not in stays]


def _shared_path(operators: list[Operator]) -> str:
    """Return the path that all layers share by their own names, else by those of their weights, or ""."""
    layers = [o for o in operators if o.kind in _LAYERS]
    weights = [o.arguments["weight"].name.rpartition(".")[0] for o in layers]
    return _shared([o.name for o in layers]) or _shared(weights)


def _shared(names: list[str]) -> str:
    separator = "/" if any("/" in name for name in names) else "."
    paths = [name.split(separator) for name in names]
    shared = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return separator.join(shared if len(paths) > 1 else shared[:-1])
