"""Other namings of the same architectures: names written out here as the packages have them."""

import re

import numpy as np
import pytest
import torch

from silicut.records import ConfigError
from silicut.zoo import assign_weights, network
from silicut.zoo.naming import known_as
from silicut.zoo.networks.densenet import DenseNet
from silicut.zoo.networks.googlenet import GoogLeNet
from silicut.zoo.networks.vit import VisionTransformer


def arrays_of(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def torchvision_vit(n_blocks, mlp=("0", "3")):
    """Pairs of a name in torchvision and in timm."""
    pairs = [("class_token", "cls_token"), ("encoder.pos_embedding", "pos_embed")]
    pairs += [(f"conv_proj.{end}", f"patch_embed.proj.{end}") for end in ("weight", "bias")]
    layers = {"ln_1.": "norm1.", "ln_2.": "norm2.", "self_attention.in_proj_": "attn.qkv."}
    layers |= {"self_attention.out_proj.": "attn.proj.", f"mlp.{mlp[0]}.": "mlp.fc1.", f"mlp.{mlp[1]}.": "mlp.fc2."}
    for i in range(n_blocks):
        for theirs, ours in layers.items():
            pairs += [
                (f"encoder.layers.encoder_layer_{i}.{theirs}{end}", f"blocks.{i}.{ours}{end}") for end in ("weight", "bias")
            ]
    ends = {"encoder.ln.": "norm.", "heads.head.": "head."}
    return pairs + [(theirs + end, ours + end) for theirs, ours in ends.items() for end in ("weight", "bias")]


@pytest.mark.parametrize("mlp", [("0", "3"), ("linear_1", "linear_2")])
def test_transformers_named_as_in_torchvision_load(mlp):
    trained, fresh = (VisionTransformer(64, 5, n_blocks=2, image_size=32) for _ in range(2))
    arrays = arrays_of(trained)
    pairs = torchvision_vit(2, mlp)
    assert {ours for _, ours in pairs} == set(arrays)
    note = assign_weights(fresh, {theirs: arrays[ours] for theirs, ours in pairs})
    assert note == "its weights were named as torchvision names a vision transformer's"
    assert all(torch.equal(a, b) for a, b in zip(trained.state_dict().values(), fresh.state_dict().values(), strict=True))


def test_a_whole_transformer_of_torchvision_has_no_other_names():
    with torch.device("meta"):
        names = set(network("vit-b").state_dict())
    assert {ours for _, ours in torchvision_vit(12)} == names


def test_densenets_named_as_in_the_published_files_load():
    trained, fresh = DenseNet((2, 1, 1, 1), 5, growth=4), DenseNet((2, 1, 1, 1), 5, growth=4)
    arrays = arrays_of(trained)
    old = {
        re.sub(r"(denselayer\d\.[a-z]+)([12])", r"\1.\2", name): array
        for name, array in arrays.items()
        if not name.endswith("num_batches_tracked")  # the files are older than these counters
    }
    assert "features.denseblock1.denselayer2.norm.1.weight" in old
    assert assign_weights(fresh, old) == "its weights were named as torchvision's published DenseNet files name them"
    assert torch.equal(
        trained.features.denseblock1.denselayer2.conv2.weight, fresh.features.denseblock1.denselayer2.conv2.weight
    )


def test_auxiliary_classifiers_are_left_out_with_a_note():
    trained = GoogLeNet(5)
    arrays = arrays_of(trained)
    both = {**arrays, "aux1.conv.conv.weight": np.zeros((128, 512, 1, 1)), "aux2.fc2.bias": np.zeros(5)}
    fresh = GoogLeNet(5)
    assert assign_weights(fresh, both) == "2 weights of auxiliary classifiers were left out; they serve training alone"
    assert torch.equal(trained.fc.weight, fresh.fc.weight)
    del both["fc.bias"]
    with pytest.raises(ConfigError, match=r"1 weights are missing \(fc.bias\); 2 weights are not of this network \(aux1"):
        assign_weights(GoogLeNet(5), both)


def test_names_that_fit_are_never_changed():
    weights = {"class_token": np.ones(1), "aux1.weight": np.ones(2)}
    assert known_as(weights, ["class_token", "aux1.weight"]) == (weights, "")
    assert known_as(weights, ["something"]) == (weights, "")
    two = {"head.weight": np.ones(1), "heads.head.weight": np.ones(2)}
    assert known_as(two, ["head.weight"]) == (two, ""), "two weights of one name"


def keras_resnet8():
    """Triples of a name in MLPerf Tiny's file, its name here, and whether it is a kernel."""
    layers = ["conv1", "layer1.conv1", "layer1.conv2", "layer2.conv1", "layer2.conv2", "layer2.downsample"]
    layers += ["layer3.conv1", "layer3.conv2", "layer3.downsample"]
    norms = ["bn1", "layer1.bn1", "layer1.bn2", "layer2.bn1", "layer2.bn2", "layer3.bn1", "layer3.bn2"]
    ends = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    for kind, ours in (("conv2d", layers), ("dense", ["fc"]), ("batch_normalization", norms)):
        for i, layer in enumerate(ours):
            theirs = kind if i == 0 else f"{kind}_{i}"
            named = ends if kind == "batch_normalization" else {"kernel": "weight", "bias": "bias"}
            for end, own in named.items():
                yield f"{theirs}/{theirs}/{end}:0", f"{layer}.{own}", end == "kernel"


def test_weights_of_keras_load_with_filters_first():
    trained, fresh = network("resnet8"), network("resnet8")
    arrays = arrays_of(trained)
    keras = {}
    for theirs, ours, is_kernel in keras_resnet8():
        array = arrays[ours]
        keras[theirs] = np.moveaxis(array, (0, 1), (-1, -2)) if is_kernel else array
    assert len(keras) == len([name for name in arrays if "num_batches" not in name])
    assert assign_weights(fresh, keras).startswith("its weights were named and laid out as Keras does")
    assert all(torch.equal(a, b) for a, b in zip(trained.state_dict().values(), fresh.state_dict().values(), strict=True))
