"""What engines that run ONNX models share: settings, errors, and the way from a network or file to timed nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from silicut.graph import Network
from silicut.graph.onnx_writer import to_onnx
from silicut.records import BadFile, ConfigError
from silicut.targets.device.machine import engine_fingerprint
from silicut.targets.engine import Engine, EngineSettings, Model, NodeProfile, NodeTimes, Session
from silicut.targets.onnx_model import OnnxModel, with_unique_names


class OnnxEngine(ABC):
    """A runtime of ONNX models on the CPU.

    Args:
        n_threads: threads inside one operator, >= 1.
        batch: size of the first input dimension, >= 1.

    Raises:
        ToolMissing: the runtime is not installed.
        ConfigError: a wrong argument.
    """

    name: ClassVar[str]
    runner: ClassVar[ModuleType]
    """The part of the engine that runs where the network runs."""

    def __init__(self, n_threads: int = 1, batch: int = 1) -> None:
        self.settings = EngineSettings(engine=self.name, n_threads=n_threads, batch=batch)
        self.version = self._version()
        self._written: WeakKeyDictionary[Network, bytes] = WeakKeyDictionary()

    def fingerprint(self) -> dict[str, Any]:
        """Return the machine, the engine and its settings; see `Engine.fingerprint`."""
        settings = self.settings
        return engine_fingerprint(self.name, self.version, settings.n_threads, settings.batch, **self.runner.FINGERPRINT)

    def load(self, model: Model) -> Session:
        """Return a session of a model that has run once; see `Engine.load` for the errors."""
        return self._load(self.runnable(self.onnx(model)))

    def exact(self) -> Engine:
        """Return this engine, which runs ONNX files as they are."""
        return self

    def profile_nodes(self, model: Model, n_runs: int = 30, reference: Session | None = None) -> NodeProfile:
        """Return the time of every executed node.

        Args:
            model: nodes of a file without a name of their own go by their first output.
            n_runs: runs that count, >= 1; rounded up to whole turns.
            reference: a loaded session whose speed meanwhile is recorded too, e.g. of the dense network.

        Raises:
            the errors of `load`.
        """
        if n_runs < 1:
            raise ConfigError(f"n_runs must be an integer >= 1, not {n_runs!r}")
        runnable = self.runnable(with_unique_names(self.onnx(model)))
        return self.read(self._profile(runnable, n_runs, reference))

    def node_times(self, model: Model, n_runs: int = 30, reference: Session | None = None) -> NodeTimes:
        """Return the time of every node of the model's own file: `attribute` of `profile_nodes`."""
        return self.attribute(self.onnx(model), self.profile_nodes(model, n_runs, reference))

    def onnx(self, model: Model) -> OnnxModel:
        """Return the model as an ONNX file.

        Raises:
            BadFile: the path leads nowhere.
        """
        if isinstance(model, Path) and not model.exists():
            raise BadFile(f"{model} does not exist; check the path")
        if not isinstance(model, Network):
            return model
        if model not in self._written:
            self._written[model] = to_onnx(model, batch=self.settings.batch)
        return self._written[model]

    def runnable(self, model: OnnxModel) -> OnnxModel:
        """Return what is run in place of a file: the file itself, unless the engine changes it first."""
        return model

    @abstractmethod
    def _version(self) -> str:
        """Return the version of the runtime."""

    @abstractmethod
    def _load(self, model: OnnxModel) -> Session:
        """Return a session, its errors made into sentences."""

    @abstractmethod
    def _profile(self, model: OnnxModel, n_runs: int, reference: Session | None) -> dict[str, Any]:
        """Return a profile in plain JSON values, as the device's part of the engine makes it."""

    @abstractmethod
    def read(self, raw: Mapping[str, Any]) -> NodeProfile:
        """Return the record of a profile that was made here or on a device."""

    @abstractmethod
    def attribute(self, model: OnnxModel, profile: NodeProfile) -> NodeTimes:
        """Return the time of every node of the file that was profiled."""
