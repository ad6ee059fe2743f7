"""From a PyTorch module to a `Network`, by `torch.export`.

Nothing is guessed: what `torch.export` cannot follow, or what is no tensor operator, is an `UnsupportedModel` that lists
every offender with the user's line. Operators unknown to the channel rules are captured and executed all the same; they
only freeze the channels they touch.
"""

from __future__ import annotations

import operator as python_operator
import os
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from silicut.graph.network import BATCH, Network, Operator, Ref, Tensor
from silicut.records import UnsupportedModel

_IGNORED = ("sym_size", "_assert", "sym_constrain", "_assert_scalar", "_assert_tensor_metadata")
_ADVICE = (
    "The network must be traceable by torch.export with these inputs: a fixed graph of tensor operators, "
    "without branches on tensor values"
)


def capture(module: nn.Module, inputs: torch.Tensor | Sequence[torch.Tensor]) -> Network:
    """Return the network that a module computes in evaluation mode.

    Args:
        module: any module that `torch.export` can trace; it is not changed.
        inputs: one example tensor per argument, the batch on axis 0. The batch size stays free where the module allows.

    Raises:
        UnsupportedModel: the module cannot be traced, or uses something that is no tensor operator.
    """
    examples = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
    was_training = module.training
    module.eval()
    try:
        program = _export(module, examples)
        if _has_alias_hazard(program.graph):
            program = program.run_decompositions({})
    finally:
        module.train(was_training)
    return _Reader(program).network()


def _export(module: nn.Module, examples: tuple[torch.Tensor, ...]) -> Any:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # Two images, because torch.export would take a batch of one for a constant.
        doubled = tuple(torch.cat([x, x])[:2] if x.dim() else x for x in examples)
        batch = torch.export.Dim("batch", min=1)
        shapes = tuple({0: batch} if x.dim() else None for x in doubled)
        try:
            return torch.export.export(module, doubled, dynamic_shapes=shapes)
        except Exception:
            pass
        try:
            return torch.export.export(module, examples)
        except Exception as error:  # torch.export raises whatever the user's forward raises
            raise UnsupportedModel([_first_sentence(error)], _ADVICE) from error


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = re.findall(r'File "([^"]+)", line (\d+)', str(error))
    place = next((f" at {os.path.basename(f)}:{n}" for f, n in reversed(where) if _is_users(f)), "")
    return f"torch.export cannot trace the network{place} ({type(error).__name__}: {lines[0] if lines else 'no message'})"


def _is_users(path: str) -> bool:
    return f"{os.sep}torch{os.sep}" not in path and not path.startswith("<")


