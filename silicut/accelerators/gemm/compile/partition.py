"""Which operators of an integer network become which layers of the accelerator, and what stays on the host and why.

A layer is one walk over the map: products, windows or single numbers, and behind them, in the order in which the hardware
does them, a requantiser, the addition of another tensor, a function and a clamp, and a copy of fewer bits. Operators that
only say where numbers lie (concatenate, flatten, slices and pads of channels) become no layer at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from silicut.accelerators.gemm.compile.fused import Assignment, Epilogue, FusedLayer, Where
from silicut.accelerators.gemm.compile.supported import alias_problem, step_problem, window_problem
from silicut.graph import Network, Operator
from silicut.numerics import (
    Add,
    Clamp,
    Concatenate,
    Convolution2d,
    IntegerExecutor,
    IntegerOperator,
    Linear,
    Lookup,
    MaxPool2d,
    Pad,
    Requantise,
    Reshape,
    Slice,
    SumPool2d,
)


@dataclass(frozen=True, eq=False)
class Partition:
    """An integer network cut into layers.

    Attributes:
        network: what was cut.
        operators: its integer operators by name.
        layers: in an order in which they can run.
        aliases: by tensor, the operator that says where it lies.
        assignments: one for each operator of the network, in its order.
        outputs: the tensors that the accelerator hands back: outputs of the network, and what the host reads.
    """

    network: Network
    operators: Mapping[str, IntegerOperator]
    layers: tuple[FusedLayer, ...]
    aliases: Mapping[str, Operator]
    assignments: tuple[Assignment, ...]
    outputs: tuple[str, ...]

    @property
    def on_host(self) -> tuple[Assignment, ...]:
        """What stays on the host."""
        return tuple(row for row in self.assignments if row.where is Where.HOST)


def partition(network: Network) -> Partition:
    """Return which operator runs where.

    What the host makes is read by the host alone: an operator behind one that stays there stays there too.

    Args:
        network: an integer network.

    Raises:
        UnsupportedModel, ConfigError: it is no integer network.
    """
    return _Partitioning(network).result()


class _Partitioning:
    """Takes the operators in order; each one begins a layer, says where numbers lie, or stays on the host."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.operators = IntegerExecutor(network).operators
        self.position = {operator.name: i for i, operator in enumerate(network.operators)}
        self.rows: dict[str, Assignment] = {}
        self.layers: list[FusedLayer] = []
        self.aliases: dict[str, Operator] = {}
        self.host_tensors: set[str] = set()

    def result(self) -> Partition:
        for operator in self.network.operators:
            self._keep_on_host(operator)
        for operator in self.network.operators:
            if operator.name not in self.rows:
                self._assign(operator)
        last = {layer.name: self._position(layer) for layer in self.layers}
        return Partition(
            self.network,
            self.operators,
            tuple(sorted(self.layers, key=lambda layer: last[layer.name])),
            self.aliases,
            tuple(self.rows[operator.name] for operator in self.network.operators),
            tuple(self._outputs()),
        )

    def _position(self, layer: FusedLayer) -> int:
        """Return behind which operator a layer must run: its last, but for the copy, which reads nothing else."""
        names = layer.operators[:-1] if layer.epilogue.copy_output and len(layer.operators) > 1 else layer.operators
        return max(self.position[name] for name in names)

    def _outputs(self) -> Iterator[str]:
        on_host = {row.operator for row in self.rows.values() if row.where is Where.HOST}
        made = {tensor for layer in self.layers for tensor in layer.epilogue.made} | self.aliases.keys()
        for name in self.network.tensors:
            readers = {operator.name for operator in self.network.consumers.get(name, ())}
            if name in made and (name in self.network.outputs or readers & on_host):
                yield name

    def _keep_on_host(self, operator: Operator) -> None:
        integer = self.operators[operator.name]
        problem = self._problem(operator, integer)
        if problem:
            self.host_tensors.update(operator.outputs)
            self.rows[operator.name] = Assignment(operator.name, integer.kind, Where.HOST, reason=problem)

    def _assign(self, operator: Operator) -> None:
        integer = self.operators[operator.name]
        if self._is_alias(operator, integer):
            self.aliases[operator.outputs[0]] = operator
            self.rows[operator.name] = Assignment(operator.name, integer.kind, Where.LAYOUT)
        else:
            self._begin(operator, integer)

    def _problem(self, operator: Operator, integer: IntegerOperator) -> str:
        read = [name for name in self._inputs(operator) if name in self.host_tensors]
        if read:
            return f"it reads {read[0]}, which the host makes"
        shapes = [self.network.tensors[name].sizes(1) for name in (*self._inputs(operator), operator.outputs[0])]
        if self._makes_sums(operator) and self._requantiser(operator) is None:
            return "its sums must be read by one requantiser alone and be no output"
        if isinstance(integer, Concatenate | Reshape) or self._is_alias(operator, integer):
            return alias_problem(integer, shapes)
        if isinstance(integer, Convolution2d | Linear | SumPool2d | MaxPool2d | Slice | Pad):
            return window_problem(integer, shapes)
        producer = self.network.producer.get(self._inputs(operator)[0])
        return step_problem(integer, shapes, behind_sums=producer is not None and self._makes_sums(producer))

    def _makes_sums(self, operator: Operator) -> bool:
        return isinstance(self.operators[operator.name], Convolution2d | Linear | SumPool2d)

    def _inputs(self, operator: Operator) -> list[str]:
        return [reference.name for reference in operator.arguments["inputs"]]

    def _is_alias(self, operator: Operator, integer: IntegerOperator) -> bool:
        """Tell whether an operator only says where numbers lie: joins, flattens, and what touches channels alone."""
        n_axes = len(self.network.tensors[operator.outputs[0]].shape)
        if isinstance(integer, Slice):
            return integer.axis % n_axes == 1
        if isinstance(integer, Pad):
            return not any(any(pair) for axis, pair in enumerate(integer.pads) if axis != 1)
        return isinstance(integer, Concatenate | Reshape)

    def _only_reader(self, tensor: str) -> Operator | None:
        readers = self.network.consumers.get(tensor, ())
        return readers[0] if len(readers) == 1 and tensor not in self.network.outputs else None

    def _requantiser(self, operator: Operator) -> Operator | None:
        reader = self._only_reader(operator.outputs[0])
        return reader if reader and not self._refusal(reader, Requantise) else None

    def _refusal(self, operator: Operator, kind: type) -> str:
        """Return why an operator cannot be a step of this kind of a layer, "" where it can."""
        integer = self.operators[operator.name]
        if not isinstance(integer, kind) or operator.name in self.rows:
            return "it is another step"
        names = (*self._inputs(operator), operator.outputs[0])
        if any(name in self.host_tensors for name in names):
            return "it reads what the host makes"
        return step_problem(integer, [self.network.tensors[name].sizes(1) for name in names], behind_sums=True)

    def _begin(self, operator: Operator, integer: IntegerOperator) -> None:
        """Make the layer that begins with an operator, with all that can follow in the same walk."""
        is_window = isinstance(integer, Convolution2d | Linear | MaxPool2d | SumPool2d | Slice | Pad)
        chain = [operator]
        if isinstance(integer, Slice) and (second := self._other_slice(operator, integer)):
            chain.append(second)
        roots = tuple(self.operators[o.name] for o in chain) if is_window else ()
        source = self._inputs(operator)[0]
        steps = _Steps(self, chain if is_window else [], source)
        if not is_window:
            steps.take(operator)
        epilogue = steps.epilogue()
        names = tuple(o.name for o in steps.chain)
        self.layers.append(FusedLayer(name=operator.name, source=source, roots=roots, epilogue=epilogue, operators=names))
        is_product = isinstance(integer, Convolution2d | Linear)
        for part in steps.chain:
            where = Where.CORES if is_product else Where.POST
            kind = self.operators[part.name].kind
            self.rows[part.name] = Assignment(part.name, kind, where, layer=operator.name)

    def _other_slice(self, operator: Operator, integer: Slice) -> Operator | None:
        """Return the slice along the other direction of the map that alone reads this one."""
        reader = self._only_reader(operator.outputs[0])
        other = self.operators[reader.name] if reader else None
        if reader is None or not isinstance(other, Slice) or {integer.axis, other.axis} != {2, 3}:
            return None
        shapes = [self.network.tensors[name].sizes(1) for name in (operator.outputs[0], reader.outputs[0])]
        return None if window_problem(other, shapes) else reader


