"""Quantisation as a function: what it counts, keeps and refuses."""

import numpy as np
import onnx
import pytest
import tiny
import torch
from torch import nn

import silicut
from silicut.flows.pixels import OnNormalised, noted_normalisation
from silicut.graph import capture
from silicut.graph.onnx_writer import to_onnx
from silicut.numerics import dequantise, quantise, run_integer
from silicut.records import ConfigError, OutputExists, UnsupportedModel
from silicut.training import Normalisation, Recipe


@pytest.fixture(scope="module")
def images():
    return tiny.images(64, 5)[0]


@pytest.fixture(scope="module")
def result(images):
    return silicut.quantise(tiny.build(), images, "8/8")


def test_without_data_ranges_are_those_of_the_inputs(images):
    methods = silicut.Methods(ranges="min-max", scales="max")
    result = silicut.quantise(tiny.build(), images, "8/8", options=silicut.QuantiseOptions(methods=methods))
    assert result.stages == ()
    (name,) = result.network.network.inputs
    (steps,) = result.network.inputs
    reach = [(end - steps.zero_points[0]) * steps.scales[0] for end in (steps.format.min, steps.format.max)]
    np.testing.assert_allclose(reach, [images.min(), images.max()], atol=steps.scales[0])
    assert result.network.origins[name] == name


def test_by_default_the_input_errs_less_than_over_its_whole_range(result, images):
    (steps,) = result.network.inputs
    whole = silicut.quantise(
        tiny.build(), images, options=silicut.QuantiseOptions(methods=silicut.Methods(ranges="min-max", scales="max"))
    )
    errors = [
        np.square(dequantise(quantise(images.numpy(), each), each) - images.numpy()).mean()
        for each in (steps, *whole.network.inputs)
    ]
    assert result.options.methods == silicut.Methods(ranges="mse", scales="mse")
    assert errors[0] < errors[1]


def test_the_module_is_the_reference_between_quantise_and_dequantise(result, images):
    network = result.network.network
    expected = run_integer(network, {network.inputs[0]: quantise(images.numpy(), result.network.inputs[0])})
    with torch.no_grad():
        found = result.module(images)
        tensors = result.module.tensors(images)
    np.testing.assert_array_equal(found.numpy(), dequantise(expected[network.outputs[0]], result.network.outputs[0]))
    for name, origin in result.network.origins.items():
        if name == origin:
            real = dequantise(expected[name], result.network.quantisations[name])
            np.testing.assert_array_equal(tensors[origin].numpy(), real, err_msg=name)


def test_noise_is_that_of_the_outputs(result, images):
    with torch.no_grad():
        exact, found = tiny.build()(images).double(), result.module(images).double()
    ratio = 10 * torch.log10((exact**2).sum() / ((exact - found) ** 2).sum())
    (name,) = result.calibrated.sites.network.outputs
    assert result.noise_db[name] == pytest.approx(float(ratio), abs=0.05)
    assert min(result.noise_db.values()) > 25


def test_fewer_bits_are_noisier(images):
    ratios = [min(silicut.quantise(tiny.build(), images, bits).noise_db.values()) for bits in ("3/3", "5/5", "7/7", "8/8")]
    assert ratios == sorted(ratios)


def test_the_users_own_quality_is_taken_of_both(images):
    judged = []

    def evaluate(module):
        judged.append(type(module).__name__)
        return 0.25

    result = silicut.quantise(tiny.build(), images, "8/8", evaluate=evaluate)
    assert [(stage.name, stage.score, stage.n) for stage in result.stages] == [
        ("float", 0.25, None),
        ("integer", 0.25, None),
    ]
    assert judged == ["Tiny", "QuantisedModule"]


def test_an_onnx_file_is_quantised_as_the_module_is(tmp_path, images, result):
    path = tmp_path / "net.onnx"
    path.write_bytes(to_onnx(capture(tiny.build(), images)))
    found = silicut.quantise(path, images, "8/8")
    with torch.no_grad():
        torch.testing.assert_close(found.module(images), result.module(images), atol=0.1, rtol=0)


def test_what_is_saved_is_loaded_and_never_overwritten(result, images, tmp_path):
    folder = result.save(tmp_path / "new")
    loaded = silicut.load(folder)
    assert torch.equal(loaded(images), result.module(images))
    assert not loaded.training
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OutputExists, match="is not empty and nothing in it was changed; choose a new folder"):
        result.save(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ConfigError, match=r"build must be left out with .*: no class of the user's computes its integers"):
        silicut.load(folder, build=tiny.build)


