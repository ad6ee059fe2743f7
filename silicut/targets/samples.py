"""Measured samples: a network at some widths, run on the engine beside the dense network, and filed layer by layer.

Every sample reaches the cache before the next one starts, so an interrupted profile goes on where it stopped; and layers
of equal shape share their points, whichever network they were measured in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from silicut.graph import Block, Channels, Network, find_blocks, find_channels, fold_batch_norm, keep_channels, remove_blocks
from silicut.records import Cache, Journal, content_hash
from silicut.targets.device.turns import Turns, error_frac
from silicut.targets.engine import Engine, NodeTimes, Session
from silicut.targets.layers import Layer, layers_of

_PROTOCOL = 6  # raise it when what a sample means changes, so that old ones are not reused
TURNS = Turns(min_turns=3, max_turns=16, runs_s=0.1, min_runs=8, max_runs=20)
USUAL_FRAC, SURE_FRAC = 0.01, 0.005  # standard errors of a ratio at which turns end: to fit with, and to check with


@dataclass(frozen=True)
class Sample:
    """One network at given widths, measured beside the dense one.

    Attributes:
        widths: kept channels by group; 0 where the group's residual block is removed.
        ratio: latency over the dense network's in the same rounds.
        layers_frac: time by layer name, in-network, without the cost of timing it, over the dense network's latency in the
            same rounds.
    """

    widths: Mapping[str, int]
    ratio: float
    layers_frac: Mapping[str, float]


@dataclass
class Bench:
    """A network made ready to be sampled on one engine.

    A sample of this network that the cache knows takes part only once it is asked for again. So a profile that was
    interrupted goes through the same states as one that was not, and networks which check a prediction stay fresh.

    Attributes:
        network: the network the engine runs (batch normalisation folded).
        channels: its channel groups.
        blocks: its residual blocks.
        layers: its layers.
        engine: where it runs.
        cache: where samples are kept.
    """

    network: Network
    channels: Channels
    blocks: tuple[Block, ...]
    layers: tuple[Layer, ...]
    engine: Engine
    cache: Cache
    _known: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # of this network, by widths
    _samples: dict[str, Sample] = field(default_factory=dict)
    _dense_ms: dict[str, list[float]] = field(default_factory=dict)  # by network
    _points: dict[str, list[tuple[int, int, float, str]]] = field(default_factory=dict)  # by layer shape
    _reference: Session | None = None

    @classmethod
    def open(cls, network: Network, engine: Engine, cache: Cache) -> Self:
        """Fold, find channels and blocks, and read what the cache knows."""
        folded = fold_batch_norm(network)
        channels = find_channels(folded)
        layers = layers_of(folded, channels, engine.settings.batch)
        bench = cls(folded, channels, find_blocks(folded, channels), layers, engine, cache)
        bench._read_cache()
        return bench

    @property
    def dense_widths(self) -> dict[str, int]:
        """The full width of every group."""
        return {group.name: group.n_channels for group in self.channels.groups}

    def network_at(self, widths: Mapping[str, int]) -> Network:
        """Return the network at some widths (the first channels of every group), without the blocks whose width is 0."""
        kept = {name: np.arange(widths[name]) for name, n in self.dense_widths.items() if 0 < widths[name] < n}
        return remove_blocks(keep_channels(self.network, self.channels, kept), self.removed(widths))

    def removed(self, widths: Mapping[str, int]) -> list[Block]:
        """Return the residual blocks whose width is 0."""
        return [block for block in self.blocks if all(widths[name] == 0 for name in block.inner_groups)]

    def layers_at(self, widths: Mapping[str, int]) -> tuple[Layer, ...]:
        """Return the layers that are left at some widths."""
        gone = {name for block in self.removed(widths) for name in block.operators}
        return tuple(layer for layer in self.layers if layer.name not in gone)

    @property
    def dense_ms(self) -> float:
        """The dense network's latency: the low quantile over all samples taken of this network."""
        return self._latency_ms(self.network.structure_hash)

    def _latency_ms(self, network: str) -> float:
        return float(np.quantile(self._dense_ms[network], 0.1))

    def reference(self) -> Session:
        """Return a session of the dense network."""
        if self._reference is None:
            self._reference = self.engine.load(self.network_at(self.dense_widths))
        return self._reference

    def sample(self, widths: Mapping[str, int], error_frac: float = USUAL_FRAC) -> Sample:
        """Measure the network at these widths, or return what is known as surely.

        Args:
            widths: kept channels by group.
            error_frac: standard error of the ratio at which to stop.
        """
        key = content_hash(dict(widths))
        if key not in self._samples:
            event = self._known.get(key)
            if event is None or (event["error_frac"] > error_frac and event["n_turns"] < TURNS.max_turns):
                event = self._measured(widths, error_frac)
            self._file(event)
            self._samples[key] = _sample(event)
        return self._samples[key]

    def prepare(self, plan: Sequence[Mapping[str, int]], error_frac: float) -> None:
        """Be told of networks that will be asked for next; those of a device elsewhere must be known by then."""

    def has_sampled(self, widths: Mapping[str, int]) -> bool:
        """Tell whether a network was asked for before."""
        return content_hash(dict(widths)) in self._samples

    def points(self, shape_key: str) -> list[tuple[tuple[int, int], float]]:
        """Return ((channels in, channels out), milliseconds) of every measurement of a layer shape."""
        scale = {network: self._latency_ms(network) for network in self._dense_ms}
        return [((n_in, n_out), frac * scale[network]) for n_in, n_out, frac, network in self._points.get(shape_key, [])]

    def samples(self) -> tuple[Sample, ...]:
        """Return all samples of this network that were asked for."""
        return tuple(self._samples.values())

    def close(self) -> None:
        """Free the dense session."""
        if self._reference is not None:
            self._reference.close()
            self._reference = None

    def _measured(self, widths: Mapping[str, int], error_frac: float) -> Mapping[str, Any]:
        """Measure a network, keep the result, and return it as it stands in the journal.

        Each turn loads it and the dense network anew: where a session's weights happen to lie in memory makes layers
        with large weights up to 20 % slower or faster for as long as it lives (measured).
        """
        network, dense, times = self.network_at(widths), self.network_at(self.dense_widths), list[NodeTimes]()
        while TURNS.go_on([t.ratio for t in times if t.ratio is not None], error_frac):
            with self.engine.load(dense) as reference:
                times.append(self.engine.node_times(network, TURNS.n_runs(reference), reference))
        return self.keep(widths, times)

    def keep(self, widths: Mapping[str, int], times: Sequence[NodeTimes]) -> Mapping[str, Any]:
        """Keep what a network took in several turns; return it as it stands in the journal.

        Without one of its blocks a network gives no points: layers beside the gap fuse with others than their shape says.
        """
        turns = [_turn(taken, self.layers) for taken in times]
        names = dict.fromkeys(name for turn in turns for name in turn.layers_frac)
        layers_frac = {name: float(np.median([turn.layers_frac.get(name, 0.0) for turn in turns])) for name in names}
        layers = () if self.removed(widths) else self.layers
        event = {
            "network": self.network.structure_hash,
            "widths": dict(widths),
            "ratio": float(np.median([turn.ratio for turn in turns])),
            "error_frac": error_frac([turn.ratio for turn in turns]),
            "n_turns": len(turns),
            "dense_ms": min(turn.dense_ms for turn in turns),
            "layers_frac": layers_frac,
            "points": [[*layer.cell(widths), layers_frac.get(layer.name, 0.0)] for layer in layers],
        }
        self._journal().append(event)
        return event

    def _journal(self) -> Journal:
        return self.cache.journal({"samples": _PROTOCOL, "fingerprint": self.engine.fingerprint()})

    def _read_cache(self) -> None:
        for event in self._journal():
            with contextlib.suppress(KeyError, TypeError, ValueError):  # a damaged line is as good as none
                if event["network"] == self.network.structure_hash:
                    _sample(event)
                    self._known[content_hash(event["widths"])] = event
                else:
                    self._file(event)

    def _file(self, event: Mapping[str, Any]) -> None:
        network, dense_ms = event["network"], float(event["dense_ms"])
        points = [(str(key), int(n_in), int(n_out), float(frac)) for key, n_in, n_out, frac in event["points"]]
        self._dense_ms.setdefault(network, []).append(dense_ms)
        for key, n_in, n_out, frac in points:
            self._points.setdefault(key, []).append((n_in, n_out, frac, network))


