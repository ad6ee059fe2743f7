"""An integer network with what its integers stand for."""

import dataclasses

import pytest

from silicut.graph import Network, Tensor
from silicut.numerics import Clamp, IntegerFormat, Quantisation, QuantisedNetwork, to_network_operator
from silicut.records import ConfigError

INT8 = IntegerFormat(8)
STEPS = Quantisation.per_tensor(INT8, 0.5)


def _network() -> Network:
    relu, parameters = to_network_operator(Clamp(input_format=INT8, low=0, high=127), "relu", ["x"], "y")
    types = {"x": Tensor((-1, 2), "int8"), "y": Tensor((-1, 2), "int8")}
    return Network(("x",), ("y",), "tensor", types, (relu,), parameters, frozenset())


def test_inputs_and_outputs_have_their_quantisations() -> None:
    whole = QuantisedNetwork(_network(), {"x": STEPS, "y": dataclasses.replace(STEPS, scales=(2.0,))}, {"y": "relu"})
    assert (whole.inputs[0].scales, whole.outputs[0].scales) == ((0.5,), (2.0,))


def test_missing_wrong_and_unknown_quantisations_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        QuantisedNetwork(_network(), {"x": Quantisation.per_tensor(IntegerFormat(4), 1.0)}, {"z": "q"})
    assert caught.value.problems == (
        "quantisations[x] must be of int8, not int4",
        "quantisations must hold one for tensor y",
        "quantisations and origins must name tensors of the network, not z",
    )
