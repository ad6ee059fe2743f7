"""Reads a program of `torch.export` into a `Network`."""

from __future__ import annotations

import operator as python_operator
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export.graph_signature import OutputKind

from silicut.graph.aliasing import Aliasing, argument_names, functional_target, is_in_place
from silicut.graph.constants import Constants, lifted
from silicut.graph.network import DEVICE, Network, Operator, Ref, Tensor
from silicut.graph.normal_form import normal_form, symbolic, usual_batch_norm
from silicut.records import UnsupportedModel

ADVICE = (
    "The network must be traceable by torch.export with these inputs: a fixed graph of tensor operators, "
    "without branches on tensor values"
)
_IGNORED = ("sym_size", "_assert", "sym_constrain", "_assert_scalar", "_assert_tensor_metadata")
_OF_MANY = ("container", "transformer", "MultiheadAttention")  # modules of PyTorch that are several operators
_NUMBERS = torch.SymInt | torch.SymFloat | torch.SymBool | int | float | bool
_OWN_FOLDERS = tuple(os.path.dirname(path) + os.sep for path in (torch.__file__, __file__))


def read_program(program: Any, module: nn.Module) -> Network:
    """Return the network of an exported program of a module.

    Raises:
        UnsupportedModel: some of its parts are no tensor operators, or it writes to its parameters or buffers.
    """
    return _Reader(program, module).network()


def is_users(path: str) -> bool:
    """Tell whether a source file is the user's: neither PyTorch's nor one of this room."""
    return not path.startswith((*_OWN_FOLDERS, "<"))


