"""ONNX Runtime on the CPU: sessions to time, and the time of every node of the original file.

The runtime fuses and renames. What it executes is learnt from the optimised graph that it saves while it profiles:
executed node k of a run is node k of that graph. `attribute` leads each of these back to a node of the original file.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from silicut.records import BadFile, ConfigError, ToolMissing, UnsupportedModel
from silicut.targets.engine import (
    EngineSettings,
    Model,
    NodeProfile,
    NodeTimes,
    NodeTiming,
    Session,
    inference_clock,
    machine_fingerprint,
)

_RUNS_PER_TURN = 4
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ToolMissing("onnxruntime", "onnxruntime") from None
    return onnxruntime


class OnnxRuntime:
    """ONNX Runtime's CPU provider: all graph optimisations, one operator at a time, threads that do not spin.

    Spinning threads are off because sessions that live side by side would steal each other's cores (10x slower).

    Args:
        n_threads: threads inside one operator, >= 1.
        batch: size of the first input dimension, >= 1.

    Raises:
        ToolMissing: onnxruntime is not installed.
        ConfigError: a wrong argument.
    """

    name = "onnxruntime"

    def __init__(self, n_threads: int = 1, batch: int = 1) -> None:
        self.settings = EngineSettings(engine=self.name, n_threads=n_threads, batch=batch)
        self._clock = inference_clock(n_threads)
        self._runtime = _runtime()
        self.version = str(self._runtime.__version__)

    def fingerprint(self) -> dict[str, Any]:
        """Return the machine, the engine and its settings; see `Engine.fingerprint`."""
        return {
            **machine_fingerprint(),
            "engine": self.name,
            "engine_version": self.version,
            "n_threads": self.settings.n_threads,
            "batch": self.settings.batch,
            "clock": self._clock[0],
        }

    def load(self, model: Model) -> OnnxRuntimeSession:
        """Return a session of an ONNX model that has run once; see `Engine.load` for the errors."""
        return self._load(model, self._options())

    def profile_nodes(self, model: Model, n_runs: int = 30, reference: Session | None = None) -> NodeProfile:
        """Return the time of every executed node.

        The profiled session, an unprofiled one and the reference run in turn, a few inferences each; the first of
        every turn is discarded. Kernel times are whole microseconds in the runtime's log: quantiles take a time
        logged as d to lie anywhere in [d, d + 1).

        Args:
            model: an ONNX file or its bytes; nodes without a name of their own go by their first output.
            n_runs: runs that count, >= 1; rounded up to whole turns of 4.
            reference: a loaded session whose speed meanwhile is recorded too, e.g. of the dense network.

        Raises:
            the errors of `load`.
        """
        if n_runs < 1:
            raise ConfigError(f"n_runs must be an integer >= 1, not {n_runs!r}")
        with tempfile.TemporaryDirectory() as folder, self.load(model) as plain:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
            with self._load(_with_unique_names(model), options) as profiled:
                sessions = [profiled, plain] if reference is None else [profiled, plain, reference]
                kept, seconds = _take_turns(sessions, n_runs)
                log = Path(profiled.end_profiling())
            nodes = _executed_nodes(json.loads(log.read_text(encoding="utf-8")), kept, options.optimized_model_filepath)
        return NodeProfile(nodes=nodes, n_runs=len(kept), **_whole_runs(*seconds[1:]))

    def node_times(self, model: Model, n_runs: int = 30, reference: Session | None = None) -> NodeTimes:
        """Return the time of every node of the model's own file: `attribute` of `profile_nodes`."""
        return attribute(model, self.profile_nodes(model, n_runs, reference))

    def _options(self) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self.settings.n_threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._runtime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    def _load(self, model: Model, options: Any) -> OnnxRuntimeSession:
        if isinstance(model, Path) and not model.exists():
            raise BadFile(f"{model} does not exist; check the path")
        try:
            session = self._runtime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's errors have no common base
            raise _refused(model, error) from error
        inputs = _random_inputs(session.get_inputs(), self.settings.batch)
        try:
            return OnnxRuntimeSession(self._runtime, session, inputs, self._clock[1])
        except Exception as error:
            raise _refused(model, error) from error


def _refused(model: Model, error: Exception) -> BadFile:
    source = "the model" if isinstance(model, bytes) else str(model)
    return BadFile(f"{source} is not an ONNX model that onnxruntime can run ({error}); export it again")