@pytest.mark.needs_ort
def test_what_is_saved_runs_in_onnx_runtime(result, images, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    folder = result.save(tmp_path / "new")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        np.testing.assert_array_equal(found, result.module(images).numpy())


def test_a_network_of_pixels_is_saved_with_what_it_folded_in(tmp_path):
    normalisation = Normalisation(mean=(0.5,) * 3, std=(0.1,) * 3)
    pixels = torch.randint(0, 256, (64, *tiny.SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = normalisation.images(pixels)
    options = silicut.QuantiseOptions(normalisation=normalisation)
    result = silicut.quantise(tiny.build(), images, options=options)
    folder = result.save(tmp_path / "new")
    assert noted_normalisation(folder) == noted_normalisation(folder / "model.onnx") == normalisation
    with torch.no_grad():
        found, exact = silicut.load(folder)(pixels), tiny.build()(images)
        assert torch.equal(found, OnNormalised(result.module, normalisation)(images))
    ratio = 10 * torch.log10((exact**2).sum() / ((exact - found) ** 2).sum())
    assert ratio > 25
    model = onnx.load_model_from_string(result.onnx_file())
    assert [(i.name, i.type.tensor_type.elem_type) for i in model.graph.input] == [("x.pixels", onnx.TensorProto.UINT8)]
    with pytest.raises(ConfigError, match="kind must be qdq or qonnx, not 'tflite'"):
        result.onnx_file("tflite")


class Deep(nn.Module):
    """A linear layer of tokens, for which no QDQ file is written."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(x)


def test_a_network_that_no_file_can_express_is_saved_without(tmp_path, images):
    result = silicut.quantise(Deep(), images)
    with pytest.warns(UserWarning, match=r"model.onnx was not written: .*fully connected layers are written for inputs"):
        folder = result.save(tmp_path / "new")
    assert "model.onnx" not in {path.name for path in folder.iterdir()}
    assert silicut.load(folder)(images).shape == Deep()(images).shape


class Pair(nn.Module):
    """A network of two inputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x, y):
        return self.conv(x + y)


def test_what_does_not_fit_is_said(images):
    with pytest.raises(ConfigError, match="the network must have one input to be quantised, not 2"):
        silicut.quantise(Pair(), [images, images])
    with pytest.raises(ConfigError, match="must have a convolution or a linear layer to be quantised, not none"):
        silicut.quantise(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), images)
    plan = silicut.BitPlan(default=silicut.LayerBits(8, 8), layers={"block.conv3": silicut.LayerBits(4, 4)})
    with pytest.raises(ConfigError, match=r"such as block.conv2, block.conv1, not block.conv3"):
        silicut.quantise(tiny.build(), images, plan)
    with pytest.raises(UnsupportedModel, match="take a batch norm"):
        silicut.quantise(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)), images)
    with pytest.raises(ConfigError, match="data must be a TrainingData or"):
        silicut.quantise(tiny.build(), images, data=3)


def test_all_wrong_options_are_named_together():
    with pytest.raises(ConfigError) as caught:
        silicut.QuantiseOptions(n_calibration=0, edge_bits=1, seed=-1)
    assert caught.value.problems == (
        "n_calibration must be 1 or more, not 0", "edge_bits must be 2..8, not 1", "seed must be 0 or more, not -1"
    )  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"ranges must be one of .* not 'wide'; scales must be one of max, mse, not 'wide'"
    ):
        silicut.Methods(ranges="wide", scales="wide")


@pytest.mark.parametrize("ranges", ["min-max", "percentile", "mse", "kl"])
def test_every_way_to_choose_ranges_makes_a_network(images, ranges):
    methods = silicut.Methods(ranges=ranges, scales="mse", equalises=True, corrects_biases=True)
    found = silicut.quantise(tiny.build(), images, "6/6", options=silicut.QuantiseOptions(methods=methods))
    (name,) = found.calibrated.sites.network.outputs
    assert found.noise_db[name] > 12


def test_training_starts_from_what_was_calibrated_and_goes_on_from_its_folder(images, tmp_path):
    recipe = Recipe(epochs=2, batch_size=32, learning_rate=0.01, precision="fp32")
    options = silicut.QuantiseOptions(training=recipe, training_folder=tmp_path / "state")
    result = silicut.quantise(tiny.build(), images, "2/2", data=tiny.loaders(), options=options)
    assert [stage.name for stage in result.stages] == ["float", "untrained", "integer"]
    calibrated = silicut.quantise(tiny.build(), images, "2/2", data=tiny.loaders())
    assert result.stages[1].n_correct == calibrated.stages[1].n_correct
    assert result.network.network.weights_hash != calibrated.network.network.weights_hash
    again = silicut.quantise(tiny.build(), images, "2/2", data=tiny.loaders(), options=options)
    assert again.network.network.weights_hash == result.network.network.weights_hash
    assert again.noise_db == result.noise_db


def test_what_does_not_go_with_training_is_said(images):
    recipe = Recipe(epochs=1, batch_size=32)
    with pytest.raises(ConfigError, match="data must be given where the network is trained: labelled images to train on"):
        silicut.quantise(tiny.build(), images, options=silicut.QuantiseOptions(training=recipe))
    with pytest.raises(ConfigError, match="methods must leave weights to training: rounding nearest, nothing equalised"):
        silicut.QuantiseOptions(training=recipe, methods=silicut.Methods(equalises=True))
    with pytest.raises(ConfigError, match="training_folder must be given with training only"):
        silicut.QuantiseOptions(training_folder="state")
