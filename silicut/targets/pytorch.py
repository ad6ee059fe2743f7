"""PyTorch on the CPU: the network as a module, run operator by operator (eager) or compiled as a whole.

Both run `to_module(network)` in inference mode with channels last, the layout in which PyTorch's convolutions need no
reordering. In eager mode nothing is fused, so every operator has a time of its own. A compiled network has no operators
left to tell apart, and compiling one takes longer than profiling allows: `PyTorchCompiled` measures whole networks only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from silicut.graph import Network
from silicut.records import ConfigError, UnsupportedModel
from silicut.targets.device.machine import engine_fingerprint, inference_clock
from silicut.targets.device.turns import RUNS_PER_TURN, random_array, take_turns, whole_runs
from silicut.targets.engine import Engine, EngineSettings, Model, NodeTimes, Session
from silicut.targets.onnx_runtime import OnnxRuntime


class PyTorch:
    """Eager PyTorch.

    Args:
        n_threads: threads inside one operator, >= 1.
        batch: size of the first input dimension, >= 1.

    Raises:
        ConfigError: a wrong argument.
    """

    name: ClassVar[str] = "pytorch"

    def __init__(self, n_threads: int = 1, batch: int = 1) -> None:
        self.settings = EngineSettings(engine=self.name, n_threads=n_threads, batch=batch)
        import torch

        self.version = str(torch.__version__)

    def fingerprint(self) -> dict[str, Any]:
        """Return the machine, the engine and its settings; see `Engine.fingerprint`."""
        return engine_fingerprint(self.name, self.version, self.settings.n_threads, self.settings.batch)

    def load(self, model: Model) -> PyTorchSession:
        """Return a session of a network that has run once.

        Raises:
            UnsupportedModel: it is an ONNX model, or an operator is not known to the installed PyTorch.
            ConfigError: the network was captured for another batch only.
        """
        return PyTorchSession(self._network(model), self.settings, is_compiled=False)

    def exact(self) -> Engine:
        """Return ONNX Runtime, because this engine runs no files."""
        return OnnxRuntime(self.settings.n_threads, self.settings.batch)

    def node_times(self, model: Model, n_runs: int = 30, reference: Session | None = None) -> NodeTimes:
        """Return the time of every operator of a network; see `NodeTimes`.

        A session that looks at the clock after every operator, one that does not and the reference run in turn.

        Args:
            model: a network.
            n_runs: runs that count, >= 1; rounded up to whole turns.
            reference: a loaded session whose speed meanwhile is recorded too.
        """
        if n_runs < 1:
            raise ConfigError(f"n_runs must be an integer >= 1, not {n_runs!r}")
        network = self._network(model)
        with self.load(network) as plain, _Stepwise(network, self.settings) as timed:
            sessions = [timed, plain] if reference is None else [timed, plain, reference]
            seconds = take_turns(sessions, n_runs)
            times_us = timed.times_us()
        return NodeTimes(
            times_us=times_us,
            overhead_us={},
            n_executed=dict.fromkeys(times_us, 1.0),
            fused_into={},
            unmatched=(),
            **whole_runs(*seconds[1:]),
        )

    def _network(self, model: Model) -> Network:
        if isinstance(model, Network):
            return model
        raise UnsupportedModel(
            [f"engine {self.name!r} runs networks, not ONNX files"],
            "Give the folder of a silicut run, or choose an engine that runs ONNX files",
        )


class PyTorchCompiled(PyTorch):
    """PyTorch with `torch.compile`, whole networks only. Needs a C++ compiler; loading compiles, which takes 10 to 60 s."""

    name = "pytorch-compile"

    def load(self, model: Model) -> PyTorchSession:
        """Return a session of a network that was compiled and has run once; see `PyTorch.load` for the errors."""
        return PyTorchSession(self._network(model), self.settings, is_compiled=True)

    def node_times(self, model: Model, n_runs: int = 30, reference: Session | None = None) -> NodeTimes:
        """Raise ConfigError: a compiled network has no operators left."""
        raise ConfigError(
            f"engine must be one that tells layers apart, not {self.name!r}, which compiles a network into one: profile and "
            "prune with 'pytorch', then measure the result with this one"
        )


class PyTorchSession:
    """A network as a module with inputs made once, that has run once; see `silicut.targets.Session`."""

    def __init__(self, network: Network, settings: EngineSettings, *, is_compiled: bool) -> None:
        import torch

        from silicut.graph import to_module

        self._n_threads = settings.n_threads
        self._clock = inference_clock(settings.n_threads)[1]
        inputs = _inputs(network, settings.batch)
        self.input_names = tuple(inputs)
        self.input_shapes = tuple(array.shape for array in inputs.values())
        self._output_names = network.outputs
        module: Any = to_module(network)
        self._module: Any = module.to(memory_format=torch.channels_last)
        self._call: Callable[..., Any] = torch.compile(self._module) if is_compiled else self._module
        self._inputs = tuple(_tensor(array) for array in inputs.values())
        self.time_once()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs by name for the inputs by name (of `input_shapes`)."""
        with _inference(self._n_threads):
            found = self._call(*(_tensor(inputs[name]) for name in self.input_names))
        outputs = (
            [found]
            if not isinstance(found, tuple | list | dict)
            else list(found.values() if isinstance(found, dict) else found)
        )
        return {name: output.numpy() for name, output in zip(self._output_names, outputs, strict=True)}

    def time_once(self) -> float:
        """Return the seconds of one inference on stored random inputs, by `inference_clock`."""
        call, inputs, clock = self._call, self._inputs, self._clock
        with _inference(self._n_threads):
            start = clock()
            call(*inputs)
            return clock() - start

    def close(self) -> None:
        """Free the network. Harmless when repeated."""
        self._module = self._call = self._inputs = None  # type: ignore[assignment]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Stepwise(PyTorchSession):
    """A session that looks at the clock after every operator."""

    def __init__(self, network: Network, settings: EngineSettings) -> None:
        self._names = [operator.name for operator in network.operators]
        self._ticks: list[list[float]] = []
        super().__init__(network, settings, is_compiled=False)
        self._ticks.clear()

    def time_once(self) -> float:
        from silicut.graph.module import run_stepwise

        clock = self._clock
        with _inference(self._n_threads):
            ticks = [clock()]
            run_stepwise(self._module, self._inputs, lambda _: ticks.append(clock()))
        self._ticks.append(ticks)
        return ticks[-1] - ticks[0]

    def times_us(self) -> dict[str, float]:
        """Return the 10 % quantile of every operator over all runs but the first of each turn."""
        seconds = np.diff(np.array(self._ticks)).reshape(-1, 1 + RUNS_PER_TURN, len(self._names))[:, 1:]
        low = np.quantile(seconds.reshape(-1, len(self._names)), 0.1, axis=0)
        return dict(zip(self._names, (1e6 * low).tolist(), strict=True))


def _inputs(network: Network, batch: int) -> dict[str, np.ndarray]:
    """Return one fixed array per input; see `random_array`.

    Raises:
        ConfigError: the network was captured for another batch only.
    """
    shapes = {name: network.tensors[name].sizes(batch) for name in network.inputs}
    fixed = {name: shape[0] for name, shape in shapes.items() if len(shape) > 1 and shape[0] != batch}
    for name, size in fixed.items():
        raise ConfigError(f"batch must be {size}, for which the network's input {name!r} was captured, not {batch}")
    return {name: random_array(shape, np.dtype(network.tensors[name].dtype)) for name, shape in shapes.items()}


def _tensor(array: np.ndarray) -> Any:
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


@contextmanager
def _inference(n_threads: int) -> Iterator[None]:
    """Run without gradients on so many threads, and leave the process as it was."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