def source_line(node: Any) -> str:
    """Return the user's line that made a node, "file:line", or ""."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    users = [(file, line) for file, line in frames if is_users(file)]
    return f"{os.path.basename(users[-1][0])}:{users[-1][1]}" if users else ""


class _Reader:
    """Reads one exported program into the parts of a `Network`."""

    def __init__(self, program: Any, module: nn.Module) -> None:
        self._program, self._module = program, module
        self._names: dict[Any, str] = {}  # graph node -> tensor or parameter name
        self._tensors: dict[str, Tensor] = {}
        self._operators: list[Operator] = []
        self._taken: set[str] = {*program.state_dict, *program.constants}
        self._offenders: list[str] = []
        self._constants = Constants(lifted(program))
        self._folded: dict[tuple[Any, int], str] = {}  # constant node and its version -> parameter name
        self._values: dict[str, torch.Tensor] = {**program.state_dict, **program.constants}
        self._aliases = _aliases(program, module)
        self._batch_symbol = self._find_batch_symbol()

    def network(self) -> Network:
        inputs = self._read_placeholders()
        self._aliasing = Aliasing(self._program.graph)
        self._read_graph(self._program.graph)
        outputs = self._read_outputs()
        if self._offenders:
            raise UnsupportedModel(self._offenders, ADVICE)
        return Network(
            inputs=inputs,
            outputs=outputs,
            output_structure=_output_structure(self._program.call_spec.out_spec, len(outputs)),
            tensors=self._tensors,
            operators=tuple(self._operators),
            parameters=(parameters := self._parameters()),
            trainable=frozenset(self._trainable()),
            aliases=self._aliases,
            constants=frozenset(parameters) - frozenset(self._program.state_dict),
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
            name = targets.get(node.name)
            if name is None:
                name = self._unique(node.name)
                inputs.append(name)
                self._tensors[name] = self._tensor(node.meta["val"])
            self._names[node] = self._aliases.get(name, name)
            if node in self._constants:
                self._folded[node, self._constants.version(node)] = self._names[node]
        return tuple(inputs)

    def _parameters(self) -> dict[str, np.ndarray]:
        """Return all parameters, of the constants those that are read."""
        read = {name for operator in self._operators for name in operator.refs()}
        wanted = [n for n in self._values if (n in read or n in self._program.state_dict) and n not in self._aliases]
        return {n: _array(n, value) for n in wanted if isinstance(value := self._values[n], torch.Tensor)}

    def _trainable(self) -> list[str]:
        names = {self._aliases.get(name, name) for name in self._program.graph_signature.parameters}
        return [name for name in names if self._program.state_dict[name].requires_grad]

    def _read_graph(self, graph: Any) -> None:
        for node in graph.nodes:
            if node.op == "call_function" and not self._constants.fold(node):
                self._read_call(node)

    def _read_call(self, node: Any) -> None:
        if node.target is python_operator.getitem:
            return  # named when its producer was read
        if isinstance(node.meta.get("val"), _NUMBERS) or any(tag in str(node.target) for tag in _IGNORED):
            return  # arithmetic on the batch size: its value is written where it is used
        if str(node.target) == "wrap_with_set_grad_enabled":
            self._read_gradient_block(node)
        elif not isinstance(node.target, torch._ops.OpOverload):
            self._offenders.append(f"{node.target} at {source_line(node) or 'unknown line'} is no tensor operator")
            self._outputs(node, node.name)  # so that the rest can be read for more offenders
        else:
            self._read_operator(node)

    def _read_operator(self, node: Any) -> None:
        source, arguments, target = source_line(node), self._arguments(node), functional_target(str(node.target))
        name = self._unique(self._operator_name(node, target.split(".")[1], arguments))
        operator = Operator(name, target, arguments, (), source)
        if operator.kind == "_native_batch_norm_legit_no_training":
            operator = usual_batch_norm(operator)
            outputs = self._first_output(node, name)
        else:
            outputs = self._outputs(node, name)
        operator = Operator(name, operator.target, operator.arguments, outputs, source)
        self._operators.append(self._with_momentum(normal_form(operator, self._tensors)))
        if is_in_place(node):
            self._rename(node, name)

    def _operator_name(self, node: Any, kind: str, arguments: dict[str, Any]) -> str:
        """Return the path of the layer that an operator is, or that its weight belongs to, else path and kind."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, owner = stack[-1] if stack else ("", "")
        weight = arguments.get("weight")
        weight_name = weight.name if isinstance(weight, Ref) else ""
        is_layer = path and str(owner).startswith("torch.nn.modules.") and not any(tag in str(owner) for tag in _OF_MANY)
        if is_layer and (weight_name or f"{path}.weight" not in self._program.state_dict):
            return str(path)
        if weight_name.endswith(".weight") and weight_name in self._program.state_dict:
            return str(weight_name.removesuffix(".weight"))
        if weight_name.endswith("_weight") and weight_name in self._program.state_dict:
            return str(weight_name.removesuffix("_weight"))
        return f"{path}.{kind}" if path else kind

    def _rename(self, node: Any, name: str) -> None:
        """Let what an in-place operator changed be its result from here on."""
        changed = self._aliasing.name(node)
        if changed.op == "placeholder" and self._names[changed] not in self._tensors:
            where = source_line(node) or "unknown line"
            self._offenders.append(f"{node.target} at {where} writes to {self._names[changed]}, which must stay as it is")
        self._names[changed] = name

    def _read_gradient_block(self, node: Any) -> None:
        """Read the body of a `torch.no_grad()` block; what leaves it is detached."""
        is_enabled, block, *inputs = node.args
        graph, outer = getattr(self._program.graph_module, block.target).graph, self._aliasing
        for inner, value in zip(graph.find_nodes(op="placeholder"), inputs, strict=True):
            if value in self._constants:
                self._constants.add(inner, self._constants.value(value))
            else:
                self._names[inner] = self._name(value)
        self._aliasing = Aliasing(graph)
        self._read_graph(graph)
        self._aliasing = outer
        results = graph.output_node().args[0]
        for user in node.users:
            if user.target is python_operator.getitem:
                result = results[user.args[1]]
                if result in self._constants:
                    self._constants.add(user, self._constants.value(result))
                else:
                    name = self._name(result)
                    self._names[user] = name if is_enabled else self._append("aten.detach.default", name)

    def _append(self, target: str, source: str) -> str:
        """Add an operator of one input that returns the same values; return its output's name."""
        name = self._unique(target.split(".")[1])
        self._tensors[name] = self._tensors[source] if source in self._tensors else self._tensor(self._values[source])
        self._operators.append(Operator(name, target, {"self": Ref(source)}, (name,)))
        return name

    def _name(self, node: Any) -> str:
        if node in self._constants:
            return self._constant(node)
        named = self._aliasing.name(node)
        if named not in self._names:
            raise UnsupportedModel([f"{node} is a number that depends on the batch size or on tensor values"], ADVICE)
        return self._names[named]

    def _constant(self, node: Any) -> str:
        """Return the name of a constant in its present state, made a parameter where it is first read."""
        key = node, self._constants.version(node)
        if key not in self._folded:
            self._folded[key] = self._unique(node.name)
            self._values[self._folded[key]] = self._constants.value(node).clone()
        return self._folded[key]

    def _arguments(self, node: Any) -> dict[str, Any]:
        schema = node.target._schema.arguments
        given = dict(zip((a.name for a in schema), node.args, strict=False)) | dict(node.kwargs)
        values = [self._value(given.get(a.name, a.default_value)) for a in schema]
        return dict(zip(argument_names(node), values, strict=True))

    def _value(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            number = value.meta.get("val")
            if isinstance(number, torch.SymInt | int):
                return self._size(number)
            return number if isinstance(number, float) else Ref(self._name(value))
        if isinstance(value, list | tuple):
            return tuple(self._value(item) for item in value)
        if value is None or isinstance(value, bool | int | float | complex | str):
            return value
        return DEVICE if isinstance(value, torch.device) else str(value)  # dtype, layout, memory format: by name

    def _size(self, size: Any) -> int | str:
        multiple = self._batch_multiple(size)
        return int(size) if multiple is None else symbolic((-multiple,))[0]

    def _batch_multiple(self, size: Any) -> int | None:
        """Return k where a size is k times the batch, None where it is a constant."""
        if not isinstance(size, torch.SymInt):
            return None
        ratio = size.node.expr / self._batch_symbol if self._batch_symbol is not None else None
        if ratio is None or not ratio.is_Integer:
            raise UnsupportedModel([f"the size {size} is no constant multiple of the batch size"], ADVICE)
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

    def _first_output(self, node: Any, name: str) -> tuple[str, ...]:
        self._tensors[name] = self._tensor(node.meta["val"][0])
        for user in node.users:
            self._names[user] = name
        return (name,)

    def _read_outputs(self) -> tuple[str, ...]:
        results = self._program.graph.output_node().args[0]
        names = []
        for result, spec in zip(results, self._program.graph_signature.output_specs, strict=True):
            if spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION):
                self._offenders.append(f"the network writes to {spec.target}, which must stay as it is")
            elif spec.kind == OutputKind.USER_OUTPUT and isinstance(result, torch.fx.Node):
                name = self._name(result)
                names.append(name if name in self._tensors else self._append("aten.alias.default", name))
        return tuple(names)

    def _with_momentum(self, operator: Operator) -> Operator:
        """Write momentum None where the user's batch norm averages over all batches; evaluation mode hides it."""
        mean = operator.arguments.get("running_mean")
        if operator.kind != "batch_norm" or not isinstance(mean, Ref):
            return operator
        owner = dict(self._module.named_modules()).get(mean.name.rpartition(".")[0])
        is_average = isinstance(owner, nn.modules.batchnorm._NormBase) and owner.momentum is None
        return operator.with_arguments(momentum=None) if is_average else operator

    def _unique(self, name: str) -> str:
        candidate, n = name, 0
        while candidate in self._taken:
            n += 1
            candidate = f"{name}_{n}"
        self._taken.add(candidate)
        return candidate


