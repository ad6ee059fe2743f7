"""A device elsewhere, as an engine: it runs nothing here, but predicts from its profile what networks would take there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from silicut.graph import Network, find_channels, fold_batch_norm
from silicut.records import ConfigError
from silicut.targets.engine import Engine, EngineSettings, Model, NodeTimes, Session
from silicut.targets.engines import engine as engine_by_name
from silicut.targets.layers import Layer, channels_of, layers_of
from silicut.targets.profile import Profile, axis_name


class Elsewhere(ConfigError):
    """Something was to be run on a device that is not this machine."""


@dataclass(frozen=True)
class Device:
    """A device elsewhere.

    Attributes:
        settings: the engine there, its threads and batch.
        identity: its fingerprint; empty before anything was measured.
        profile: what is known of one network there; None where nothing is.
        layers: of that network.
    """

    settings: EngineSettings
    identity: Mapping[str, Any] = field(default_factory=dict)
    profile: Profile | None = None
    layers: tuple[Layer, ...] = ()

    @classmethod
    def of(cls, profile: Profile, network: Network) -> Self:
        """Return the device of a profile, ready to predict what the network would take there at other widths.

        Args:
            profile: from `silicut profile --merge`, or of any engine.
            network: as captured.

        Raises:
            ConfigError: the profile was made of another network.
        """
        if profile.network_hash != network.structure_hash:
            raise ConfigError("profile must be of this network, not of another; make it with silicut profile")
        folded = fold_batch_norm(network)
        layers = layers_of(folded, find_channels(folded), profile.settings.batch)
        return cls(replace(profile.settings, is_predicted=True), profile.fingerprint, profile, layers)

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.settings.engine

    @property
    def version(self) -> str:
        """The version of the runtime there."""
        return str(self.identity.get("engine_version", ""))

    def fingerprint(self) -> dict[str, Any]:
        """Return what a time measured there depends on; see `Engine.fingerprint`."""
        return dict(self.identity)

    def local(self) -> Engine:
        """Return the engine of the same name, threads and batch on this machine.

        Raises:
            ToolMissing: it is not installed here.
        """
        return engine_by_name(self.settings.engine, self.settings.n_threads, self.settings.batch)

    def exact(self) -> Engine:
        """Return what `local` says is exact."""
        return self.local().exact()

    def load(self, model: Model) -> PredictedSession:
        """Return a session that takes as long as the profile predicts.

        Raises:
            Elsewhere: there is no profile, or the model is a file.
        """
        if self.profile is None or not isinstance(model, Network):
            raise Elsewhere("models must be run on the device itself, not here: write a kit with silicut profile --kit")
        return PredictedSession(self.predicted_ms(model) / 1e3, model, self.settings.batch)

    def node_times(self, model: Model, n_runs: int = 30, reference: Session | None = None) -> NodeTimes:
        """Raise Elsewhere."""
        raise Elsewhere("networks must be profiled on the device itself, not here: write a kit with silicut profile --kit")

    def predicted_ms(self, network: Network) -> float:
        """Return the predicted latency of the profile's network at other widths, batch normalisation folded.

        At a width between two legal ones a layer takes what it does at the larger.
        """
        assert self.profile is not None
        costs = {cost.name: cost for cost in self.profile.layers}
        operators = {operator.name: operator for operator in network.operators}
        total_ms = self.profile.overhead_ms
        for layer in self.layers:
            if layer.name not in costs or layer.name not in operators:
                continue
            table = costs[layer.name].table
            numbers = _numbers(layer, channels_of(network, operators[layer.name]))
            if table is None:
                total_ms += costs[layer.name].dense_ms
            else:
                at = (bisect_left(self.profile.levels[name], numbers[name]) for name in table.variables)
                total_ms += float(table.array[tuple(at)])
        return total_ms


def _numbers(layer: Layer, channels: tuple[int, int]) -> dict[str, int]:
    """Return the value of the variables that a layer's widths depend on, from its channels in and out."""
    pairs = zip((layer.inputs, layer.outputs), channels, strict=True)
    return {axis_name(width): n - width.constant for width, n in pairs if width.parts}


class PredictedSession:
    """A session that runs nothing; see `silicut.targets.Session`."""

    def __init__(self, seconds: float, network: Network, batch: int) -> None:
        self._seconds = seconds
        self.input_names = network.inputs
        self.input_shapes = tuple(network.tensors[name].sizes(batch) for name in network.inputs)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Raise Elsewhere."""
        raise Elsewhere("networks must be run on the device itself, not here: take model.onnx there")

    def time_once(self) -> float:
        """Return the predicted seconds of one inference."""
        return self._seconds

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass
