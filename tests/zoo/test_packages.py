"""Networks of other packages: transformers itself, and stand-ins for timm and torchvision, which need not be installed."""

import importlib
import json
import sys
import types
import warnings

import pytest
import torch
from torch import nn

from silicut.graph import capture, to_module
from silicut.records import BadFile, ConfigError, ToolMissing
from silicut.zoo import network

VIT = {
    "model_type": "vit",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 16,
    "patch_size": 8,
    "id2label": {"0": "cat", "1": "dog", "2": "owl"},
    "label2id": {"cat": 0, "dog": 1, "owl": 2},
}
RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}


class Small(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.fc = nn.Linear(12, n)

    def forward(self, x):
        return self.fc(x.flatten(1))


def stand_in(name):
    """A package with the functions of timm and torchvision that are used, and one network that cannot be built."""

    def create(model, num_classes=1000, *, pretrained=False, weights=None):
        assert not pretrained
        assert weights is None
        if model == "broken":
            raise RuntimeError("no such size\nmore")
        return Small(num_classes)

    module = types.ModuleType(name)
    module.list_models = lambda: ["resnet18", "resnet34", "broken"]
    module.create_model = module.get_model = create
    module.models = module
    return module


@pytest.fixture
def both(monkeypatch):
    for name in ("timm", "torchvision"):
        monkeypatch.setitem(sys.modules, name, stand_in(name))


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_networks_of_image_packages_are_built_without_weights(both, package):
    assert network(f"{package}:resnet18").fc.out_features == 1000
    assert network(f"{package}:resnet18", n_classes=7).fc.out_features == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet19", "network must be one that timm has, such as resnet18, resnet34, not 'resnet19'"),
        ("torchvision:zzz", "network must be one that torchvision has, such as resnet18, resnet34, broken, not 'zzz'"),
        ("timm:broken", "network 'timm:broken' cannot be built: RuntimeError: no such size"),
    ],
)
def test_what_is_wrong_is_said(both, name, message):
    with pytest.raises(ConfigError) as caught:
        network(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["timm", "torchvision", "transformers"])
def test_missing_packages_are_named_with_the_next_step(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ToolMissing, match=rf"^{name} is not installed; install it with: pip install 'silicut\[{name}\]'$"):
        network(f"{name}:resnet18")


def test_a_package_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(
        ConfigError, match=r"timm is installed but cannot be imported \(RuntimeError: operator torchvision::nms"
    ):
        network("timm:resnet18")


@pytest.fixture(scope="module")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the package says on import is not ours
        return pytest.importorskip("transformers")


@pytest.mark.parametrize(("config", "size"), [(VIT, 16), (RESNET, 32)])
def test_classifiers_are_built_from_a_local_file(transformers, tmp_path, config, size):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    for place in (path, tmp_path):
        torch.manual_seed(0)
        module = network(f"hf:{place}").eval()
        x = torch.randn(2, 3, size, size)
        kind = transformers.CONFIG_MAPPING[config["model_type"]]
        reference = transformers.AutoModelForImageClassification.from_config(kind.from_dict(config)).eval()
        assert list(module.state_dict()) == list(reference.state_dict())
        reference.load_state_dict(module.state_dict())
        with torch.no_grad():
            assert torch.equal(module(x), reference(x).logits)
            network_again = to_module(capture(module, x))
            assert torch.equal(network_again(x), module(x))
    assert network(f"hf:{tmp_path}", n_classes=5).eval()(x).shape == (2, 5)


def test_classifiers_are_built_by_type(transformers):
    with torch.device("meta"):
        module = network("transformers:resnet", n_classes=9)
    assert type(module).__name__ == "ResNetForImageClassification"
    assert module.classifier[1].out_features == 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_type": "bert"}, "must be the config.json of an image classifier of transformers, not of model_type 'bert'"),
        ([1], "image classifier of transformers, not of model_type None"),
    ],
)
def test_other_files_are_refused(transformers, tmp_path, content, message):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BadFile, match=message):
        network(f"hf:{path}")
    with pytest.raises(BadFile, match="does not exist; check the path"):
        network(f"hf:{tmp_path / 'nowhere.json'}")
    with pytest.raises(ConfigError, match=r"network must be one that transformers has, such as .*, not 'bert'"):
        network("transformers:bert")
    path.write_text(json.dumps({**VIT, "hidden_act": "reul"}))
    with pytest.raises(ConfigError, match="cannot be built: "):
        network(f"hf:{path}")


def test_importing_the_zoo_imports_no_package():
    importlib.import_module("silicut.zoo.packages")
    assert "timm" not in sys.modules
