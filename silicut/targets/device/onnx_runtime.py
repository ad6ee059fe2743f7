"""ONNX Runtime on the CPU: sessions to time, and the log of what each executed kernel takes."""

from __future__ import annotations

import base64
import json
import math
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from .machine import inference_clock
from .turns import RUNS_PER_TURN, Timed, random_array, take_turns, whole_runs

if TYPE_CHECKING:
    from typing import Self  # a device may have Python 3.10

DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
"""The types of inputs that random ones can be made for."""


def session_options(n_threads: int) -> Any:
    """Return options for the fastest sequential run: all graph optimisations, threads that do not spin.

    Spinning threads are off because sessions that live side by side would steal each other's cores (10x slower).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class OnnxRuntimeSession:
    """A loaded model with inputs and outputs bound to memory once, that has run once; see `silicut.targets.Session`.

    Args:
        session: an `onnxruntime.InferenceSession`.
        n_threads: that it was made for; decides the clock.
        inputs: arrays by name; random ones of the session's own shapes when None.
    """

    def __init__(self, session: Any, n_threads: int, inputs: Mapping[str, np.ndarray] | None = None) -> None:
        from onnxruntime import OrtValue

        if inputs is None:
            inputs = {i.name: random_array(i.shape, DTYPES[i.type]) for i in session.get_inputs()}
        self._clock = inference_clock(n_threads)[1]
        self.inputs = dict(inputs)
        self.input_names = tuple(inputs)
        self.input_shapes = tuple(array.shape for array in inputs.values())
        self._session: Any = session
        self._binding: Any = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))
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


FINGERPRINT: dict[str, Any] = {}
"""What else times depend on."""


def version() -> str:
    """Return the runtime's version."""
    import onnxruntime

    return str(onnxruntime.__version__)


def load(path: str, n_threads: int, options: Any = None) -> OnnxRuntimeSession:
    """Return a session of an ONNX file in which every size is fixed; errors are the runtime's own."""
    import onnxruntime

    options = options or session_options(n_threads)
    return OnnxRuntimeSession(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]), n_threads)


def profile_file(path: str, n_threads: int, n_runs: int, reference: Timed) -> dict[str, Any]:
    """Return the `profile` of an ONNX file in which every size is fixed."""
    return profile(lambda options: load(path, n_threads, options), n_threads, n_runs, reference)


def profile(
    load: Callable[[Any], OnnxRuntimeSession], n_threads: int, n_runs: int, reference: Timed | None = None
) -> dict[str, Any]:
    """Return what every executed kernel of a model takes, in plain JSON values.

    The profiled session, an unprofiled one and the reference run in turn. Kernel times are whole microseconds in the
    runtime's log: quantiles take a time logged as d to lie anywhere in [d, d + 1).

    Args:
        load: makes a session of the model from options.
        n_threads: of the options.
        n_runs: runs that count, >= 1; rounded up to whole turns.
        reference: a session whose speed meanwhile is recorded too.

    Returns:
        "nodes": one entry for each kernel, in order; "graph": the optimised model without its larger constants, packed
        (`unpacked` undoes it); "n_runs"; and the entries of `whole_runs`.
    """
    with tempfile.TemporaryDirectory() as folder, load(session_options(n_threads)) as plain:
        options = session_options(n_threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights")
        with load(options) as profiled:
            sessions = [profiled, plain] if reference is None else [profiled, plain, reference]
            seconds = take_turns(sessions, n_runs)
            log = Path(profiled.end_profiling())
        events = json.loads(log.read_text(encoding="utf-8"))
        graph = Path(options.optimized_model_filepath).read_bytes()
    nodes = _kernels(events, _kept_runs(n_runs))
    return {"nodes": nodes, "graph": packed(graph), "n_runs": seconds[0].size, **whole_runs(*seconds[1:])}


def packed(graph: bytes) -> str:
    """Return bytes as a short text."""
    return base64.b64encode(zlib.compress(graph)).decode()


def unpacked(text: str) -> bytes:
    """Return the bytes that `packed` was given.

    Example:
        >>> unpacked(packed(b"graph"))
        b'graph'
    """
    return zlib.decompress(base64.b64decode(text))


def _kept_runs(n_runs: int) -> list[int]:
    """Return which runs since loading count: all but the first of every turn and the one that loading makes."""
    n_turns = math.ceil(n_runs / RUNS_PER_TURN)
    return [1 + turn * (1 + RUNS_PER_TURN) + 1 + run for turn in range(n_turns) for run in range(RUNS_PER_TURN)]


def _kernels(events: Iterable[Mapping[str, Any]], kept: list[int]) -> list[dict[str, Any]]:
    """Return the executed kernels, timed over the kept runs."""
    events = list(events)
    kernels = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    n_runs = sum(event["name"] == "model_run" for event in events)
    n_nodes = len(kernels) // n_runs
    durations = np.array([event["dur"] for event in kernels]).reshape(n_runs, n_nodes)[kept]
    return [
        {
            "name": event["name"].removesuffix("_kernel_time"),
            "op_type": event["args"]["op_name"],
            "kernel": event["args"].get("provider", ""),
            "input_shapes": _shapes(event["args"]["input_type_shape"]),
            "output_shapes": _shapes(event["args"]["output_type_shape"]),
            "time_us": _low_quantile_us(column),
        }
        for event, column in zip(kernels[:n_nodes], durations.T, strict=True)
    ]


def _shapes(entries: Iterable[Mapping[str, Sequence[int]]]) -> list[list[int]]:
    return [list(shape) for entry in entries for shape in entry.values()]


def _low_quantile_us(durations: np.ndarray) -> float:
    """Return the 10 % quantile of truncated microseconds, equal ones spread evenly over their unit."""
    values, counts = np.unique(durations, return_counts=True)
    spread = [value + (np.arange(n) + 0.5) / n for value, n in zip(values, counts, strict=True)]
    return float(np.quantile(np.concatenate(spread), 0.1))
