"""What a measured runtime is: its settings, its fingerprint, and the two protocols that every engine implements."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from silicut.graph import Network
from silicut.records import ConfigError, Record

Model = Network | bytes | Path
"""What an engine can be asked to run: a network, or an ONNX model as the bytes of its file or their path."""

_MOST_LOGGING_US = 10.0  # 0.7 to 1.9 were seen


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineSettings(Record):
    """How a network is run when it is measured.

    Attributes:
        engine: name of the engine, as in `silicut.targets.engine`.
        n_threads: threads inside one operator, >= 1.
        batch: size of the first input dimension, >= 1.
        is_predicted: nothing is run; times come from the profile of a device elsewhere.
        is_simulated: nothing is run; times are cycles of a simulated machine whose clock is assumed.

    Raises:
        ConfigError: every wrong field, at construction.

    Example:
        >>> EngineSettings(engine="onnxruntime", n_threads=0)
        Traceback (most recent call last):
        silicut.records.errors.ConfigError: n_threads must be an integer >= 1, not 0
    """

    schema: ClassVar[str] = "engine_settings/1"
    engine: str
    n_threads: int = 1
    batch: int = 1
    is_predicted: bool = False
    is_simulated: bool = False

    @property
    def how(self) -> str:
        """How latencies come about: "measured", "predicted" or "simulated"."""
        return "simulated" if self.is_simulated else "predicted" if self.is_predicted else "measured"

    def __post_init__(self) -> None:
        fields = {"n_threads": self.n_threads, "batch": self.batch}
        wrong = [f"{name} must be an integer >= 1, not {value!r}" for name, value in fields.items() if not _count(value)]
        if wrong:
            raise ConfigError(*wrong)


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeTiming(Record):
    """One node of the graph that an engine really executed, after its own fusions.

    Attributes:
        name: the engine's own name for the node.
        op_type: operator executed ("Conv", "FusedConv", "ReorderOutput").
        inputs: names of the tensors read that are computed at run time; `weights`: of the constant ones.
        outputs: names of the tensors written, by the engine's own naming.
        input_shapes, output_shapes: as executed, so channel counts are padded where the engine pads; an engine may
            leave out constant inputs, hence these do not pair with `inputs` one to one.
        time_us: microseconds it takes in a run that nothing disturbs: the 10 % quantile over the runs, or the engine's
            nearest to it.
        kernel: who executed it, in the engine's words.
        originals: names of the operators it stands for, where the engine says so.
    """

    schema: ClassVar[str] = "node_timing/2"
    name: str
    op_type: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    time_us: float
    kernel: str
    originals: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeProfile(Record):
    """The executed nodes of one network in execution order, and what the whole network took meanwhile.

    Attributes:
        nodes: the executed nodes.
        n_runs: runs that the times are over.
        run_us: 10 % quantile of whole inferences of a second, unprofiled session, run in turn with the profiled one.
        reference_us: the same for the reference session, run in turn too; None without a reference.
        ratio: median over the turns of the unprofiled session's fastest run over the reference's; None likewise.
    """

    schema: ClassVar[str] = "node_profile/2"
    nodes: tuple[NodeTiming, ...]
    n_runs: int
    run_us: float
    reference_us: float | None = None
    ratio: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeTimes(Record):
    """Where the time of a network goes, in terms of the nodes of its ONNX file (or of its operators, named alike).

    Attributes:
        times_us: microseconds by name of the original node, layout changes included. Executed nodes that stand for no
            original node are listed under the engine's own name, so the values sum up to the sum over all executed
            nodes: nothing is lost.
        overhead_us: the part of `times_us` that is layout changes (reordering into and out of blocked layouts).
        n_executed: how many executed nodes each entry of `times_us` adds up; a shared one counts in parts.
        fused_into: for each original node that is not executed on its own, the original node just before it that is:
            of several inputs the one executed last, because only that one can compute the fused node.
        unmatched: the keys of `times_us` that are no original nodes.
        run_us, reference_us, ratio: as in `NodeProfile`.
    """

    schema: ClassVar[str] = "node_times/1"
    times_us: dict[str, float]
    overhead_us: dict[str, float]
    n_executed: dict[str, float]
    fused_into: dict[str, str]
    unmatched: tuple[str, ...]
    run_us: float
    reference_us: float | None = None
    ratio: float | None = None

    @property
    def total_us(self) -> float:
        """The sum of all nodes' microseconds."""
        return sum(self.times_us.values())

    @property
    def logging_us(self) -> float:
        """What timing one executed node costs: the sum's excess over the unprofiled run, per node, within 0..10."""
        return min(max(0.0, self.total_us - self.run_us) / sum(self.n_executed.values()), _MOST_LOGGING_US)

    @property
    def interrupted_frac(self) -> float:
        """The part of the sum that neither the network nor its logging explains; 0 on a machine left alone.

        An engine may log kernels by the wall clock only, so kernels that last for more than a turn of the processor
        (3 ms) hold the turns of other programs.
        """
        logged = self.total_us - self.logging_us * sum(self.n_executed.values())
        return max(0.0, 1 - self.run_us / logged)

    @property
    def net_us(self) -> dict[str, float]:
        """The microseconds by name without the cost of timing, scaled down by `interrupted_frac` where that is not 0.

        They sum up to `run_us` wherever `total_us` is above it.
        """
        scale, cost_us = 1 - self.interrupted_frac, self.logging_us
        return {name: scale * max(0.0, t - self.n_executed[name] * cost_us) for name, t in self.times_us.items()}


class Session(Protocol):
    """One model, loaded and ready to run; also a context manager that closes itself."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in the order of the model."""

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Their shapes, with the free first dimension set to the batch."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs by name for the inputs by name (of `input_shapes`)."""

    def time_once(self) -> float:
        """Return the seconds of one inference on stored random inputs, feeding excluded.

        They are the seconds of `inference_clock`. On an idle machine its two clocks agree; on a busy one the wall clock
        counts the turns of other programs too, which a short network escapes and a long one does not.
        """

    def close(self) -> None:
        """Free the model; the session cannot be used any more. Harmless when repeated."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(Protocol):
    """A runtime whose latency can be measured."""

    @property
    def name(self) -> str:
        """The name it has in `silicut.targets.engine`."""

    @property
    def version(self) -> str:
        """The version of the runtime."""

    @property
    def settings(self) -> EngineSettings:
        """Threads and batch."""

    def fingerprint(self) -> dict[str, Any]:
        """Return what a measured time depends on, in plain JSON values that are equal in every run: the key of caches.

        It holds the `machine_fingerprint` and the engine's name, version, threads, batch and clock.
        """

    def load(self, model: Model) -> Session:
        """Return a session of a model.

        Raises:
            BadFile: the engine refuses the model.
            UnsupportedModel: an input has a free dimension besides the first, or the engine runs no such models.
            ConfigError: the model's first dimension is fixed to another batch.
        """

    def exact(self) -> Engine:
        """Return an engine that computes what an ONNX file says: this one, unless it runs no files or changes them.

        Raises:
            ToolMissing: that other engine is not installed.
        """

    def node_times(self, model: Model, n_runs: int = 30, reference: Session | None = None) -> NodeTimes:
        """Return the time of every node of the model's ONNX file, or of every operator; see `NodeTimes`.

        Raises:
            ConfigError: the engine cannot tell nodes apart.
        """
