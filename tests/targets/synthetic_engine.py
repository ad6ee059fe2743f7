"""An engine whose times follow a known formula, so that what a profile should find out is known beforehand.

A convolution takes `node_us` + `mac_us` x kernel area x output area x channels in, filled up to blocks of `block_in`, x
channels out, filled up to blocks of `block_out`; `cliff` times that where the channels in are no multiple of
`block_in`. Pools take time for every element they read, a matrix product for every product. Everything else is fused.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import numpy as np
import onnx

from silicut.graph import Network
from silicut.graph.onnx_writer import to_onnx
from silicut.targets import EngineSettings, NodeTimes, Session


@dataclass(frozen=True)
class Formula:
    """What a node takes; see above. `call_us` is added once to a network."""

    call_us: float = 5.0
    node_us: float = 0.5
    mac_us: float = 1e-5
    element_us: float = 1e-4
    block_in: int = 4
    block_out: int = 16
    cliff: float = 1.5

    @lru_cache(maxsize=2)  # a network is timed several times in a row  # noqa: B019
    def node_times_us(self, model: bytes) -> dict[str, float]:
        """Return the microseconds of every node that is not fused, by name."""
        graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model)).graph
        shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.value_info)}
        shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.output}
        shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
        rules: dict[str, Callable[[Any, dict[str, list[int]]], float]] = {
            "Conv": self._conv,
            "Gemm": lambda node, s: self.mac_us * math.prod(s[node.input[1]]),
            "GlobalAveragePool": self._pool,
            "MaxPool": self._pool,
            "AveragePool": self._pool,
        }
        return {n.name: self.node_us + rules[n.op_type](n, shapes) for n in graph.node if n.op_type in rules}

    def network_us(self, model: bytes) -> float:
        """Return the microseconds of a whole network."""
        return self.call_us + sum(self.node_times_us(model).values())

    def conv_us(self, kernel_area: int, out_area: int, n_in: int, n_out: int) -> float:
        """Return the microseconds of a dense convolution."""
        filled = math.ceil(n_in / self.block_in) * self.block_in * math.ceil(n_out / self.block_out) * self.block_out
        return self.node_us + self.mac_us * kernel_area * out_area * filled * (self.cliff if n_in % self.block_in else 1)

    def _conv(self, node: Any, shapes: dict[str, list[int]]) -> float:
        n_out, n_in, *kernel = shapes[node.input[1]]
        area, out_area = math.prod(kernel), math.prod(shapes[node.output[0]][2:])
        groups = next(a.i for a in node.attribute if a.name == "group")
        if groups > 1:
            return self.mac_us * area * out_area * n_in * math.ceil(n_out / self.block_out) * self.block_out
        return self.conv_us(area, out_area, n_in, n_out) - self.node_us

    def _pool(self, node: Any, shapes: dict[str, list[int]]) -> float:
        return self.element_us * math.prod(shapes[node.input[0]])


@dataclass
class SyntheticSession:
    """A session that takes as long as it is told, without running anything."""

    us: float
    noise_frac: float
    rng: np.random.Generator
    input_names: tuple[str, ...] = ("x",)
    input_shapes: tuple[tuple[int, ...], ...] = ((1, 3, 8, 8),)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def time_once(self) -> float:
        return 1e-6 * self.us * _noisy(self.rng, self.noise_frac)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@dataclass
class SyntheticEngine:
    """An engine that times by a formula.

    Attributes:
        formula: what nodes take.
        noise_frac: standard deviation of every time, multiplicative; equal models meet equal noise.
        seed: of the noise.
        real_us: what whole networks take in a session (not in a profile), from their microseconds by the formula.
        fails_at: number of the profiled network at which the user interrupts; 0 is the first.
        version: of the runtime.
        profiled, loaded: the ONNX models seen so far.
    """

    formula: Formula = field(default_factory=Formula)
    noise_frac: float = 0.0
    seed: int = 0
    real_us: Callable[[float], float] = float
    fails_at: int = -1
    version: str = "1"
    settings: EngineSettings = field(default_factory=lambda: EngineSettings(engine="synthetic"))
    name: str = "synthetic"
    profiled: list[bytes] = field(default_factory=list)
    loaded: list[bytes] = field(default_factory=list)

    def fingerprint(self) -> dict[str, Any]:
        return {"engine": self.name, "engine_version": self.version, "batch": self.settings.batch}

    def load(self, network: Network) -> SyntheticSession:
        model = to_onnx(network, batch=self.settings.batch)
        self.loaded.append(model)
        return SyntheticSession(self.real_us(self.formula.network_us(model)), self.noise_frac, self._rng(model))

    def node_times(self, network: Network, n_runs: int = 30, reference: Session | None = None) -> NodeTimes:
        if len(self.profiled) == self.fails_at:
            raise KeyboardInterrupt
        model = to_onnx(network, batch=self.settings.batch)
        self.profiled.append(model)
        rng, noise = self._rng(model), self.noise_frac
        times = {name: us * _noisy(rng, noise) for name, us in self.formula.node_times_us(model).items()}
        run_us = (self.formula.call_us + sum(times.values())) * _noisy(rng, noise / 4)
        reference_us = None if reference is None else reference.us * _noisy(rng, noise / 4)
        return NodeTimes(
            times_us=times,
            overhead_us={},
            n_executed=dict.fromkeys(times, 1.0),
            fused_into={},
            unmatched=(),
            run_us=run_us,
            reference_us=reference_us,
            ratio=None if reference_us is None else run_us / reference_us,
        )

    def _rng(self, model: bytes) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(model)])


def _noisy(rng: np.random.Generator, frac: float) -> float:
    return max(0.5, 1 + frac * float(rng.standard_normal())) if frac else 1.0