def _random_inputs(descriptions: Iterable[Any], batch: int) -> dict[str, np.ndarray]:
    """Return one fixed array per input: normal deviates for floats, zeros else (valid as index, length or flag)."""
    rng = np.random.default_rng(0)
    inputs: dict[str, np.ndarray] = {}
    offenders: list[str] = []
    for input_ in descriptions:
        shape = [batch if i == 0 and not isinstance(size, int) else size for i, size in enumerate(input_.shape)]
        offenders += [
            f"input {input_.name!r} has the free dimension {size!r} at axis {axis}"
            for axis, size in enumerate(shape)
            if not isinstance(size, int)
        ]
        if input_.type not in _DTYPES:
            offenders.append(f"input {input_.name!r} is a {input_.type}")
        if offenders:
            continue
        if len(shape) > 1 and shape[0] != batch:
            raise ConfigError(f"batch must be {shape[0]}, to which the model fixes {input_.name!r}, not {batch}")
        dtype = _DTYPES[input_.type]
        floating = np.issubdtype(dtype, np.floating)
        inputs[input_.name] = (rng.standard_normal(shape) if floating else np.zeros(shape)).astype(dtype)
    if offenders:
        raise UnsupportedModel(offenders, "Export tensors of numbers with every size fixed except the first (batch)")
    return inputs


