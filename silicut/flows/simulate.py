"""Run a program on the simulated accelerator: outputs to the bit, time to the cycle, and a record of where it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silicut.accelerators.gemm.program import Program
from silicut.accelerators.gemm.program.files import load_program
from silicut.accelerators.gemm.simulate import Simulation
from silicut.accelerators.gemm.simulate import simulate as simulate_program
from silicut.flows.compiled import CompiledNetwork, load_compiled
from silicut.flows.new_folder import new_folder
from silicut.flows.simulation_summary import Circumstances, summary_of
from silicut.numerics import QuantisedNetwork, quantise
from silicut.records import ConfigError, Progress, Tracker, save_tensors, silent, write_atomically
from silicut.report.compilation import Compilation
from silicut.report.simulation import SimulationSummary
from silicut.training import Normalisation

__all__ = ["Circumstances", "Simulated", "simulate"]

SUMMARY_FILE, PAGE_FILE, OUTPUTS_FILE = "summary.json", "report.html", "outputs.safetensors"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Simulated:
    """What a run of a program did.

    Attributes:
        summary: cycles, layers, stages, resources.
        outputs: the integers that the program hands back, by name, array (n, ...); empty where only times were simulated.
        simulation: the last image's run: every activity, every tensor that stays in memory.
    """

    summary: SimulationSummary
    outputs: Arrays
    simulation: Simulation

    def save(self, folder: str | Path) -> Path:
        """Write summary.json, report.html and, after a run with data, outputs.safetensors; return the folder's path.

        Raises:
            OutputExists: the folder holds something.
            ToolMissing: jinja2 or matplotlib is not installed (extra "report"); the summary is written all the same.
        """
        folder = new_folder(folder)
        self.summary.save(folder / SUMMARY_FILE)
        if self.outputs:
            save_tensors(folder / OUTPUTS_FILE, self.outputs)
        from silicut.report.simulation_page import render_simulation

        write_atomically(folder / PAGE_FILE, render_simulation(self.summary).encode())
        return folder


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenedProgram:
    """A program with what is known of it.

    Attributes:
        program: what the machine reads.
        record: how it came about; None for a program file alone.
        network: the integer network that it executes; None for a program file alone.
        normalisation: what float images were normalised by, where the program takes their pixels.
    """

    program: Program
    record: Compilation | None = None
    network: QuantisedNetwork | None = None
    normalisation: Normalisation | None = None

    def integers(self, images: Any) -> NDArray[Any]:
        """Return images as the integers that the program takes.

        Args:
            images: array (n, channels, height, width); floats are quantised half to even, or become the pixels that they
                were; integers stay as they are.

        Raises:
            ConfigError: the images have another shape, are none or are not in the format's range, or they are floats and
                nobody knows what integers stand for.
        """
        (name,), values = self.program.inputs, np.asarray(images)
        place = self.program.places[name]
        sizes = ", ".join(map(str, place.shape))
        if values.shape[1:] != place.shape or not len(values):
            raise ConfigError(f"images must have shape (n, {sizes}), not {values.shape}")
        if values.dtype.kind != "f":
            try:
                return place.number_format.check(values, "images")
            except (TypeError, ValueError) as error:
                raise ConfigError(str(error)) from None
        if self.network is None:
            raise ConfigError(
                "images must be integers for a program file alone; give the folder of silicut compile, which knows what "
                "they stand for"
            )
        if not np.isfinite(values).all():
            raise ConfigError("images must be finite, not NaN or infinity")
        if self.normalisation is not None:
            return self._pixels(values, self.normalisation)
        return quantise(values, self.network.inputs[0])

    @staticmethod
    def _pixels(images: NDArray[Any], normalisation: Normalisation) -> NDArray[Any]:
        import torch

        pixels: NDArray[Any] = normalisation.pixels(torch.from_numpy(np.ascontiguousarray(images, np.float32))).numpy()
        return pixels

    def random(self, n: int, seed: int) -> NDArray[Any]:
        """Return images of random integers of the whole range, array (n, channels, height, width)."""
        place = self.program.places[self.program.inputs[0]]
        form = place.number_format
        numbers = np.random.default_rng(seed).integers(form.min, form.max + 1, (n, *place.shape))
        return numbers.astype(form.dtype)


def opened(program: CompiledNetwork | Program | str | Path) -> OpenedProgram:
    """Return a program from what holds one.

    Args:
        program: itself, the result of `compile_program`, its folder, or the path of a program file.

    Raises:
        BadFile: there is none, or it is damaged.
        ConfigError: the network has several inputs.
    """
    if isinstance(program, Program):
        found = OpenedProgram(program=program)
    else:
        if isinstance(program, str | Path):
            if not Path(program).is_dir():
                return _of_one_input(OpenedProgram(program=load_program(program)))
            program = load_compiled(program)
        found = OpenedProgram(
            program=program.program,
            record=program.record,
            network=program.network,
            normalisation=program.normalisation,
        )
    return _of_one_input(found)


def _of_one_input(found: OpenedProgram) -> OpenedProgram:
    if len(found.program.inputs) != 1:
        raise ConfigError(f"the program must have one input, not {', '.join(found.program.inputs) or 'none'}")
    return found


def simulate(
    program: CompiledNetwork | Program | OpenedProgram | str | Path,
    images: Any = None,
    labels: ArrayLike | None = None,
    *,
    circumstances: Circumstances | None = None,
    progress: Progress = silent,
) -> Simulated:
    """Run a program on the machine that it was compiled for.

    Args:
        program: the result of `compile_program`, its folder, a program, or the path of a program file.
        images: array (n, channels, height, width) of floats or of integers in the input's format; None for times only,
            which do not depend on them.
        labels: the class of each image, array (n,), to count right ones.
        circumstances: clock, part, and what repeats the run.
        progress: told every step.

    Raises:
        BadFile: a file is missing or damaged.
        BadProgram: the program cannot run; the message names the instruction.
        ConfigError: images do not fit the program.
    """
    found = program if isinstance(program, OpenedProgram) else opened(program)
    if images is None:
        if labels is not None:
            raise ConfigError("labels must come with images, not alone")
        tracker = Tracker(progress, "simulate", 1)
        simulation = simulate_program(found.program)
        tracker.step(f"{simulation.cycles:,} cycles")
        return _simulated(found, simulation, {}, None, circumstances)
    values = found.integers(images)
    simulation, outputs = _run(found.program, values, progress)
    return _simulated(found, simulation, outputs, _n_correct(found, outputs, labels), circumstances)


def _run(program: Program, values: NDArray[Any], progress: Progress) -> tuple[Simulation, Arrays]:
    """Run images one by one; return the last run, and the outputs of all."""
    tracker, made, simulation = Tracker(progress, "simulate", len(values)), [], simulate_program(program)
    for image in values:
        simulation = simulation.on({program.inputs[0]: image})
        made.append(simulation.outputs)
        tracker.step(f"{simulation.cycles:,} cycles")
    return simulation, _stacked(made)


def _stacked(made: Sequence[Mapping[str, NDArray[Any]]]) -> Arrays:
    return {name: np.stack([each[name] for each in made]) for name in made[0]}


def _n_correct(found: OpenedProgram, outputs: Arrays, labels: ArrayLike | None) -> int | None:
    if labels is None:
        return None
    scores, expected = outputs[found.program.outputs[0]], np.asarray(labels)
    if expected.shape != scores.shape[:1]:
        raise ConfigError(f"labels must be one for each of {len(scores)} images, not of shape {expected.shape}")
    return int((scores.reshape(len(scores), -1).argmax(1) == expected).sum())


def _simulated(
    found: OpenedProgram,
    simulation: Simulation,
    outputs: Arrays,
    n_correct: int | None,
    circumstances: Circumstances | None,
) -> Simulated:
    n_images = len(next(iter(outputs.values()))) if outputs else 0
    summary = summary_of(simulation, found.record, circumstances or Circumstances(), (n_images, n_correct))
    return Simulated(summary=summary, outputs=outputs, simulation=simulation)
