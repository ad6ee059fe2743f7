"""Pixels and what networks read of them: there and back, and what is no normalisation."""

import numpy as np
import pytest
import torch

from silicut.records import ConfigError
from silicut.training import Normalisation
from silicut.zoo.data.images import IMAGENET_MEAN, IMAGENET_STD, ImageData, Labelled

IMAGENET = Normalisation(mean=IMAGENET_MEAN, std=IMAGENET_STD)
EVERY_PIXEL = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 256).expand(1, 3, 1, 256)


def test_every_pixel_comes_back():
    images = IMAGENET.images(EVERY_PIXEL)
    exact = (np.arange(256) / 255 - np.array(IMAGENET_MEAN)[:, None]) / np.array(IMAGENET_STD)[:, None]
    np.testing.assert_allclose(images[0, :, 0].numpy(), exact, rtol=1e-5, atol=1e-6)
    assert images.dtype == torch.float32
    assert torch.equal(IMAGENET.pixels(images), EVERY_PIXEL)
    assert torch.equal(IMAGENET.pixels(images * 9)[0, :, 0, [0, 255]], torch.tensor([[0, 255]] * 3, dtype=torch.uint8))


def test_what_is_given_is_not_changed():
    floats = EVERY_PIXEL.float()
    before = floats.clone()
    IMAGENET.pixels(IMAGENET.images(floats))
    assert torch.equal(floats, before)


def test_data_say_how_their_images_were_normalised():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 5)).astype(np.uint8)
    images = Labelled(pixels, np.arange(4))
    data = ImageData("noise", images, images, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    ((x, _),) = data.evaluation_batches(4)
    assert data.normalisation == data.subset(2, 2).normalisation == IMAGENET
    np.testing.assert_array_equal(data.normalisation.pixels(x).numpy(), pixels)


def test_a_text_and_a_file_say_the_same(tmp_path):
    assert Normalisation.parse("0.485,0.456,0.406/0.229,0.224,0.225") == IMAGENET
    assert Normalisation.load(IMAGENET.save(tmp_path / "normalisation.json")) == IMAGENET


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0.5", "a normalisation must be mean/std like 0.485,0.456,0.406/0.229,0.224,0.225, not '0.5'"),
        ("0.5/x", "a normalisation must be mean/std like 0.485,0.456,0.406/0.229,0.224,0.225, not '0.5/x'"),
        ("0.5/1/2", "a normalisation must be mean/std like 0.485,0.456,0.406/0.229,0.224,0.225, not '0.5/1/2'"),
        ("0.5,0.5/1", "mean and std must have one number a channel, not 2 and 1"),
        ("nan/0", "mean must be finite numbers, not (nan,); std must be positive numbers, not (0.0,)"),
    ],
)
def test_what_is_no_normalisation_is_said(text, sentence):
    with pytest.raises(ConfigError) as caught:
        Normalisation.parse(text)
    assert str(caught.value) == sentence