def _sample(event: Mapping[str, Any]) -> Sample:
    return Sample(dict(event["widths"]), float(event["ratio"]), dict(event["layers_frac"]))


@dataclass(frozen=True)
class _Turn:
    """One profiled turn of a network beside the dense one; see `Sample` for the fields."""

    ratio: float
    dense_ms: float
    layers_frac: Mapping[str, float]


def _turn(times: NodeTimes, layers: Iterable[Layer]) -> _Turn:
    assert times.reference_us is not None
    assert times.ratio is not None
    layers_us = _by_layer(times.net_us, layers)
    scale = times.ratio / times.run_us  # the ratio is paired turn by turn, which the two quantiles are not
    return _Turn(times.ratio, times.reference_us / 1e3, {name: us * scale for name, us in layers_us.items()})


def _by_layer(nodes_us: Mapping[str, float], layers: Iterable[Layer]) -> dict[str, float]:
    """Return the time of each layer: of its node and of the nodes "layer/part" that an operator may be written as."""
    names = {layer.name for layer in layers}
    layers_us: dict[str, float] = {}
    for node, us in nodes_us.items():
        name = node if node in names else node.rpartition("/")[0]
        layers_us[name] = layers_us.get(name, 0.0) + us
    return {name: us for name, us in layers_us.items() if name in names}
