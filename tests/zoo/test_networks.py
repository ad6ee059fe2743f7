import pytest
import torch
from torch import nn

from silicut.records import ConfigError
from silicut.training import evaluate
from silicut.zoo import ENTRIES, assign_weights, load_weights, network, network_entry, open_data
from silicut.zoo.networks.plain import LeNet5
from silicut.zoo.networks.resnet import Bottleneck
from silicut.zoo.networks.vit import EncoderBlock, VisionTransformer

# Parameters in millions where papers and torchvision's model table state them, else counted by hand.
N_PARAMETERS = {
    "resnet20": 269_722,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "mobilenet-v2": 3_504_872,
    "densenet121": 7_978_856,
    "squeezenet-1.1": 1_235_496,
    "googlenet": 6_624_904,
    "alexnet": 61_100_840,
    "vit-ti": 5_717_416,
    "vit-s": 22_050_664,
    "vit-b": 86_567_656,
    "resnet8": 78_666 - 2 * 240,  # Keras' summary counts the moving statistics of 240 channels
    "resnet18-cifar": 11_173_962,
    "lenet5": 61_706,
}


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.n_classes == 10], ids=lambda entry: entry.name)
def test_every_small_network_maps_images_to_logits_and_gradients(entry):
    module = network(entry.name, n_classes=7).train()
    logits = module(torch.randn(2, *entry.input_shape))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_imagenet_networks_have_their_five_strides(name):
    with torch.no_grad():
        module = network(name).eval()
        assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
        stem = module.maxpool(module.bn1(module.conv1(torch.zeros(1, 3, 64, 64))))
        assert stem.shape[2:] == (16, 16)
        assert module.layer4(module.layer3(module.layer2(module.layer1(stem)))).shape[2:] == (2, 2)


@pytest.mark.parametrize(("name", "n"), N_PARAMETERS.items())
def test_networks_have_the_published_number_of_parameters(name, n):
    with torch.device("meta"):
        assert n_parameters(network(name)) == n


