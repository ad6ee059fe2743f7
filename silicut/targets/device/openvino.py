"""OpenVINO on the CPU: sessions to time, and what its performance counters say of each executed node.

With one thread the calling thread itself computes (its own clock and the process's agree to 0.1 %), so `inference_clock`
holds. Threads are not pinned: all sessions would be pinned to the same core, where other programs' turns doubled the
wall time that the counters go by.

Models are read and compiled by the runtime alone. What reports to the vendor is the converter of other formats, which is
never called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from .machine import inference_clock
from .turns import Timed, random_array, take_turns, whole_runs

if TYPE_CHECKING:
    from typing import Self  # a device may have Python 3.10

FINGERPRINT = {"precision": "f32"}
"""What else times depend on. The runtime's own default would be bf16 wherever the processor has it: other numbers."""

_INTERRUPTED = 1.25  # times the lower quartile; caches and clocks vary by less
_N_CALLS = 200


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
        self.n_threads = n_threads
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

    def counters(self) -> Any:
        """Return the counters as the runtime gives them, for `counters_us`: quickly, to disturb the next run little."""
        return self._request.profiling_info

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
        lists = [profiled.counters()]
        for _ in range(n_runs):
            profiled.time_once()
            lists.append(profiled.counters())
        after = take_turns(sessions, -(-n_runs // 2))
        nodes, counted = profiled.nodes(), [counters_us(list_) for list_ in lists]
    counters = {node["name"]: np.array([c.get(node["name"], 0) for c in counted], float) for node in nodes}
    whole = whole_runs(*np.concatenate([before, after], axis=1))
    counters = {name: counter for name, counter in counters.items() if counter.any()}
    times_us = node_times_us(counters, whole["run_us"] - call_us(profiled.n_threads))
    timed = [{**node, "time_us": times_us[node["name"]]} for node in nodes if node["name"] in times_us]
    return {"nodes": timed, "n_runs": n_runs, **whole}


def counters_us(counters: Any) -> dict[str, int]:
    """Return the counter of every node by name: the mean over all runs so far, cut to whole microseconds."""
    return {info.node_name: round(1e6 * info.real_time.total_seconds()) for info in counters}


def node_times_us(counters: Mapping[str, np.ndarray], total_us: float) -> dict[str, float]:
    """Return what every node takes in a run that nothing disturbs, from its counter after each run.

    Args:
        counters: of every node that takes time (n + 1,); the first is of the run that loading makes.
        total_us: what all of them take together; the counters cost no more than two runs differ by.
    """
    usual = {name: usual_us(counter) for name, counter in counters.items()}
    scale = max(total_us, 0.0) / max(sum(usual.values()), 1e-9)
    return {name: scale * us for name, us in usual.items()}


@lru_cache
def call_us(n_threads: int) -> float:
    """Return what an inference takes outside its nodes: the 10 % quantile of a network of one addition.

    It cannot be read off the profiled runs: reading counters between them slows the next call down.
    """
    import openvino
    from openvino import opset8

    x = opset8.parameter([1], np.float32)
    model = openvino.Model([opset8.add(x, np.ones(1, np.float32))], [x], "call")
    with OpenVinoSession(compiled(model, n_threads), n_threads, {"x": np.zeros(1, np.float32)}) as session:
        return 1e6 * float(np.quantile([session.time_once() for _ in range(_N_CALLS)], 0.1))


def increments_us(counter: np.ndarray) -> np.ndarray:
    """Return how much each run after the first added to a counter's sum: cut microseconds (n,), each known to within n.

    Counter k is the mean of k runs, each cut to whole microseconds, cut again.
    """
    n_runs = np.arange(1, len(counter) + 1)
    increments: np.ndarray = np.diff(n_runs * counter + (n_runs - 1) / 2)
    return increments


def usual_us(counter: np.ndarray) -> float:
    """Return what a node takes in a run after the first, interruptions left out, from its counter after each run.

    The runs' sum is known far better than each of them, so the mean is taken; but of those runs only that added no more to
    the sum than a quarter of the runs did, give or take what is not known. Half a microsecond was cut off on average.

    Args:
        counter: whole microseconds (n + 1,), n >= 1; the first is of the run that loading makes.

    Example:
        >>> usual_us(np.array([100, 60, 47, 40]))  # cut runs of 100, 20, 21 and 20
        21.0
    """
    each = increments_us(counter)
    unknown = 2 * np.arange(2, len(counter) + 1)
    kept = each[each <= _INTERRUPTED * max(float(np.quantile(each, 0.25)), 0.0) + unknown]
    return max(0.0, float(kept.mean())) + 0.5


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
