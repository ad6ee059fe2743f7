"""The simulator: reads a program, and nothing else; returns its outputs to the bit and its time to the cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.program.check import check
from silicut.accelerators.gemm.program.program import Program
from silicut.accelerators.gemm.simulate.counters import LayerUse, StageCounters, layer_uses, stage_counters, traffic
from silicut.accelerators.gemm.simulate.data import run_data
from silicut.accelerators.gemm.simulate.machine import Machine
from silicut.accelerators.gemm.simulate.products import Arithmetic, ExactMatmul
from silicut.accelerators.gemm.simulate.timeline import Timeline, timeline
from silicut.accelerators.gemm.simulate.tracked import Occupancy
from silicut.numerics import Integers
from silicut.records import BadProgram, ConfigError


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a run of a program did.

    Attributes:
        program: what was run.
        times: of every activity of every stage: the trace.
        machine: the memories after the run, None where only times were asked for.
    """

    program: Program
    times: Timeline
    machine: Machine | None = None

    @property
    def cycles(self) -> int:
        """The time of the run."""
        return self.times.cycles

    @property
    def time_s(self) -> float:
        """The time of the run at the clock of the build."""
        return self.cycles / self.program.config.clock_hz

    @cached_property
    def stages(self) -> dict[str, StageCounters]:
        """How each stage spent the run."""
        return stage_counters(self.times)

    @cached_property
    def traffic(self) -> dict[tuple[int, str], int]:
        """Bytes moved, by number of the layer and kind."""
        return traffic(self.program)

    @cached_property
    def layers(self) -> list[LayerUse]:
        """What each layer took."""
        return layer_uses(self.program, self.times)

    @cached_property
    def occupancy(self) -> dict[str, Occupancy]:
        """How full each memory of the chip was.

        Raises:
            ValueError: the run had no data.
        """
        return {name: times.occupancy(self.cycles) for name, times in self._machine.tracked().items()}

    @property
    def _machine(self) -> Machine:
        if self.machine is None:
            raise ValueError("the run must have had inputs; only its times were simulated")
        return self.machine

    def tensor(self, name: str) -> NDArray[Any]:
        """Return a tensor as it lies in memory after the run, array (channels, height, width).

        Raises:
            ValueError: the run had no data, or the program keeps no such tensor.
        """
        if name not in self.program.places:
            raise ValueError(f"name must be one of {', '.join(self.program.places)}, not {name}")
        return self.program.places[name].read(self._machine.dram.words)

    @property
    def outputs(self) -> dict[str, NDArray[Any]]:
        """The network's outputs by name.

        Raises:
            ValueError: the run had no data.
        """
        return {name: self.tensor(name) for name in self.program.outputs}

    def on(self, inputs: Mapping[str, Integers], arithmetic: Arithmetic | None = None) -> Simulation:
        """Return the run of the same program on other data, on which its times do not depend.

        Args:
            inputs: one image for each of the program's inputs, array (channels, height, width).
            arithmetic: how the arrays multiply; all ways give the same sums.

        Raises:
            BadProgram: it reads what nothing has written or what is being overwritten.
            ConfigError: inputs are missing or unknown.
            TypeError, ValueError: an input is no integer array of its shape and format.
        """
        if set(inputs) != set(self.program.inputs):
            raise ConfigError(f"inputs must be {list(self.program.inputs)}, not {list(inputs)}")
        machine = Machine.of(self.program)
        for name, image in inputs.items():
            _put(name, image, self.program, machine)
        run_data(self.program, self.times, machine, arithmetic or ExactMatmul())
        return Simulation(self.program, self.times, machine)


def simulate(
    program: Program,
    inputs: Mapping[str, Integers] | None = None,
    config: GemmConfig | None = None,
    arithmetic: Arithmetic | None = None,
) -> Simulation:
    """Run a program.

    Args:
        program: what to run.
        inputs: one image for each of the program's inputs, array (channels, height, width); None for times only.
        config: the build on which it is run; by default the one it was made for.
        arithmetic: how the arrays multiply; all ways give the same sums.

    Raises:
        BadProgram: it was made for another build, does not pass `check`, comes to a stop, overflows a channel, or reads
            what nothing has written or what is being overwritten.
        ConfigError: inputs are missing or unknown.
        TypeError, ValueError: an input is no integer array of its shape and format.
    """
    if config is not None and config.hash != program.config.hash:
        made, found = f"{program.config.name} ({program.config.hash})", f"{config.name} ({config.hash})"
        raise BadProgram(f"the program was made for the build {made} and must not run on {found}; compile it again")
    check(program)
    timed = Simulation(program, timeline(program))
    return timed if inputs is None else timed.on(inputs, arithmetic)


def _put(name: str, image: Integers, program: Program, machine: Machine) -> None:
    try:
        parts = program.places[name].write(machine.dram.words, image)
    except (TypeError, ValueError) as error:
        raise type(error)(f"input {name}: {error}") from None
    for address, n_words in parts:
        machine.dram.mark(address, n_words)
