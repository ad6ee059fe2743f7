"""PyTorch as an engine: operators that add up to the whole, the process left as it was, and what it refuses."""

import json

import numpy as np
import pytest
import small_networks as nets
import torch

from silicut.graph import capture, fold_batch_norm, to_module
from silicut.records import ConfigError, UnsupportedModel
from silicut.targets import MeasureOptions, PyTorch, PyTorchCompiled, engine, measure


@pytest.fixture(scope="module")
def network():
    return fold_batch_norm(nets.network(nets.projected))


class FirstThree(torch.nn.Module):
    """A network for batches of 4 only."""

    def forward(self, x):
        return x[:3] * 2


def images(batch):
    return np.random.default_rng(0).standard_normal((batch, 3, 16, 16)).astype(np.float32)


def test_every_operator_has_a_time_and_they_add_up(network):
    found = PyTorch()
    with found.load(network) as dense:
        times = found.node_times(network, 12, dense)
    assert list(times.times_us) == [operator.name for operator in network.operators]
    assert times.unmatched == ()
    assert min(times.times_us.values()) > 0
    assert 0.6 < sum(times.net_us.values()) / times.run_us < 1.05
    assert times.ratio == pytest.approx(1, rel=0.5)
    slowest = max(times.times_us, key=times.times_us.__getitem__)
    assert next(o for o in network.operators if o.name == slowest).kind == "conv2d"


def test_a_session_computes_what_the_module_computes(network):
    x = images(2)
    with PyTorch(batch=2).load(network) as session:
        assert (session.input_names, session.input_shapes) == (("x",), ((2, 3, 16, 16),))
        (found,) = session.run({"x": x}).values()
        assert 0 < session.time_once() < 1
    with torch.no_grad():
        np.testing.assert_allclose(found, to_module(network)(torch.from_numpy(x)).numpy(), rtol=1e-4, atol=1e-5)


def test_threads_of_the_process_and_gradients_are_left_alone(network):
    before = torch.get_num_threads()
    with PyTorch(n_threads=before + 1).load(network) as session:
        session.time_once()
    assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()


def test_networks_are_measured_without_a_file(network):
    found = measure(PyTorch(), {"dense": network}, "dense", MeasureOptions(n_rounds=2, max_rounds=2, rounds_per_session=1))
    assert found.settings.engine == "pytorch"
    weights = {name: 2 * array for name, array in network.parameters.items()}
    other = measure(
        PyTorch(), {"dense": network.with_parameters(weights)}, "dense", MeasureOptions(n_rounds=1, max_rounds=1)
    )
    assert other.timings["dense"].model_hash != found.timings["dense"].model_hash


def test_fingerprint_is_plain_json_with_settings():
    found = PyTorch(n_threads=2, batch=4).fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert (found["engine"], found["engine_version"], found["clock"]) == ("pytorch", torch.__version__, "wall")


@pytest.mark.parametrize("name", ["pytorch", "pytorch-compile"])
def test_files_are_refused(name):
    with pytest.raises(UnsupportedModel, match=f"engine '{name}' runs networks, not ONNX files"):
        engine(name).load(b"")


def test_wrong_requests_are_named(network):
    with pytest.raises(ConfigError, match="n_runs must be an integer >= 1, not 0"):
        PyTorch().node_times(network, 0)
    with pytest.raises(ConfigError, match="engine must be one that tells layers apart, not 'pytorch-compile'"):
        PyTorchCompiled().node_times(network)
    with pytest.raises(ConfigError, match="batch must be 4, for which the network's input 'x' was captured, not 1"):
        PyTorch().load(capture(FirstThree(), torch.zeros(4, 4)))


def test_a_compiled_network_is_compiled_once_and_run(monkeypatch, network):
    """Compiling takes up to a minute, so what is compiled is only looked at here."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda module: (compiled.append(module), module)[1])
    with PyTorchCompiled().load(network) as session:
        session.time_once()
        assert session.run({"x": images(1)})["linear"].shape == (1, 10)
    assert len(compiled) == 1
