"""Programs of integer networks that take pixels: whoever has normalised images runs them all the same."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import silicut
from silicut.cli.app import run
from silicut.records import BadFile
from silicut.training import Normalisation

NORMALISATION = Normalisation(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
OPTIONS = silicut.QuantiseOptions(normalisation=NORMALISATION)


@pytest.fixture(scope="module")
def pixels():
    return torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.fixture(scope="module")
def quantised(pixels):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
    return silicut.quantise(network, NORMALISATION.images(pixels), "8/8", options=OPTIONS)


def test_normalised_images_are_taken_for_the_pixels_that_they_were(quantised, pixels, tmp_path):
    compiled = silicut.compile_program(quantised, "tiny")
    of_pixels = silicut.simulate(compiled, pixels.numpy())
    folder = compiled.save(tmp_path / "program")
    assert (folder / "normalisation.json").exists()
    for program in (compiled, folder):
        of_images = silicut.simulate(program, NORMALISATION.images(pixels).numpy())
        for name, values in of_pixels.outputs.items():
            np.testing.assert_array_equal(of_images.outputs[name], values)
    assert silicut.load_compiled(folder).normalisation == NORMALISATION


def test_folders_and_files_say_what_is_folded_in(quantised, pixels, tmp_path, capsys):
    quantised.save(tmp_path / "integers")
    (tmp_path / "net.onnx").write_bytes(quantised.onnx_file())
    for name in ("integers", "net.onnx"):
        assert silicut.compile_program(tmp_path / name, "tiny").normalisation == NORMALISATION
    images = tmp_path / "images.npy"
    np.save(images, NORMALISATION.images(pixels).numpy())
    assert run(["compile", str(tmp_path / "integers"), "--accelerator", "tiny", "--out", str(tmp_path / "program")]) == 0
    both = ["compare", str(tmp_path / "integers"), str(tmp_path / "program"), "--inputs", str(images)]
    assert run(both) == 0
    assert run(["simulate", str(tmp_path / "program"), "--inputs", str(images), "--n", "2"]) == 0
    capsys.readouterr()


def test_a_damaged_normalisation_is_named(quantised, tmp_path):
    folder = silicut.compile_program(quantised, "tiny").save(tmp_path / "program")
    (folder / "normalisation.json").write_text("{}")
    with pytest.raises(BadFile, match=r"normalisation\.json must be a"):
        silicut.load_compiled(folder)


def test_without_a_normalisation_nothing_is_converted(pixels):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    plain = silicut.quantise(network, pixels.float(), "8/8")
    compiled = silicut.compile_program(plain, "tiny")
    assert compiled.normalisation is None
    assert dataclasses.replace(compiled, normalisation=None).record == compiled.record
