"""Measured samples: a network at some widths, run on the engine beside the dense network, and filed layer by layer.

Every sample reaches the cache before the next one starts, so an interrupted profile goes on where it stopped; and layers
of equal shape share their points, whichever network they were measured in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from silicut.graph import Channels, Network, find_channels, fold_batch_norm, keep_channels
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache, Journal, content_hash
from silicut.targets.engine import Engine, Session
from silicut.targets.layers import Layer, layers_of

_PROTOCOL = 2  # raise it when what a sample means changes, so that old ones are not reused
_RUNS_S, _MIN_RUNS, _MAX_RUNS = 0.25, 16, 40  # a sample runs the dense network for about this long


@dataclass(frozen=True)
class Sample:
    """One network at given widths, measured beside the dense one.

    Attributes:
        widths: kept channels by group.
        ratio: latency over the dense network's in the same rounds.
        layers_frac: kernel time by layer name, in-network, over the dense network's latency in the same rounds.
    """

    widths: Mapping[str, int]
    ratio: float
    layers_frac: Mapping[str, float]


@dataclass
class Bench:
    """A network made ready to be sampled on one engine.

    Attributes:
        network: the network the engine runs (batch normalisation folded).
        channels: its channel groups.
        layers: its layers.
        engine: where it runs.
        cache: where samples are kept.
    """

    network: Network
    channels: Channels
    layers: tuple[Layer, ...]
    engine: Engine
    cache: Cache
    _samples: dict[str, Sample] = field(default_factory=dict)
    _dense_ms: dict[str, list[float]] = field(default_factory=dict)  # by network
    _points: dict[str, list[tuple[int, int, float, str]]] = field(default_factory=dict)  # by layer shape
    _reference: Session | None = None

    @classmethod
    def open(cls, network: Network, engine: Engine, cache: Cache) -> Bench:
        """Fold, find channels, load the dense network and read what the cache knows."""
        folded = fold_batch_norm(network)
        channels = find_channels(folded)
        bench = cls(folded, channels, layers_of(folded, channels, engine.settings.batch), engine, cache)
        bench._read_cache()
        return bench

    @property
    def dense_widths(self) -> dict[str, int]:
        """The full width of every group."""
        return {group.name: group.n_channels for group in self.channels.groups}

    def model(self, widths: Mapping[str, int]) -> bytes:
        """Return the ONNX model of the network at some widths (the first channels of every group)."""
        kept = {name: np.arange(widths[name]) for name in self.dense_widths if widths[name] < self.dense_widths[name]}
        return to_onnx(keep_channels(self.network, self.channels, kept), batch=self.engine.settings.batch)

    @property
    def dense_ms(self) -> float:
        """The dense network's latency: the low quantile over all samples taken of this network."""
        return self._latency_ms(self.network.structure_hash)

    def _latency_ms(self, network: str) -> float:
        return float(np.quantile(self._dense_ms[network], 0.1))

    def reference(self) -> Session:
        """Return a session of the dense network."""
        if self._reference is None:
            self._reference = self.engine.load(self.model(self.dense_widths))
        return self._reference

    def sample(self, widths: Mapping[str, int]) -> Sample:
        """Measure the network at these widths, or return what is known."""
        known = self._samples.get(content_hash(dict(widths)))
        if known is not None:
            return known
        reference = self.reference()
        n_runs = int(np.clip(_RUNS_S / reference.time_once(), _MIN_RUNS, _MAX_RUNS))
        times = self.engine.node_times(self.model(widths), n_runs, reference)
        assert times.reference_us is not None
        layers_frac = {name: us / times.reference_us for name, us in times.times_us.items()}
        event = {
            "network": self.network.structure_hash,
            "widths": dict(widths),
            "ratio": times.run_us / times.reference_us,
            "dense_ms": times.reference_us / 1e3,
            "layers_frac": layers_frac,
            "points": [[*layer.cell(widths), layers_frac.get(layer.name, 0.0)] for layer in self.layers],
        }
        self._journal().append(event)
        return self._file(event)

    def points(self, shape_key: str) -> list[tuple[tuple[int, int], float]]:
        """Return ((channels in, channels out), milliseconds) of every measurement of a layer shape."""
        scale = {network: self._latency_ms(network) for network in self._dense_ms}
        return [((n_in, n_out), frac * scale[network]) for n_in, n_out, frac, network in self._points.get(shape_key, [])]

    def samples(self) -> tuple[Sample, ...]:
        """Return all samples of this network."""
        return tuple(self._samples.values())

    def close(self) -> None:
        """Free the dense session."""
        if self._reference is not None:
            self._reference.close()
            self._reference = None

    def _journal(self) -> Journal:
        return self.cache.journal({"samples": _PROTOCOL, "fingerprint": self.engine.fingerprint()})

    def _read_cache(self) -> None:
        for event in self._journal():
            self._file(event)

    def _file(self, event: Mapping[str, Any]) -> Sample:
        network = event["network"]
        sample = Sample(event["widths"], event["ratio"], event["layers_frac"])
        self._dense_ms.setdefault(network, []).append(event["dense_ms"])
        for key, n_in, n_out, frac in event["points"]:
            self._points.setdefault(key, []).append((n_in, n_out, frac, network))
        if network == self.network.structure_hash:
            self._samples[content_hash(dict(event["widths"]))] = sample
        return sample
