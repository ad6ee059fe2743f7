"""Profiles of a device that silicut does not run on: kits that are written here, run there, and merged back.

A profile needs two rounds, each a kit: which widths are worth sampling is known only once the staircases were probed. The
networks of the second round that check the prediction are drawn before its results are known, of the widths worth costing;
no layer is measured alone.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from silicut.graph import Network
from silicut.records import (
    BadFile,
    Cache,
    ConfigError,
    OutputExists,
    Progress,
    Tracker,
    canonical_json,
    content_hash,
    silent,
)
from silicut.records import write_atomically as write
from silicut.targets.device import kit as on_device
from silicut.targets.elsewhere import Device
from silicut.targets.engine import Engine, EngineSettings, NodeTimes
from silicut.targets.onnx_engine import OnnxEngine
from silicut.targets.onnx_model import with_unique_names
from silicut.targets.profile import Profile, ProfileOptions, Profiler, profile_key
from silicut.targets.samples import SURE_FRAC, TURNS, USUAL_FRAC, Bench

_DENSE = "dense.onnx"
_PROGRAM = """\
import sys
from pathlib import Path

folder = Path(__file__).resolve().parent
sys.path.insert(0, str(folder))

from device.{module} import main

sys.exit(main(folder))
"""
_README = """\
This folder measures networks with {engine} on the machine that runs it and needs Python 3.10 or newer, numpy and {package}.
Copy it to the device and run: python run.py (stopped, the same command goes on where it was).
Then take {results} back and type: silicut profile --network NETWORK --merge {results}
"""
_MAX_DRAWS = 20
_ALIGNMENT_BYTES = 4096  # of weights in their file, and how far each lies behind the one before
_SMALL_BYTES = 1024  # constants that stay in the model: sizes, paddings, biases


@dataclass(frozen=True)
class Wanted:
    """A network that a device should measure.

    Attributes:
        widths: kept channels by group; 0 where the group's residual block is removed.
        error_frac: standard error of its ratio to the dense network at which to stop.
    """

    widths: Mapping[str, int]
    error_frac: float


class Unmeasured(Exception):
    """The device has not measured these networks yet.

    Args:
        networks: what is left.
    """

    def __init__(self, networks: Sequence[Wanted]) -> None:
        super().__init__(f"{len(networks)} networks are left to measure")
        self.networks = tuple(networks)


class _DeviceBench(Bench):
    """A bench that knows what was merged and measures nothing."""

    def knows(self, widths: Mapping[str, int]) -> bool:
        """Tell whether a network was merged."""
        return content_hash(dict(widths)) in self._known

    def missing(self, plan: Sequence[Mapping[str, int]], error_frac: float) -> list[Wanted]:
        """Return the networks that were not merged, each once."""
        left = {content_hash(dict(widths)): Wanted(widths, error_frac) for widths in plan if not self.knows(widths)}
        return list(left.values())

    def prepare(self, plan: Sequence[Mapping[str, int]], error_frac: float) -> None:
        """Raise Unmeasured where networks were not merged."""
        if missing := self.missing(plan, error_frac):
            raise Unmeasured(missing)

    def _measured(self, widths: Mapping[str, int], error_frac: float) -> Mapping[str, Any]:
        """Return what was merged: the device went on for as long as it may."""
        known: Mapping[str, Any] = self._known[content_hash(dict(widths))]
        return known


@dataclass
class _DeviceProfiler(Profiler):
    """The steps of a profile in two rounds."""

    bench: _DeviceBench
    fresh: list[dict[str, int]] = field(default_factory=list)

    def _sample(self) -> None:
        plan = self._first_networks(np.random.default_rng(self.options.seed), self.options.n_samples_max)
        self.fresh = [self._unlike(plan, i) for i in range(self.options.n_validation)]
        if missing := [*self.bench.missing(self.fresh, SURE_FRAC), *self.bench.missing(plan, USUAL_FRAC)]:
            raise Unmeasured(missing)
        self._measure("sample widths", plan)

    def _sample_corners(self) -> None:
        """Measure no more: the device is visited twice, and the first plan was as long as it may be."""

    def _unlike(self, plan: Sequence[Mapping[str, int]], i: int) -> dict[str, int]:
        """Return random widths for check i that no plan holds, if a few draws find some."""
        rng = np.random.default_rng([self.options.seed, i])
        draws = (self._fresh_widths(rng, removes_blocks=i % 2 == 1) for _ in range(_MAX_DRAWS))
        first = next(draws)
        return first if first not in plan else next((widths for widths in draws if widths not in plan), first)

    def _fresh_networks(self) -> list[dict[str, int]]:
        return self.fresh

    def _isolated_ms(self, networks: Sequence[Mapping[str, int]]) -> list[float]:
        return []


def device_profile(network: Network, device: Device, *, cache: Cache | None = None, options: ProfileOptions | None = None,
                   progress: Progress = silent) -> Profile:  # fmt: skip
    """Return the profile of a network on a device, from what was merged.

    Args:
        network: as captured.
        device: as `merge` returned it, or one without identity, of which nothing is known.
        cache: where results were merged and profiles are kept.
        options: as for `profile_network`; all of `n_samples_max` networks are sampled.
        progress: told after every network that is looked at.

    Raises:
        Unmeasured: the networks of the next round.
        NothingToPrune: the network has no channel group.
    """
    cache, options = cache or Cache(), options or ProfileOptions()
    key = profile_key(network, device, options)
    if device.identity:
        with contextlib.suppress(BadFile):
            return Profile.from_json(cache.get(key), "cached profile")
    bench = _DeviceBench.open(network, device, cache)
    options = replace(options, n_samples=options.n_samples_max)
    profile = _DeviceProfiler(bench, network.structure_hash, options, progress).run()
    cache.put(key, profile.to_json())
    return profile


def write_kit(
    folder: Path, network: Network, engine: Engine, networks: Sequence[Wanted], progress: Progress = silent
) -> None:
    """Write a folder that measures networks on a device with Python, numpy and the engine only.

    Args:
        folder: new.
        network: as captured.
        engine: of the kind that the device runs, with its threads and batch.
        networks: as `Unmeasured` names them.
        progress: told after every model.

    Raises:
        OutputExists: the folder exists.
        ConfigError: the engine cannot be part of a kit.
    """
    check_kit(folder, engine)
    assert isinstance(engine, OnnxEngine)
    bench = _DeviceBench.open(network, Device(engine.settings), Cache(folder))
    tracker, largest = Tracker(progress, "write models", len(networks) + 1), 0
    named = {f"{i:04}.onnx": wanted for i, wanted in enumerate(networks, 1)}
    for name, wanted in [(_DENSE, Wanted(bench.dense_widths, USUAL_FRAC)), *named.items()]:
        runnable = engine.runnable(with_unique_names(engine.onnx(bench.network_at(wanted.widths))))
        model, n_bytes = _without_weights(runnable)
        write(folder / on_device.MODELS / name, model)
        largest = max(largest, n_bytes)
        tracker.step()
    kit = {
        "schema": on_device.KIT_SCHEMA,
        "network": bench.network.structure_hash,
        "engine": engine.name,
        "n_threads": engine.settings.n_threads,
        "batch": engine.settings.batch,
        "dense": _DENSE,
        "networks": [{"model": name, **asdict(wanted)} for name, wanted in named.items()],
        "weights_bytes": largest,
        "turns": asdict(TURNS),
    }
    write(folder / on_device.KIT, canonical_json(kit).encode())
    write_program(folder, engine.name, "kit", _README)


def check_kit(folder: Path, engine: Engine) -> None:
    """Raise OutputExists where the folder exists, ConfigError where the engine cannot be part of a kit."""
    if folder.exists():
        raise OutputExists(f"{folder} exists and was not changed; choose a new folder")
    if not isinstance(engine, OnnxEngine):
        raise ConfigError(f"engine must be one of {', '.join(on_device.MODULES)} for a device kit, not {engine.name!r}")


def write_program(folder: Path, engine: str, module: str, readme: str) -> None:
    """Write what a kit runs besides its models: the device's part of this package, its start, and what to do with it.

    Args:
        folder: of the kit.
        engine: its name.
        module: of `silicut.targets.device`, whose `main` is run.
        readme: text with {engine}, {package} and {results}.
    """
    source, package = Path(on_device.__file__).parent, engine.partition("-")[0]
    shutil.copytree(source, folder / "device", ignore=shutil.ignore_patterns("__pycache__"))
    write(folder / "run.py", _PROGRAM.format(module=module).encode())
    write(folder / "README.txt", readme.format(engine=engine, package=package, results=on_device.RESULTS).encode())


def _without_weights(model: bytes | Path) -> tuple[bytes, int]:
    """Return an ONNX model whose larger constants all lie in one file, and how many bytes that file must have.

    The constants overlap, because their values do not matter; but no two are equal, else engines would merge what reads
    them.
    """
    import onnx

    proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    numbers = {onnx.TensorProto.FLOAT: 4, onnx.TensorProto.INT8: 1, onnx.TensorProto.UINT8: 1}
    end = offset = 0
    for tensor in proto.graph.initializer:
        n_bytes = int(np.prod(tensor.dims)) * numbers.get(tensor.data_type, 0)
        if n_bytes <= _SMALL_BYTES:
            continue
        for part in ("raw_data", "float_data", "int32_data"):
            tensor.ClearField(part)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", on_device.WEIGHTS), ("offset", offset), ("length", n_bytes)):
            tensor.external_data.add(key=key, value=str(value))
        end, offset = max(end, offset + n_bytes), offset + _ALIGNMENT_BYTES
    return bytes(proto.SerializeToString()), end


def merge(results: Path, network: Network, cache: Cache | None = None, progress: Progress = silent) -> Device:
    """Put what a kit measured into the cache, under the device's own fingerprint, and return the device.

    Results that were merged before change nothing.

    Args:
        results: the file that the kit wrote.
        network: as captured; the one that the kit was written for.
        cache: where samples are kept.
        progress: told after every network.

    Raises:
        BadFile: the file holds no results, results of another network, or damaged ones.
        ToolMissing: the engine is not installed here.
    """
    if not results.is_file():
        raise BadFile(f"{results} does not exist; give the {on_device.RESULTS} of a kit")
    header, *lines = list(on_device.read(results)) or [{}]
    if header.get("schema") != on_device.RESULTS_SCHEMA:
        raise BadFile(f"{results} holds no results of a device kit; give the {on_device.RESULTS} of one")
    try:
        found = device_of(header)
        bench = _DeviceBench.open(network, found, cache or Cache())
        if header["network"] != bench.network.structure_hash:
            raise BadFile(f"{results} was measured for another network; name that one")
        engine, tracker = found.local(), Tracker(progress, "merge results", len(lines))
        for line in lines:
            if not bench.knows(line["widths"]):
                bench.keep(line["widths"], _times(engine, bench.network_at(line["widths"]), line["turns"]))
            tracker.step()
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{results} is damaged ({type(error).__name__}: {error}); take it from the device again") from error
    return found


def device_of(header: Mapping[str, Any]) -> Device:
    """Return the device that the first line of results names."""
    settings = EngineSettings(engine=header["fingerprint"]["engine"], n_threads=header["n_threads"], batch=header["batch"])
    return Device(settings, header["fingerprint"])


def _times(engine: Engine, network: Network, turns: Sequence[Mapping[str, Any]]) -> list[NodeTimes]:
    assert isinstance(engine, OnnxEngine)
    model = engine.onnx(network)
    return [engine.attribute(model, engine.read(raw)) for raw in turns]