class _Steps:
    """Grows the epilogue of a layer: each step is taken if it alone reads what the layer makes so far."""

    def __init__(self, partitioning: _Partitioning, chain: list[Operator], source: str) -> None:
        self.owner, self.chain = partitioning, chain
        self.tensor = chain[-1].outputs[0] if chain else source
        self.steps: dict[str, object] = {}

    def take(self, operator: Operator) -> None:
        """Add an operator whatever else reads its input: the first of a layer of single numbers."""
        integer = self.owner.operators[operator.name]
        if isinstance(integer, Add):
            names = self.owner._inputs(operator)
            own = names.index(self.tensor)
            self.steps |= {"own": own, "residual": names[1 - own]}
        self.steps[integer.kind] = integer
        self.chain.append(operator)
        self.tensor = operator.outputs[0]

    def epilogue(self) -> Epilogue:
        """Return all steps that can be taken."""
        order: tuple[type[IntegerOperator], ...] = (Requantise, Add, Lookup, Clamp)
        done = -1
        if self.steps:
            done = max(i for i, kind in enumerate(order) if kind.kind in self.steps)
        for kind in order[done + 1 :]:
            reader = self.owner._only_reader(self.tensor)
            if reader and not self.owner._refusal(reader, kind) and self._can_add(reader):
                self.take(reader)
        return self._with_copy()

    def _can_add(self, operator: Operator) -> bool:
        names = self.owner._inputs(operator)
        return len(names) == 1 or names[0] != names[1]

    def _with_copy(self) -> Epilogue:
        network, readers = self.owner.network, self.owner.network.consumers.get(self.tensor, ())
        copies = [reader for reader in readers if self._is_copy(reader)]
        steps = {**self.steps, "output": self.tensor}
        if copies:
            if len(readers) == 1 and self.tensor not in network.outputs:
                steps["output"] = ""
            steps |= {"copy": self.owner.operators[copies[0].name], "copy_output": copies[0].outputs[0]}
            self.chain.append(copies[0])
        return Epilogue(**steps)  # type: ignore[arg-type]

    def _is_copy(self, reader: Operator) -> bool:
        integer = self.owner.operators[reader.name]
        if self.owner._refusal(reader, Requantise):
            return False
        assert isinstance(integer, Requantise)
        return len(integer.multiplier) == 1 and integer.input_format.bits <= 8
