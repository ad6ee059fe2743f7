"""OpenVINO on the CPU: sessions to time, and what its performance counters say of each executed node.

With one thread the calling thread itself computes (its own clock and the process's agree to 0.1 %), so `inference_clock`
holds. Threads are not pinned: all sessions would be pinned to the same core, where other programs' turns doubled the
wall time that the counters go by.

Models are read and compiled by the runtime alone. What reports to the vendor is the converter of other formats, which is
never called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from .machine import inference_clock
from .turns import Timed, random_array, take_turns, whole_runs

if TYPE_CHECKING:
    from typing import Self  # a device may have Python 3.10

FINGERPRINT = {"precision": "f32"}
"""What else times depend on. The runtime's own default would be bf16 wherever the processor has it: other numbers."""

_INTERRUPTED = 2.0  # times the usual


def compiled(model: Any, n_threads: int, *, counts: bool = False) -> Any:
    """Return a model of the runtime made ready for the least latency.

    Args:
        model: an `openvino.Model`.
        n_threads: that compute, >= 1.
        counts: with performance counters.
    """
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": n_threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": FINGERPRINT["precision"],
        "ENABLE_CPU_PINNING": False,
        "PERF_COUNT": counts,
    }
    return openvino.Core().compile_model(model, "CPU", settings)


class OpenVinoSession:
    """A compiled model with inputs bound to memory once, that has run once; see `silicut.targets.Session`.

    Args:
        model: what `compiled` returned.
        n_threads: that it was compiled for; decides the clock.
        inputs: arrays by name, in the model's order; random ones when None.
    """

    def __init__(self, model: Any, n_threads: int, inputs: Mapping[str, np.ndarray] | None = None) -> None:
        import openvino

        if inputs is None:
            inputs = {port.any_name: random_array(tuple(port.shape), port.element_type.to_dtype()) for port in model.inputs}
        self._clock = inference_clock(n_threads)[1]
        self.input_names = tuple(inputs)
        self.input_shapes = tuple(array.shape for array in inputs.values())
        self._output_names = tuple(port.any_name for port in model.outputs)
        self._model: Any = model
        self._request: Any = model.create_infer_request()
        for i, array in enumerate(inputs.values()):
            self._request.set_input_tensor(i, openvino.Tensor(np.ascontiguousarray(array)))
        self._request.infer()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs by name for the inputs by name (of `input_shapes`)."""
        found = self._model.infer_new_request([inputs[name] for name in self.input_names])
        return {name: np.array(found[i]) for i, name in enumerate(self._output_names)}

    def time_once(self) -> float:
        """Return the seconds of one inference on stored random inputs, feeding excluded, by `inference_clock`."""
        run, clock = self._request.infer, self._clock
        start = clock()
        run()
        return clock() - start

    def counters_us(self) -> dict[str, int]:
        """Return the counter of every node: the mean over all runs so far, cut to whole microseconds."""
        return {info.node_name: round(1e6 * info.real_time.total_seconds()) for info in self._request.profiling_info}

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes in order of execution, in plain JSON values: everything but their times."""
        return [_described(node) for node in self._model.get_runtime_model().get_ordered_ops()]

    def close(self) -> None:
        """Free the model. Harmless when repeated."""
        self._request = self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def version() -> str:
    """Return the runtime's version."""
    import openvino

    return str(openvino.__version__)


def load(path: str, n_threads: int, *, counts: bool = False) -> OpenVinoSession:
    """Return a session of an ONNX file in which every size is fixed; errors are the runtime's own."""
    import openvino

    return OpenVinoSession(compiled(openvino.Core().read_model(path), n_threads, counts=counts), n_threads)


def profile_file(path: str, n_threads: int, n_runs: int, reference: Timed) -> dict[str, Any]:
    """Return the `profile` of an ONNX file in which every size is fixed."""
    return profile(lambda counts: load(path, n_threads, counts=counts), n_runs, reference)


def profile(load: Callable[[bool], OpenVinoSession], n_runs: int, reference: Timed | None = None) -> dict[str, Any]:
    """Return what every executed node of a model takes, in plain JSON values.

    The profiled session runs in one go, because the first run after a turn of another would be slower and the counters
    cannot leave it out; the unprofiled session and the reference run in turn, half before and half after it.

    Args:
        load: makes a session of the model, with performance counters or without.
        n_runs: runs that count, >= 1; those of the unprofiled session and the reference rounded up to whole turns.
        reference: a session whose speed meanwhile is recorded too.

    Returns:
        "nodes": one entry for each executed node, in order; "n_runs"; and the entries of `whole_runs`.
    """
    with load(False) as plain, load(True) as profiled:
        sessions = [plain] if reference is None else [plain, reference]
        before = take_turns(sessions, -(-n_runs // 2))
        counted, seconds = [profiled.counters_us()], []
        for _ in range(n_runs):
            seconds.append(profiled.time_once())
            counted.append(profiled.counters_us())
        after = take_turns(sessions, -(-n_runs // 2))
        nodes = profiled.nodes()
    quiet = quiet_frac(np.array(seconds))
    timed = []
    for node in nodes:
        counter = np.array([counters.get(node["name"], 0) for counters in counted], float)
        if counter.any():
            timed.append({**node, "time_us": quiet * usual_us(counter)})
    return {"nodes": timed, "n_runs": n_runs, **whole_runs(*np.concatenate([before, after], axis=1))}


def usual_us(counter: np.ndarray) -> float:
    """Return what a node took in a usual run after the first, from its counter after each run.

    Counter k is the mean of k runs, each cut to whole microseconds, cut again. So k times the counter tells the sum of k
    runs to within k; what was cut off is half a microsecond on average, twice. Differences of sums that are too large for
    that belong to runs in which another program had its turn, and are left out.

    Args:
        counter: whole microseconds (n + 1,), n >= 1; the first is of the run that loading makes.

    Example:
        >>> usual_us(np.array([100, 60, 47, 40]))  # cut runs of 100, 20, 21 and 20
        21.0
    """
    n_runs = np.arange(1, len(counter) + 1)
    sums = n_runs * counter + (n_runs - 1) / 2
    each = np.diff(sums)
    usual = float(np.median(each))
    kept = each[each <= max(_INTERRUPTED * usual, 0.0) + 2 * n_runs[1:]]
    return max(0.0, float(kept.mean())) + 0.5


def quiet_frac(seconds: np.ndarray) -> float:
    """Return the 10 % quantile of runs over the mean of those not interrupted: from a mean to what others report."""
    usual = seconds[seconds <= _INTERRUPTED * np.median(seconds)]
    return float(np.quantile(seconds, 0.1) / usual.mean())


def _described(node: Any) -> dict[str, Any]:
    info = {key: str(value.astype(str)) for key, value in node.get_rt_info().items() if hasattr(value, "astype")}
    return {
        "name": node.get_friendly_name(),
        "op_type": info.get("layerType", node.get_type_name()),
        "kernel": info.get("primitiveType", ""),
        "originals": [name for name in info.get("originalLayersNames", "").split(",") if name],
        "inputs": [source.get_source_output().get_node().get_friendly_name() for source in node.inputs()],
        "input_shapes": [list(port.get_shape()) for port in node.inputs()],
        "output_shapes": [list(port.get_shape()) for port in node.outputs()],
    }