class OnnxRuntimeSession:
    """A loaded model with inputs and outputs bound to memory once; see `silicut.targets.Session`."""

    def __init__(self, runtime: Any, session: Any, inputs: Mapping[str, np.ndarray], clock: Callable[[], float]) -> None:
        self._clock = clock
        self.input_names = tuple(inputs)
        self.input_shapes = tuple(array.shape for array in inputs.values())
        self._session: Any = session
        self._binding: Any = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(name, runtime.OrtValue.ortvalue_from_numpy(array))
        self._output_names = tuple(output.name for output in session.get_outputs())
        for name in self._output_names:
            self._binding.bind_output(name, "cpu")
        session.run_with_iobinding(self._binding)
        for name, value in zip(self._output_names, self._binding.get_outputs(), strict=True):
            self._binding.bind_ortvalue_output(name, value)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs by name for the inputs by name (of `input_shapes`)."""
        outputs = self._session.run(self._output_names, dict(inputs))
        return dict(zip(self._output_names, outputs, strict=True))

    def time_once(self) -> float:
        """Return the seconds of one inference on stored random inputs, feeding excluded, by `inference_clock`."""
        run, binding, clock = self._session.run_with_iobinding, self._binding, self._clock
        start = clock()
        run(binding)
        return clock() - start

    def end_profiling(self) -> str:
        """Stop the log of a session that was made with profiling enabled and return the path of its file."""
        return str(self._session.end_profiling())

    def close(self) -> None:
        """Free the model. Harmless when repeated."""
        self._binding = self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _take_turns(sessions: Sequence[Session], n_runs: int) -> tuple[list[int], np.ndarray]:
    """Return which runs of the first session count (numbered from its load), and the seconds of all sessions' runs.

    The seconds have the shape (sessions, turns, runs of a turn).
    """
    n_turns = math.ceil(n_runs / _RUNS_PER_TURN)
    seconds = np.empty((len(sessions), n_turns, _RUNS_PER_TURN))
    for turn in range(n_turns):
        for i, session in enumerate(sessions):
            session.time_once()
            seconds[i, turn] = [session.time_once() for _ in range(_RUNS_PER_TURN)]
    first = 1  # loading runs once
    starts = range(first, first + n_turns * (1 + _RUNS_PER_TURN), 1 + _RUNS_PER_TURN)
    return [start + 1 + run for start in starts for run in range(_RUNS_PER_TURN)], seconds


def _whole_runs(plain: np.ndarray, reference: np.ndarray | None = None) -> dict[str, float]:
    """Return the fields of `NodeProfile` on whole inferences from seconds of shape (turns, runs of a turn)."""
    run_us = 1e6 * float(np.quantile(plain, 0.1))
    if reference is None:
        return {"run_us": run_us}
    ratio = float(np.median(plain.min(axis=1) / reference.min(axis=1)))
    return {"run_us": run_us, "reference_us": 1e6 * float(np.quantile(reference, 0.1)), "ratio": ratio}


def _executed_nodes(events: list[dict[str, Any]], kept: list[int], optimised: str) -> tuple[NodeTiming, ...]:
    """Return the executed nodes, timed over the kept runs, with tensor names from the saved optimised graph."""
    import onnx

    kernels = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    n_runs = sum(event["name"] == "model_run" for event in events)
    n_nodes = len(kernels) // n_runs
    durations = np.array([event["dur"] for event in kernels]).reshape(n_runs, n_nodes)[kept]
    graph = onnx.load(optimised, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    nodes = []
    for event, column, node in zip(kernels[:n_nodes], durations.T, _in_order(graph, kernels[:n_nodes]), strict=True):
        p10_us, median_us = _quantiles_us(column)
        args, read = event["args"], list(node.input) if node else []
        nodes.append(
            NodeTiming(
                name=event["name"].removesuffix("_kernel_time"),
                op_type=args["op_name"],
                inputs=tuple(name for name in read if name and name not in constants),
                weights=tuple(name for name in read if name in constants),
                outputs=tuple(name for name in node.output if name) if node else (),
                input_shapes=_shapes(args["input_type_shape"]),
                output_shapes=_shapes(args["output_type_shape"]),
                p10_us=p10_us,
                median_us=median_us,
                provider=args.get("provider", ""),
            )
        )
    return tuple(nodes)


def _in_order(graph: Any, events: Sequence[dict[str, Any]]) -> list[Any]:
    """Return the optimised node of each event: by position, or by name where subgraphs break the order."""
    if [node.op_type for node in graph.node] == [event["args"]["op_name"] for event in events]:
        return list(graph.node)
    by_name = {f"{node.name}_kernel_time": node for node in graph.node if node.name}
    return [by_name.get(event["name"]) for event in events]


def _shapes(entries: Iterable[Mapping[str, Sequence[int]]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for entry in entries for shape in entry.values())


def _quantiles_us(durations: np.ndarray) -> tuple[float, float]:
    """Return the 10 % quantile and the median of truncated microseconds, equal ones spread evenly over their unit."""
    values, counts = np.unique(durations, return_counts=True)
    spread = [value + (np.arange(n) + 0.5) / n for value, n in zip(values, counts, strict=True)]
    p10, median = np.quantile(np.concatenate(spread), [0.1, 0.5])
    return float(p10), float(median)


# Back to the original file

_KIND = {
    "FusedConv": "Conv",
    "NhwcFusedConv": "Conv",
    "QLinearConv": "Conv",
    "FusedGemm": "Gemm",
    "FusedMatMul": "Gemm",
    "MatMul": "Gemm",
}
_ABSORBING = frozenset({"Conv", "ConvTranspose", "Gemm"})
_ABSORBED = frozenset(
    "Add BatchNormalization Clip Div Dropout Elu Gelu HardSigmoid HardSwish Identity LeakyRelu Mul PRelu Relu Sigmoid "
    "Sub Tanh".split()
)
_LAYOUT = frozenset({"ReorderInput", "ReorderOutput"})
_NAME_FORMS = (re.compile(r"fused (?P<node>.*)"), re.compile(r"(?P<node>.*)/\w+Fusion/?"))
_TENSOR_FORM = re.compile(r"(?P<tensor>.*)_nchwc(_token_\d+)?")


class _Original:
    """The original file as a graph: nodes by unique name, who makes and who reads each tensor."""

    def __init__(self, model: Model) -> None:
        graph = _proto(model)[0].graph
        self.nodes = {node.name: node for node in graph.node}
        self.maker = {tensor: node.name for node in graph.node for tensor in node.output if tensor}
        self.readers: dict[str, list[str]] = defaultdict(list)
        for node in graph.node:
            for tensor in node.input:
                self.readers[tensor].append(node.name)

    def makers(self, name: str) -> Iterator[str]:
        """Yield the nodes that make the inputs of a node."""
        return (self.maker[tensor] for tensor in self.nodes[name].input if tensor in self.maker)

    def behind(self, tensor: str, op_type: str) -> list[str]:
        """Return the nodes that an executed node of this type may stand for if it yields the tensor, nearest first."""
        kind, found, queue = _kind(op_type), [], [self.maker[tensor]]
        for name in queue:
            if _kind(self.nodes[name].op_type) == kind:
                found.append(name)
            elif kind in _ABSORBING and self.nodes[name].op_type in _ABSORBED:
                queue += [maker for maker in self.makers(name) if maker not in queue]
        return found or queue[:1]


def attribute(model: Model, profile: NodeProfile) -> NodeTimes:
    """Return the time of every node of the original file.

    A fused node's time goes to the convolution, matrix product or other node that it is built around. Reordering into
    a blocked layout is charged to the nodes that read the blocked tensor, in equal parts; reordering out of it to the
    node that wrote it. Times of executed nodes that stand for no original one keep the engine's name.

    An executed node is recognised, in this order, by its name (the original one, "fused NAME", "NAME/...Fusion"); by
    the tensor it yields ("TENSOR_nchwc", or an output that kept its name), going back through what may be fused to the
    nearest node of its kind that is still free; by a constant that only one original node reads.

    Args:
        model: the file that was profiled.
        profile: of `OnnxRuntime.profile_nodes`.
    """
    original = _Original(model)
    owners = _owners(original, profile.nodes)
    times_us: dict[str, float] = defaultdict(float)
    overhead_us: dict[str, float] = defaultdict(float)
    n_executed: dict[str, float] = defaultdict(float)
    for i, node in enumerate(profile.nodes):
        payers = _payers(profile.nodes, i)
        share = 1 / len(payers)
        for payer in payers:
            name = owners.get(payer, profile.nodes[payer].name)
            times_us[name] += node.p10_us * share
            n_executed[name] += share
            if node.op_type in _LAYOUT:
                overhead_us[name] += node.p10_us * share
    return NodeTimes(
        times_us=dict(times_us),
        overhead_us=dict(overhead_us),
        n_executed=dict(n_executed),
        fused_into=_fused_into(original, owners),
        unmatched=tuple(name for name in times_us if name not in original.nodes),
        run_us=profile.run_us,
        reference_us=profile.reference_us,
        ratio=profile.ratio,
    )


def _payers(executed: Sequence[NodeTiming], at: int) -> list[int]:
    """Return the executed nodes that one node's time is charged to: itself, unless it only changes a layout."""
    node = executed[at]
    if node.op_type == "ReorderInput":
        payers = [i for i, reader in enumerate(executed) if set(node.outputs) & set(reader.inputs)]
    elif node.op_type == "ReorderOutput":
        payers = [i for i, writer in enumerate(executed) if set(node.inputs) & set(writer.outputs)]
    else:
        payers = []
    return payers or [at]