def _has_alias_hazard(graph: Any) -> bool:
    """Tell whether an in-place operator changes a tensor that something reads later under its old name or a view."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if not _is_in_place(node):
            continue
        changed = node.args[0]
        family = {changed, *(user for user in changed.users if _is_view(user))}
        if _is_view(changed) or any(order[user] > order[node] for member in family for user in member.users):
            return True
    return False


def _is_in_place(node: Any) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def _is_view(node: Any) -> bool:
    if node.target is python_operator.getitem:
        return _is_view(node.args[0])
    if not isinstance(node.target, torch._ops.OpOverload) or node.target._schema.is_mutable:
        return False
    return any(r.alias_info is not None for r in node.target._schema.returns)


class _Reader:
    """Reads one exported program into the parts of a `Network`."""

    def __init__(self, program: Any) -> None:
        self._program = program
        self._names: dict[Any, str] = {}  # graph node -> tensor or parameter name
        self._tensors: dict[str, Tensor] = {}
        self._operators: list[Operator] = []
        self._taken: set[str] = set()
        self._offenders: list[str] = []
        self._batch_symbol = self._find_batch_symbol()

    def network(self) -> Network:
        inputs = self._read_placeholders()
        for node in self._program.graph.nodes:
            if node.op == "call_function":
                self._read_call(node)
        if self._offenders:
            raise UnsupportedModel(self._offenders, _ADVICE)
        output = next(node for node in self._program.graph.nodes if node.op == "output")
        results = [node for node in output.args[0] if isinstance(node, torch.fx.Node)]
        return Network(
            inputs=inputs,
            outputs=tuple(self._names[node] for node in results),
            output_structure=_output_structure(self._program.call_spec.out_spec, len(results)),
            tensors=self._tensors,
            operators=tuple(self._operators),
            parameters=self._parameters(),
            trainable=frozenset(self._trainable()),
        )

    def _find_batch_symbol(self) -> Any:
        user_inputs = set(self._program.graph_signature.user_inputs)
        for node in self._program.graph.nodes:
            if node.op == "placeholder" and node.name in user_inputs:
                shape = getattr(node.meta.get("val"), "shape", ())
                if shape and isinstance(shape[0], torch.SymInt):
                    return shape[0].node.expr
        return None

    def _read_placeholders(self) -> tuple[str, ...]:
        signature = self._program.graph_signature
        targets = {spec.arg.name: spec.target for spec in signature.input_specs if spec.target is not None}
        inputs = []
        for node in self._program.graph.nodes:
            if node.op != "placeholder":
                continue
            self._names[node] = targets.get(node.name, node.name)
            if node.name not in targets:
                inputs.append(node.name)
                self._tensors[node.name] = self._tensor(node.meta["val"])
        return tuple(inputs)

    def _parameters(self) -> dict[str, np.ndarray]:
        state = {**self._program.state_dict, **self._program.constants}
        return {
            name: value.detach().cpu().numpy().copy() for name, value in state.items() if isinstance(value, torch.Tensor)
        }

    def _trainable(self) -> list[str]:
        return [n for n in self._program.graph_signature.parameters if self._program.state_dict[n].requires_grad]

    def _read_call(self, node: Any) -> None:
        if node.target is python_operator.getitem:
            return  # named when its producer was read
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt | int | bool) or any(tag in str(node.target) for tag in _IGNORED):
            return  # arithmetic on the batch size: its value is written where it is used
        source = _source_line(node)
        if not isinstance(node.target, torch._ops.OpOverload):
            self._offenders.append(f"{node.target} at {source or 'unknown line'} is no tensor operator")
            return
        name = self._unique(_operator_name(node))
        arguments = self._arguments(node)
        outputs = self._outputs(node, name)
        target = _functional_name(str(node.target))
        self._operators.append(_normalise(Operator(name, target, arguments, outputs, source), self._tensors))

    def _arguments(self, node: Any) -> dict[str, Any]:
        schema = node.target._schema.arguments
        given = dict(zip((a.name for a in schema), node.args, strict=False)) | dict(node.kwargs)
        return {a.name: self._value(given.get(a.name, a.default_value)) for a in schema}

    def _value(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            symbol = value.meta.get("val")
            return self._size(symbol) if isinstance(symbol, torch.SymInt | int) else Ref(self._names[value])
        if isinstance(value, list | tuple):
            return tuple(self._value(item) for item in value)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        return str(value)  # dtype, device, memory format: by name

    def _size(self, size: Any) -> int | str:
        multiple = self._batch_multiple(size)
        return int(size) if multiple is None else (BATCH if multiple == 1 else f"{BATCH}*{multiple}")

    def _batch_multiple(self, size: Any) -> int | None:
        """Return k where a size is k times the batch, None where it is a constant."""
        if not isinstance(size, torch.SymInt):
            return None
        ratio = size.node.expr / self._batch_symbol if self._batch_symbol is not None else None
        if ratio is None or not ratio.is_Integer:
            raise UnsupportedModel([f"the size {size} is no constant multiple of the batch size"], _ADVICE)
        return int(ratio)

    def _tensor(self, value: torch.Tensor) -> Tensor:
        multiples = [self._batch_multiple(size) for size in value.shape]
        shape = tuple(int(s) if k is None else -k for s, k in zip(value.shape, multiples, strict=True))
        return Tensor(shape, str(value.dtype).removeprefix("torch."))

    def _outputs(self, node: Any, name: str) -> tuple[str, ...]:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            self._names[node] = name
            self._tensors[name] = self._tensor(value)
            return (name,)
        parts = list(value) if isinstance(value, list | tuple) else []
        names = tuple(f"{name}:{i}" for i in range(len(parts)))
        for part, part_name in zip(parts, names, strict=True):
            if isinstance(part, torch.Tensor):
                self._tensors[part_name] = self._tensor(part)
        for user in node.users:
            if user.target is python_operator.getitem:
                self._names[user] = names[user.args[1]]
        return names

    def _unique(self, name: str) -> str:
        candidate, n = name, 0
        while candidate in self._taken or candidate in self._program.state_dict or candidate in self._tensors:
            n += 1
            candidate = f"{name}_{n}"
        self._taken.add(candidate)
        return candidate


def _functional_name(target: str) -> str:
    """Return the target of the operator which returns what an in-place one writes.

    Example:
        >>> _functional_name("aten.relu_.default"), _functional_name("aten.__and__.Tensor")
        ('aten.relu.default', 'aten.__and__.Tensor')
    """
    namespace, kind, overload = target.split(".")
    return f"{namespace}.{kind.removesuffix('_') if not kind.endswith('__') else kind}.{overload}"


def _operator_name(node: Any) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, owner = stack[-1] if stack else ("", "")
    kind = _functional_name(str(node.target)).split(".")[1]
    is_layer = str(owner).startswith("torch.nn.modules.") and "container" not in str(owner)
    if path and is_layer:
        return str(path)
    return f"{path}.{kind}" if path else kind


def _source_line(node: Any) -> str:
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    users = [(file, line) for file, line in frames if _is_users(file)]
    return f"{os.path.basename(users[-1][0])}:{users[-1][1]}" if users else ""


def _output_structure(spec: Any, n_outputs: int) -> str | tuple[str, ...]:
    if spec.is_leaf():
        return "tensor"
    leaves = [spec.child(i) for i in range(spec.num_children)]
    if any(not leaf.is_leaf() for leaf in leaves) or len(leaves) != n_outputs:
        raise UnsupportedModel(
            ["the network returns nested or non-tensor outputs"], "Return tensors, a tuple or a dict of tensors"
        )
    if spec.type is dict:
        return tuple(str(key) for key in spec.context)
    return "tuple"


def _normalise(operator: Operator, tensors: dict[str, Tensor]) -> Operator:
    """Write operators of equal meaning in one way: resolved view sizes, explicit split sizes, functional batch norm."""
    kind, arguments = operator.kind, operator.arguments
    if kind in ("view", "reshape", "_unsafe_view"):
        shape = tensors[operator.outputs[0]].shape
        return Operator(operator.name, "aten.reshape.default", {"self": arguments["self"], "shape": _symbolic(shape)},
                        operator.outputs, operator.source)  # fmt: skip
    if kind in ("split", "chunk", "split_with_sizes"):
        axis = int(arguments["dim"])
        sizes = tuple(tensors[output].shape[axis] for output in operator.outputs)
        arguments = {"self": arguments["self"], "split_sizes": sizes, "dim": axis}
        return Operator(operator.name, "aten.split_with_sizes.default", arguments, operator.outputs, operator.source)
    if kind == "_native_batch_norm_legit_no_training":
        arguments = {**arguments, "training": False, "cudnn_enabled": False}
        return Operator(operator.name, "aten.batch_norm.default", arguments, operator.outputs[:1], operator.source)
    return operator


def _symbolic(shape: tuple[int, ...]) -> tuple[int | str, ...]:
    return tuple(size if size >= 0 else (BATCH if size == -1 else f"{BATCH}*{-size}") for size in shape)
