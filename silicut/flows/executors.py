"""What can run a network and show every tensor on the way, by name: the parties of a comparison.

A new party (such as RTL) is a class like `Executor` and a name in `EXECUTORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from silicut.flows.compiled import CompiledNetwork
from silicut.graph import Network
from silicut.numerics import IntegerExecutor, Quantisation, QuantisedNetwork, quantise
from silicut.numerics.onnx import plain_name, roundings, stored_quantisations, stored_tensors, to_qdq
from silicut.records import BadFile, ConfigError, ToolMissing

Arrays = Sequence[NDArray[Any]]


class Executor(Protocol):
    """Runs a network."""

    @property
    def name(self) -> str:
        """What a report calls it."""

    @property
    def quantisations(self) -> Mapping[str, Quantisation]:
        """What the tensors stand for that it has as integers, by name."""

    @property
    def origins(self) -> Mapping[str, str]:
        """By integer tensor, the float tensor that it stands for."""

    @property
    def makers(self) -> Mapping[str, str]:
        """Name and kind of the operator that makes each tensor."""

    @property
    def roundings(self) -> tuple[str, ...]:
        """The rounding modes that its operators have."""

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The sizes of one of its first input, None where they are not known."""

    @property
    def batch(self) -> int | None:
        """How many inputs it takes at once, None for any number."""

    def tensors(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return every tensor by name, in order of execution.

        Args:
            inputs: arrays in the order of the network's inputs; floats where an integer network has integers are quantised
                half to even.
        """


def makers(network: Network) -> dict[str, str]:
    """Return name and kind of the operator that makes each tensor of a network."""
    return {output: f"{o.name} ({o.kind})" for o in network.operators for output in o.outputs}


def input_shape(network: Network) -> tuple[tuple[int, ...], int | None]:
    """Return the sizes of one of a network's first input, and how many it takes at once, None for any number."""
    first, *rest = network.tensors[network.inputs[0]].shape
    return tuple(rest), None if first < 0 else first


def _integers(inputs: Arrays, names: Sequence[str], steps: Sequence[Quantisation]) -> dict[str, NDArray[Any]]:
    """Return inputs as integers by name; floats are quantised."""
    if len(inputs) != len(names):
        raise ConfigError(f"inputs must be {len(names)} arrays ({', '.join(names)}), not {len(inputs)}")
    given = zip(names, inputs, steps, strict=True)
    try:
        return {n: quantise(x, q) if x.dtype.kind == "f" else q.format.check(x, f"input {n}") for n, x, q in given}
    except ValueError as error:
        raise ConfigError(str(error)) from None


class Reference:
    """An integer network in NumPy: the definition."""

    def __init__(self, quantised: QuantisedNetwork, name: str = "reference") -> None:
        self.name, self._quantised = name, quantised
        self.quantisations, self.origins = quantised.quantisations, quantised.origins
        self.makers, self.roundings = makers(quantised.network), tuple(roundings(quantised))
        self.input_shape, self.batch = input_shape(quantised.network)
        self._executor = IntegerExecutor(quantised.network)

    def tensors(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return every integer tensor."""
        network = self._quantised.network
        return dict(self._executor.run(_integers(inputs, network.inputs, self._quantised.inputs)))


class PyTorch:
    """An integer network in PyTorch."""

    def __init__(self, quantised: QuantisedNetwork, name: str = "pytorch") -> None:
        from silicut.numerics import IntegerModule

        self.name, self._quantised = name, quantised
        self.quantisations, self.origins = quantised.quantisations, quantised.origins
        self.makers, self.roundings = makers(quantised.network), tuple(roundings(quantised))
        self.input_shape, self.batch = input_shape(quantised.network)
        self._module = IntegerModule(quantised.network)

    def tensors(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return every integer tensor."""
        import torch

        given = _integers(inputs, self._quantised.network.inputs, self._quantised.inputs)
        values = self._module.run({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in given.items()})
        return {name: value.numpy() for name, value in values.items()}


class FloatNetwork:
    """A float network in PyTorch, in evaluation mode."""

    def __init__(self, network: Network, name: str = "float") -> None:
        self.name, self._network = name, network
        self.quantisations: Mapping[str, Quantisation] = {}
        self.origins: Mapping[str, str] = {}
        self.roundings: tuple[str, ...] = ()
        self.makers = makers(network)
        self.input_shape, self.batch = input_shape(network)

    def tensors(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return every float tensor."""
        from dataclasses import replace

        import torch

        from silicut.graph import to_module

        if any(x.dtype.kind != "f" for x in inputs):
            raise ConfigError(f"inputs of {self.name} must hold floats; give images as the float network takes them")
        names = (*self._network.inputs, *self.makers)
        shown = replace(self._network, outputs=names, output_structure="list")
        with torch.no_grad():
            values = to_module(shown).eval()(*(torch.from_numpy(np.ascontiguousarray(x)) for x in inputs))
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}


class OnnxRuntime:
    """An ONNX file in ONNX Runtime, fused as it is when deployed: integer tensors of a QDQ file and the outputs, or, of a
    float file, every tensor.

    Args:
        model: a path, bytes, or a `ModelProto`.
        name: what a report calls it.

    Raises:
        BadFile: the file is missing, or the runtime refuses it.
        ToolMissing: ONNX Runtime is not installed.
    """

    def __init__(self, model: Any, name: str = "onnxruntime") -> None:
        self.name, proto = name, _proto(model)
        stored = stored_tensors(proto)
        self.roundings = ("half_even",) if stored else ()
        self.quantisations = stored_quantisations(proto) if stored else {}
        self.origins = {name: name for name in self.quantisations}
        shown = stored or [output for node in proto.graph.node for output in node.output if output]
        self.makers = _node_makers(proto)
        self._session = _session(proto, shown, name)
        first, *sizes = self._session.get_inputs()[0].shape
        self.input_shape = tuple(sizes) if all(isinstance(size, int) for size in sizes) else None
        self.batch = first if isinstance(first, int) else None

    def tensors(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the integer tensors by their own names, and the outputs."""
        expected = self._session.get_inputs()
        names = [each.name for each in expected]
        if len(inputs) != len(names):
            raise ConfigError(f"inputs must be {len(names)} arrays ({', '.join(names)}), not {len(inputs)}")
        for each, array in zip(expected, inputs, strict=True):
            _check_type(each, array)
        try:
            values = self._session.run(None, dict(zip(names, inputs, strict=True)))
        except Exception as error:
            raise _refused(self.name, error) from error
        outputs = [output.name for output in self._session.get_outputs()]
        found = dict(zip(outputs, values, strict=True))
        return {plain_name(name): found[name] for name in self._ordered(outputs)}

    def _ordered(self, outputs: list[str]) -> list[str]:
        order = {name: i for i, name in enumerate(self.makers)}
        return sorted(outputs, key=lambda name: order.get(plain_name(name), len(order)))


def _check_type(expected: Any, array: NDArray[Any]) -> None:
    wanted = {"tensor(float)": "float32"}.get(expected.type, expected.type.removeprefix("tensor(").rstrip(")"))
    if array.dtype.name != wanted:
        raise ConfigError(f"input {expected.name!r} must hold {wanted}, not {array.dtype}")


def _proto(model: Any) -> Any:
    from silicut.numerics.onnx.reader import opened_model

    return opened_model(model).proto


def _node_makers(proto: Any) -> dict[str, str]:
    """Return the layer behind each stored tensor: the node before its quantiser."""
    nodes = {output: node for node in proto.graph.node for output in node.output}
    makers = {}
    for output, node in nodes.items():
        source = node
        while source.op_type in ("QuantizeLinear", "Clip", "Relu") and source.input[0] in nodes:
            source = nodes[source.input[0]]
        makers[plain_name(output)] = f"{source.name} ({source.op_type})"
    return makers


def _session(proto: Any, shown: Sequence[str], name: str) -> Any:
    from onnx import helper

    try:
        import onnxruntime
    except ImportError:
        raise ToolMissing("onnxruntime", "onnxruntime") from None
    whole = type(proto)()
    whole.CopyFrom(proto)
    known = {output.name for output in whole.graph.output}
    whole.graph.output.extend(helper.make_empty_tensor_value_info(tensor) for tensor in shown if tensor not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common base
        raise _refused(name, error) from error


def _refused(name: str, error: Exception) -> BadFile:
    reason = str(error).splitlines()[-1] if str(error) else type(error).__name__
    return BadFile(f"{name} is not an ONNX model that onnxruntime can run ({reason}); export it again")


def _onnx_runtime(subject: Any, name: str) -> Executor:
    return OnnxRuntime(to_qdq(subject) if isinstance(subject, QuantisedNetwork) else subject, name)


def _simulator(subject: Any, name: str) -> Executor:
    from silicut.flows.simulator import Simulator

    return Simulator(subject, name)


EXECUTORS: dict[str, tuple[Callable[[Any, str], Executor], tuple[type, ...]]] = {
    "reference": (Reference, (QuantisedNetwork,)),
    "pytorch": (PyTorch, (QuantisedNetwork,)),
    "float": (FloatNetwork, (Network,)),
    "simulator": (_simulator, (CompiledNetwork, QuantisedNetwork)),
    "onnxruntime": (_onnx_runtime, (QuantisedNetwork, str, Path, bytes)),
}
"""By name: what makes an executor of a subject and its name in reports, and the subjects that it takes."""


def executor(subject: Any, kind: str | None = None, name: str | None = None) -> Executor:
    """Return an executor of a network.

    Args:
        subject: an integer network, a compiled one, a float `Network`, or an ONNX file (path or bytes).
        kind: a name of `EXECUTORS`; the first that takes the subject by default.
        name: what reports call it; the kind by default.

    Raises:
        ConfigError: there is no such executor, or it does not take the subject.
    """
    if isinstance(subject, CompiledNetwork) and kind not in (None, "simulator"):
        subject = subject.network
    fitting = [key for key, (_, kinds) in EXECUTORS.items() if isinstance(subject, kinds)]
    if kind is not None and kind not in EXECUTORS:
        raise ConfigError(f"executor must be one of {', '.join(EXECUTORS)}, not {kind!r}")
    if not fitting or (kind is not None and kind not in fitting):
        takes = (
            f"one of {', '.join(fitting)} for {_called(subject)}" if fitting else f"given an own one for {_called(subject)}"
        )
        raise ConfigError(f"executor must be {takes}, not {kind!r}")
    chosen = kind or fitting[0]
    return EXECUTORS[chosen][0](subject, name or chosen)


def _called(subject: Any) -> str:
    return {QuantisedNetwork: "an integer network", Network: "a float network"}.get(type(subject), type(subject).__name__)