def _owners(original: _Original, executed: Sequence[NodeTiming]) -> dict[int, str]:
    """Return the original node that each executed node stands for, by position; layout changes have none."""
    owners = {i: name for i, node in enumerate(executed) if (name := _by_name(original, node.name))}
    options = {
        i: names
        for i, node in enumerate(executed)
        if i not in owners and node.op_type not in _LAYOUT and (names := _by_tensor(original, node))
    }
    taken = set(owners.values())
    for i in sorted(options, key=lambda i: len(options[i])):
        free = [name for name in options[i] if name not in taken]
        owners[i] = (free or options[i])[0]
        taken.add(owners[i])
    return owners


def _by_name(original: _Original, name: str) -> str | None:
    forms = [match["node"] for form in _NAME_FORMS if (match := form.fullmatch(name))]
    return next((candidate for candidate in [name, *forms] if candidate in original.nodes), None)


def _by_tensor(original: _Original, node: NodeTiming) -> list[str]:
    named = _TENSOR_FORM.fullmatch(node.name)
    for tensor in [*([named["tensor"]] if named else []), *node.outputs]:
        if tensor in original.maker:
            return original.behind(tensor, node.op_type)
    return [original.readers[w][0] for w in node.weights if len(original.readers[w]) == 1]


def _fused_into(original: _Original, owners: Mapping[int, str]) -> dict[str, str]:
    """Return the carrier of every original node that is not executed; see `NodeTimes.fused_into`."""
    executed_at = {name: i for i, name in owners.items()}
    carriers: dict[str, str] = {}
    for name in original.nodes:  # a valid file lists nodes after those they read
        if name in executed_at:
            continue
        before = [carriers.get(maker, maker) for maker in original.makers(name)]
        before = [maker for maker in before if maker in executed_at]
        if before:
            carriers[name] = max(before, key=executed_at.__getitem__)
    return carriers


def _kind(op_type: str) -> str:
    return _KIND.get(op_type, op_type)


def _proto(model: Model) -> tuple[Any, bool]:
    """Return the parsed model with all nodes named uniquely, and whether names had to be given."""
    import onnx

    proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model, load_external_data=False)
    taken, seen, renamed = {node.name for node in proto.graph.node}, set(), False
    for node in proto.graph.node:
        if not node.name or node.name in seen:
            stem = node.name or next(filter(None, node.output), node.op_type)
            node.name = next(name for name in _numbered(stem) if name not in taken)
            taken.add(node.name)
            renamed = True
        seen.add(node.name)
    return proto, renamed


def _numbered(stem: str) -> Iterator[str]:
    return itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))


def _with_unique_names(model: Model) -> Model:
    """Return the model itself, or bytes of it in which every node has a name of its own."""
    proto, renamed = _proto(model)
    if not renamed:
        return model
    if isinstance(model, Path):
        from onnx.external_data_helper import load_external_data_for_model

        load_external_data_for_model(proto, str(model.parent))
    return bytes(proto.SerializeToString())
