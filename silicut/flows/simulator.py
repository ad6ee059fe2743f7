"""The simulated accelerator as a party of a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from silicut.accelerators.gemm.simulate import simulate
from silicut.flows.compile import CompileOptions, compile_program
from silicut.flows.compiled import CompiledNetwork
from silicut.flows.executors import Arrays, input_shape, makers
from silicut.flows.simulate import opened
from silicut.numerics import QuantisedNetwork
from silicut.numerics.onnx import roundings
from silicut.records import ConfigError


class Simulator:
    """The simulated GEMM accelerator: every tensor that a program leaves in memory, image by image.

    Tensors that layers keep to themselves, such as sums before they are requantised, are never in memory.

    Args:
        subject: a compiled network; an integer network is compiled for the build n3h, what cannot run there stays out.
        name: what a report calls it.

    Raises:
        UnsupportedModel: nothing of the network can run on the accelerator.
        ConfigError: the network has several inputs.
    """

    def __init__(self, subject: CompiledNetwork | QuantisedNetwork, name: str = "simulator") -> None:
        compiled = subject
        if isinstance(compiled, QuantisedNetwork):
            compiled = compile_program(compiled, options=CompileOptions(allows_host=True))
        self.name, self._program = name, opened(compiled)
        quantised, self._places = compiled.network, compiled.program.places
        self.quantisations, self.origins = quantised.quantisations, quantised.origins
        self.makers, self.roundings = makers(quantised.network), tuple(roundings(quantised))
        self._order = (*quantised.network.inputs, *self.makers)
        self._shapes = {name: tensor.shape[1:] for name, tensor in quantised.network.tensors.items()}
        self.input_shape, self.batch = input_shape(quantised.network)[0], None

    def tensors(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the tensors in memory after the run."""
        if len(inputs) != 1:
            raise ConfigError(f"inputs must be one array, not {len(inputs)}")
        images = self._program.integers(inputs[0])
        (given,) = self._program.program.inputs
        timed = simulate(self._program.program)
        runs = [timed.on({given: image}) for image in images]
        kept = [name for name in self._order if name in self._places and name != given]
        found = {name: np.stack([run.tensor(name) for run in runs]) for name in kept}
        return {given: images, **{name: array.reshape(-1, *self._shapes[name]) for name, array in found.items()}}
