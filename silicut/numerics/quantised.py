"""An integer network together with what its integers stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from silicut.graph import Network
from silicut.numerics.quantisation import Quantisation
from silicut.records import ConfigError


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """An integer network, the real numbers that its tensors stand for, and where they come from.

    Attributes:
        network: all of its operators are those of `silicut.numerics`.
        quantisations: of every tensor by name; those of accumulators have a scale for each channel and zero point 0.
        origins: by tensor, the tensor of the float network (batch normalisation folded) that it stands for; tensors that
            only integer networks have, such as the accumulators before a fused ReLU, are missing.

    Raises:
        ConfigError: a tensor has no quantisation, or one of another format.
    """

    network: Network
    quantisations: Mapping[str, Quantisation]
    origins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        for name, tensor in self.network.tensors.items():
            known = self.quantisations.get(name)
            if known is None:
                problems.append(f"quantisations must hold one for tensor {name}")
            elif known.format.name != tensor.dtype:
                problems.append(f"quantisations[{name}] must be of {tensor.dtype}, not {known.format.name}")
        unknown = sorted((self.quantisations.keys() | self.origins.keys()) - self.network.tensors.keys())
        problems += [f"quantisations and origins must name tensors of the network, not {name}" for name in unknown]
        if problems:
            raise ConfigError(*problems)

    @cached_property
    def inputs(self) -> tuple[Quantisation, ...]:
        """What the inputs' integers stand for, in order."""
        return tuple(self.quantisations[name] for name in self.network.inputs)

    @cached_property
    def outputs(self) -> tuple[Quantisation, ...]:
        """What the outputs' integers stand for, in order."""
        return tuple(self.quantisations[name] for name in self.network.outputs)
