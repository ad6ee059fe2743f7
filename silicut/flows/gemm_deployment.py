"""From a pruned, trained network to what the GEMM accelerator runs: rounded, compiled, simulated, compared to the bit."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from silicut.accelerators.gemm.config import GemmConfig
from silicut.compress.quantisation import BitPlan
from silicut.flows.compile import compile_program
from silicut.flows.compiled import CompiledNetwork
from silicut.flows.deployment import CONFIG_FILE, FOLDERS, Deployed, Deployment
from silicut.flows.label import Label
from silicut.flows.quantise import Quantised, QuantiseOptions, quantise
from silicut.flows.simulate import Circumstances, Simulated, simulate
from silicut.numerics import quantise as to_integers
from silicut.numerics import run_integer
from silicut.records import NumericMismatch, Progress, ToolMissing

_TRAINING_FOLDER = "checkpoint-integer"


def deployed(
    asked: Deployment,
    plan: BitPlan,
    options: QuantiseOptions,
    config: GemmConfig,
    circumstances: Circumstances,
    progress: Progress,
) -> Deployed:
    """Return a network as the accelerator runs it, written into the folder where there is one.

    Args:
        asked: the network, and data.
        plan: bits of every layer.
        options: how it becomes integers, and how it is trained meanwhile.
        config: the build.
        circumstances: part and board that the simulation is told with.
        progress: told every step.

    Raises:
        NumericMismatch: the program computes something else than the integer network.
    """
    assert asked.data is not None
    x, _ = next(asked.data.evaluation_batches(1))
    if asked.folder is not None and options.training is not None:
        options = replace(options, training_folder=asked.folder / _TRAINING_FOLDER)
    integer = quantise(asked.network, x, plan, data=asked.data, options=options, is_judged=False, progress=progress)
    compiled = compile_program(integer, config, label=Label("network", ""), progress=progress)
    run = simulate(compiled, x.numpy(), circumstances=circumstances, progress=progress)
    _compare(compiled, run, x)
    if asked.folder is not None:
        _save(asked.folder, integer, compiled, run)
    return Deployed(plan=integer.plan, compiled=compiled, simulation=run.summary)


def _compare(compiled: CompiledNetwork, run: Simulated, images: torch.Tensor) -> None:
    """Refuse a program whose outputs are not those of the integer network."""
    network = compiled.network
    (name,) = network.network.inputs
    expected = run_integer(network.network, {name: to_integers(images.numpy(), network.inputs[0])})
    wrong = [output for output, found in run.outputs.items() if not np.array_equal(found.ravel(), expected[output].ravel())]
    if wrong:
        raise NumericMismatch(
            f"the program computes another {', '.join(wrong)} than the integer network; please report the network"
        )


def _save(folder: Path, integer: Quantised, compiled: CompiledNetwork, run: Simulated) -> None:
    """Write what there is; a run that was stopped here leaves parts behind, which go first."""
    for name, save in zip(FOLDERS, (integer.save, compiled.save, run.save), strict=True):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        with contextlib.suppress(ToolMissing):  # of the simulation's own page; the run's page has its sections
            save(folder / name)
    compiled.program.config.save(folder / CONFIG_FILE)
