"""A running model: cycles, ports by name, whole arrays of stimuli at once.

In cycle t the inputs of t are there, outputs are seen after logic has settled, and then the clock rises: what a register
takes in at t is seen at t + 1.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silicut.hardware.rtl.drivers import MEMORY_PORTS, MemoryDriver, MemoryTiming, Running, Sink, Source, Stalls
from silicut.hardware.rtl.ports import Port

_RESET = Port("rst", True, 1)


class Simulation:
    """An instance of a model; `Model.simulate` makes it.

    Attributes:
        cycle: how many cycles have passed.
    """

    def __init__(self, library: Path, ports: Sequence[Port]) -> None:
        self.cycle = 0
        self._library = _loaded(library)
        self._model = self._library.silicut_new()
        weakref.finalize(self, self._library.silicut_delete, self._model)
        self._memories: list[NDArray[np.uint64]] = []  # the model writes into them
        self._ports = {port.name: port for port in (*ports, _RESET)}
        self._numbers = {name: self._library.silicut_port(self._model, name.encode()) for name in self._ports}
        lacking = [port.name for port in ports if self._numbers[port.name] < 0]
        assert not lacking, f"the model has lost its ports {lacking}"

    def poke(self, name: str, value: Any) -> None:
        """Let an input have a value, array of the port's axes, from now on."""
        chunks = self._port(name, is_input=True).to_chunks(np.asarray(value)[None])
        if self._numbers[name] >= 0:
            self._library.silicut_set(self._model, self._numbers[name], _pointer(chunks))

    def peek(self, name: str) -> NDArray[Any]:
        """Return what a port shows now, array of the port's axes."""
        port = self._port(name)
        chunks = np.zeros((1, port.n_chunks), np.uint32)
        self._library.silicut_get(self._model, self._numbers[name], _pointer(chunks))
        value: NDArray[Any] = port.from_chunks(chunks)[0]
        return value

    def step(self, n_cycles: int = 1) -> None:
        """Let cycles pass, inputs as they are."""
        self._run(n_cycles, [], np.zeros(0, np.uint32), [])

    def reset(self) -> None:
        """Hold the reset for one cycle."""
        self.poke("rst", 1)
        self.step()
        self.poke("rst", 0)

    def run(self, stimuli: Mapping[str, ArrayLike], outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return what outputs show in each cycle, arrays (cycles, *axes).

        Args:
            stimuli: arrays (cycles, *axes) of inputs by name, all of one length; inputs left out stay as they are. "rst" is
                the reset.
            outputs: names of ports.

        Raises:
            ValueError: lengths differ, a name is no such port, or a number does not fit its port.
        """
        lengths = {name: len(np.asarray(values)) for name, values in stimuli.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"stimuli must have one length, not {lengths}")
        n_cycles = next(iter(lengths.values()))
        parts = [self._port(name, is_input=True).to_chunks(values) for name, values in stimuli.items()]
        seen = self._run(n_cycles, list(stimuli), np.concatenate(parts, axis=1), outputs)
        ports = [self._port(name) for name in outputs]
        ends = np.cumsum([port.n_chunks for port in ports])
        return {
            port.name: port.from_chunks(seen[:, end - port.n_chunks : end]) for port, end in zip(ports, ends, strict=True)
        }

    def _run(self, n_cycles: int, inputs: list[str], given: NDArray[np.uint32], outputs: Sequence[str]) -> Any:
        given = np.ascontiguousarray(given)
        seen = np.zeros((n_cycles, sum(self._port(name).n_chunks for name in outputs)), np.uint32)
        ins, outs = (np.array([self._numbers[name] for name in names], np.int32) for names in (inputs, outputs))
        self._library.silicut_run(
            self._model, n_cycles, len(ins), _pointer(ins), _pointer(given), len(outs), _pointer(outs), _pointer(seen)
        )
        self.cycle += n_cycles
        return seen

    def source(self, stream: str, payloads: ArrayLike, stalls: Stalls | None = None) -> Source:
        """Return a driver that offers payloads to an input stream from now on.

        Args:
            stream: name of the port, whose members are payload, valid and ready.
            payloads: array (n, *axes).
            stalls: when it offers nothing new.
        """
        payload, numbers = self._stream(stream, is_input=True)
        chunks, pattern = payload.to_chunks(payloads), (stalls or Stalls()).pattern
        size = chunks.size
        driver = self._library.silicut_source(
            self._model, _pointer(numbers), _pointer(chunks), size, _pointer(pattern), len(pattern)
        )
        return Source(self._running(driver))

    def sink(self, stream: str, stalls: Stalls | None = None) -> Sink:
        """Return a driver that takes what an output stream offers from now on.

        Args:
            stream: name of the port, whose members are payload, valid and ready.
            stalls: when it is not ready.
        """
        payload, numbers = self._stream(stream, is_input=False)
        pattern = (stalls or Stalls()).pattern
        driver = self._library.silicut_sink(self._model, _pointer(numbers), _pointer(pattern), len(pattern))
        return Sink(self._running(driver), payload)

    def memory(self, port: str, words: NDArray[np.uint64], timing: MemoryTiming | None = None) -> MemoryDriver:
        """Return a memory that serves a port from now on.

        Args:
            port: name of the port, whose members are those of a `MemoryPort`.
            words: array of uint64, which the model reads and writes in place; a multiple of a beat.
            timing: latency, pauses, stalls.

        Raises:
            ValueError: the words are no contiguous array of uint64, or no whole beats.
        """
        timing = timing or MemoryTiming()
        beat_words = self._port(f"{port}__rdata").bits // 64
        if words.dtype != np.uint64 or not words.flags.c_contiguous or words.size % beat_words:
            raise ValueError(f"words must be a contiguous array of uint64, a multiple of {beat_words}")
        stalls = (timing.address_stalls.pattern, timing.data_stalls.pattern)
        numbers = np.array([self._numbers[f"{port}__{member}"] for member in MEMORY_PORTS], np.int32)
        times = np.array([timing.latency_cycles, timing.refresh_every, timing.refresh_cycles], np.uint64)
        patterns, lengths = np.concatenate(stalls), np.array([len(pattern) for pattern in stalls], np.int64)
        parts = (_pointer(numbers), _pointer(words), words.nbytes, _pointer(times), _pointer(patterns), _pointer(lengths))
        self._memories.append(words)
        return MemoryDriver(self._running(self._library.silicut_memory(self._model, *parts)), words)

    def _running(self, driver: int) -> Running:
        return Running(self._library, self._model, driver, self)

    def _stream(self, name: str, *, is_input: bool) -> tuple[Port, NDArray[np.int32]]:
        payload = self._port(f"{name}__payload")
        if payload.is_input != is_input:
            raise ValueError(f"{name} must be an {'input' if is_input else 'output'} stream")
        parts = [f"{name}__{part}" for part in ("payload", "valid", "ready")]
        return payload, np.array([self._numbers[part] for part in parts], np.int32)

    def _port(self, name: str, *, is_input: bool = False) -> Port:
        port = self._ports.get(name)
        if port is None or (is_input and not port.is_input):
            known = ", ".join(other.name for other in self._ports.values() if other.is_input or not is_input)
            raise ValueError(f"{name!r} must be one of the {'inputs' if is_input else 'ports'} {known}")
        return port


def _loaded(library: Path) -> Any:
    loaded = ctypes.CDLL(str(library))
    pointer, wide, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    for name, result, arguments in (
        ("new", pointer, []),
        ("delete", None, [pointer]),
        ("port", number, [pointer, ctypes.c_char_p]),
        ("set", None, [pointer, number, pointer]),
        ("get", None, [pointer, number, pointer]),
        ("run", None, [pointer, wide, number, pointer, pointer, number, pointer, pointer]),
        ("source", number, [pointer, pointer, pointer, wide, pointer, wide]),
        ("sink", number, [pointer, pointer, pointer, wide]),
        ("memory", number, [pointer, pointer, pointer, ctypes.c_uint64, pointer, pointer, pointer]),
        ("n_exchanged", wide, [pointer, number]),
        ("broken", wide, [pointer, number]),
        ("cycles", None, [pointer, number, pointer]),
        ("taken", None, [pointer, number, pointer]),
    ):
        function = getattr(loaded, f"silicut_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded


def _pointer(array: NDArray[Any]) -> Any:
    return array.ctypes.data