def _aliases(program: Any, module: nn.Module) -> dict[str, str]:
    """Return the further names of each shared parameter or buffer, with its first name in the state dict."""
    tensors = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    first: dict[int, str] = {}
    aliases = {}
    for name in program.state_dict:
        if name in tensors and first.setdefault(id(tensors[name]), name) != name:
            aliases[name] = first[id(tensors[name])]
    return aliases


def _array(name: str, value: torch.Tensor) -> np.ndarray:
    try:
        return value.detach().cpu().numpy().copy()
    except (TypeError, RuntimeError):
        kind = f"{value.dtype}, {value.layout}, {value.device}"
        raise UnsupportedModel(
            [f"{name} must be a dense tensor of a type that NumPy has, not {kind}"],
            "Convert the network first, for example by module.float()",
        ) from None


def _output_structure(spec: Any, n_outputs: int) -> str | tuple[str, ...]:
    if spec.is_leaf():
        return "tensor"
    keys = tuple(_output_keys(spec, ""))
    if len(keys) != n_outputs:
        reason = "the network returns something that is no tensor"
        raise UnsupportedModel([reason], "It must return a tensor, or tuples, lists and dicts of tensors")
    is_flat = all(spec.child(i).is_leaf() for i in range(spec.num_children))
    return str(spec.type.__name__) if is_flat and spec.type in (tuple, list) else keys


def _output_keys(spec: Any, path: str) -> Iterator[str]:
    """Yield the path of each output in what a module returns: "logits", "boxes.0"."""
    if spec.is_leaf():
        yield path
        return
    context = spec.context if isinstance(spec.context, list | tuple) else ()
    names = [str(key) for key in context]
    if len(names) != spec.num_children:  # a tuple or list
        names = [str(i) for i in range(spec.num_children)]
    for i, name in enumerate(names):
        yield from _output_keys(spec.child(i), f"{path}.{name}" if path else name)