def test_names_are_those_of_published_weights():
    with torch.device("meta"):
        names = set(network("resnet18").state_dict())
        small = set(network("resnet20").state_dict())
        projected = set(network("resnet20-projection").state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.downsample.1.bias", "fc.bias"} <= names
    assert {"conv1.weight", "layer3.2.bn2.weight", "linear.weight"} <= small
    assert projected - small == {
        f"layer{stage}.0.downsample.{part}"
        for stage in (2, 3)
        for part in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked")
    }


# Names by which each published state dict can be told; batch norms are listed by their statistics.
NAMES = {
    "mobilenet-v2": (
        "features.0.0.weight features.0.1.running_mean features.1.conv.0.0.weight features.1.conv.1.weight "
        "features.1.conv.2.running_var features.2.conv.0.0.weight features.2.conv.1.0.weight features.2.conv.2.weight "
        "features.17.conv.3.bias features.18.0.weight features.18.1.bias classifier.1.weight"
    ),
    "densenet121": (
        "features.conv0.weight features.norm0.bias features.denseblock1.denselayer1.norm1.weight "
        "features.denseblock3.denselayer24.conv1.weight features.denseblock4.denselayer16.norm2.running_var "
        "features.denseblock2.denselayer12.conv2.weight features.transition3.norm.bias features.transition1.conv.weight "
        "features.norm5.running_mean classifier.bias"
    ),
    "squeezenet-1.1": (
        "features.0.bias features.3.squeeze.weight features.4.expand1x1.bias features.6.expand3x3.weight "
        "features.7.squeeze.bias features.9.squeeze.weight features.12.expand3x3.bias classifier.1.weight"
    ),
    "googlenet": (
        "conv1.conv.weight conv1.bn.running_var conv3.conv.weight inception3a.branch1.conv.weight "
        "inception4e.branch2.0.bn.bias inception5b.branch3.1.conv.weight inception4a.branch4.1.bn.weight fc.bias"
    ),
    "alexnet": "features.0.weight features.3.bias features.6.weight features.8.bias features.10.weight classifier.1.weight "
    "classifier.4.bias classifier.6.weight",
    "vit-ti": (
        "cls_token pos_embed patch_embed.proj.weight patch_embed.proj.bias blocks.0.norm1.weight blocks.11.attn.qkv.bias "
        "blocks.3.attn.proj.weight blocks.7.norm2.bias blocks.11.mlp.fc1.weight blocks.0.mlp.fc2.bias norm.weight head.bias"
    ),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_names_are_those_of_other_published_weights(name, expected):
    with torch.device("meta"):
        names = set(network(name).state_dict())
    assert set(expected.split()) <= names


@pytest.mark.parametrize("name", ["mobilenet-v2", "densenet121", "squeezenet-1.1", "googlenet", "transformer"])
def test_larger_networks_map_images_to_logits_and_gradients(name):
    small = VisionTransformer(64, 7, n_blocks=2, image_size=32)
    module = (small if name == "transformer" else network(name, n_classes=7)).eval()
    logits = module(torch.randn(1, 3, 32, 32))
    assert logits.shape == (1, 7)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_widths_follow_the_papers():
    with torch.no_grad():
        x = torch.zeros(1, 3, 224, 224)
        assert network("mobilenet-v2").eval().features(x).shape == (1, 1280, 7, 7)
        assert network("densenet121").eval().features(x).shape == (1, 1024, 7, 7)
        assert network("squeezenet-1.1").eval().features(x).shape == (1, 512, 13, 13)
        google = network("googlenet").eval()
        x = google.maxpool2(google.conv3(google.conv2(google.maxpool1(google.conv1(x)))))
        assert x.shape == (1, 192, 28, 28)
        assert google.inception3b(google.inception3a(x)).shape == (1, 480, 28, 28)


def test_the_transformer_is_the_one_of_pytorch():
    """`nn.MultiheadAttention` and `nn.TransformerEncoderLayer` with the same weights compute the same block."""
    block = EncoderBlock(128).eval()
    reference = nn.TransformerEncoderLayer(128, 2, 512, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True).eval()
    state = {
        "self_attn.in_proj_weight": block.attn.qkv.weight,
        "self_attn.in_proj_bias": block.attn.qkv.bias,
        "self_attn.out_proj.weight": block.attn.proj.weight,
        "self_attn.out_proj.bias": block.attn.proj.bias,
    }
    parts = {"linear1": block.mlp.fc1, "linear2": block.mlp.fc2, "norm1": block.norm1, "norm2": block.norm2}
    state |= {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    reference.load_state_dict(state)
    x = torch.randn(3, 5, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(block(x), reference(x), atol=1e-5)


def test_the_half_network_is_half_as_wide():
    widths = [layer.out_channels for layer in network("resnet18-half").modules() if isinstance(layer, nn.Conv2d)]
    assert sorted(set(widths)) == [32, 64, 128, 256]


def test_option_a_keeps_the_image_in_the_middle_channels():
    block = network("resnet20").layer2[0].eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 16, 8, 8)
    y = block(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_unknown_networks_are_answered_with_near_names():
    with pytest.raises(ConfigError, match=r"network must be a known name such as 'resnet20'.*, not 'resnet-20'"):
        network("resnet-20")
    with pytest.raises(ConfigError, match=r"network must be one of resnet20, .*digits-resnet, not 'zzz'"):
        network("zzz")
    with pytest.raises(ConfigError, match="n_classes must be 1 or more, not 0"):
        network("resnet20", n_classes=0)
    assert network_entry("lenet5").input_shape == (1, 28, 28)


def test_wrong_shapes_of_networks_are_refused():
    with pytest.raises(ValueError, match="image_size must be 28 or 32, not 64"):
        LeNet5(10, 64)
    with pytest.raises(ValueError, match="must be 'projection', not 'pad'"):
        Bottleneck(8, 8, 1, "pad")
    with pytest.raises(ValueError, match="width must be a multiple of 64, not 100"):
        VisionTransformer(100, 10)
    with pytest.raises(ValueError, match=r"image_size must be a multiple of patch_size \(16\), not 40"):
        VisionTransformer(64, 10, image_size=40)


def test_names_are_unique():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.needs_data
def test_published_weights_reach_their_accuracy(data_folder, cifar10_folder):
    """91.5 % on the first 1,000 test images, by the data's own notes; published for all 10,000: 91.78 % (akamaster)."""
    files = sorted((data_folder / "weights").glob("resnet20-*.th"))
    if not files:
        pytest.skip(f"no published ResNet-20 weights in {data_folder}")
    module = network("resnet20")
    assign_weights(module, load_weights(files[0]))
    accuracy = evaluate(module, open_data(f"cifar10-test:{cifar10_folder}"))
    assert 0.90 < accuracy.accuracy_frac < 0.93


@pytest.mark.needs_data
def test_weights_of_keras_reach_their_accuracy(data_folder, cifar10_folder):
    """88.1 % on the first 1,000 test images, by the data's own notes, from raw numbers of 0..255."""
    files = sorted((data_folder / "weights").glob("mlperftiny_resnet8*.npz"))
    if not files:
        pytest.skip(f"no weights of MLPerf Tiny's ResNet-8 in {data_folder}")
    module = network("resnet8")
    assert assign_weights(module, load_weights(files[0])).endswith("as Keras does for MLPerf Tiny's ResNet-8")
    data = open_data(f"cifar10-raw:{cifar10_folder}")
    first, labels = (torch.cat(parts)[:1000] for parts in zip(*data.evaluation_batches(1000), strict=True))
    assert evaluate(module, [(first, labels)]).n_correct == 881
