"""Networks on disk, and counts of multiply-accumulates."""

import json

import awkward_networks as awkward
import numpy as np
import pytest
import torch
from graph_checks import Net, assert_same_outputs, randomised
from torch import nn

from silicut import zoo
from silicut.graph import capture, find_channels, keep_channels, to_module
from silicut.graph.counting import n_macs
from silicut.graph.storage import load_network, save_network
from silicut.records import BadFile, load_tensors, save_tensors


def _everything(s, x):
    y = s.a(x - s.mean).masked_fill(x[:, :1] > 0, float("-inf")).clamp(min=-1)
    return {"one": s.b(s.bn(y)), "two": torch.zeros(x.shape[0], device=x.device) + s.scale, "three": s.same(y)}


def everything():
    module = Net(
        _everything,
        a=nn.Conv2d(3, 4, 1),
        bn=nn.BatchNorm2d(4, momentum=None),
        b=nn.Conv2d(4, 2, 1),
        scale=nn.Parameter(torch.zeros(())),
        mean=torch.full((3, 1, 1), 0.5),
    )
    module.same = module.b
    return randomised(module)


CASES = {
    "everything": (everything(), torch.zeros(2, 3, 6, 6)),
    "tuple": (randomised(awkward.TUPLE.module), awkward.TUPLE.example()),
    "list": (randomised(awkward.LIST.module), awkward.LIST.example()),
    "two inputs": (randomised(awkward.SIAMESE.module), awkward.SIAMESE.example()),
    "fixed batch": (Net(lambda s, x: x[:3] + 1), torch.zeros(4, 3)),
    "zoo": (zoo.network("digits-resnet"), torch.zeros(2, 1, 16, 16)),
}


@pytest.fixture(params=CASES)
def network(request):
    return capture(*CASES[request.param])


def paths(folder):
    return folder / "network.json", folder / "weights.safetensors"


def test_a_network_comes_back_as_it_was(network, tmp_path):
    save_network(network, *paths(tmp_path))
    again = load_network(*paths(tmp_path))
    assert again.structure_hash == network.structure_hash
    assert again.weights_hash == network.weights_hash
    assert again.operators == network.operators
    assert again.output_structure == network.output_structure
    assert again.aliases == network.aliases
    assert again.constants == network.constants
    assert {n: a.shape for n, a in again.parameters.items()} == {n: a.shape for n, a in network.parameters.items()}
    inputs = [torch.randn(network.tensors[name].sizes(2)) for name in network.inputs]
    with torch.no_grad():
        assert_same_outputs(to_module(again)(*inputs), to_module(network)(*inputs))
    assert list(to_module(again).state_dict()) == list(to_module(network).state_dict())


def test_a_pruned_network_comes_back(tmp_path):
    network = capture(*CASES["zoo"])
    channels = find_channels(network)
    pruned = keep_channels(network, channels, {group.name: np.arange(0, group.n_channels, 3) for group in channels.groups})
    save_network(pruned, *paths(tmp_path))
    assert load_network(*paths(tmp_path)).structure_hash == pruned.structure_hash


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    structure, weights = paths(tmp_path)
    save_network(capture(*CASES["zoo"]), structure, weights)
    other = tmp_path / "other.safetensors"
    save_tensors(other, {"a": np.zeros(3)})
    with pytest.raises(BadFile) as caught:
        load_network(structure, other)
    assert str(caught.value) == f"{other} does not hold the parameters that {structure} names; take both from one folder"


def test_damaged_and_missing_files_are_refused(tmp_path):
    structure, weights = paths(tmp_path)
    save_network(capture(*CASES["tuple"]), structure, weights)
    document = json.loads(structure.read_text())
    with pytest.raises(BadFile, match="does not exist; check the path"):
        load_network(tmp_path / "none.json", weights)
    for key in ("operators", "tensors", "parameters", "trainable", "aliases", "outputs"):
        structure.write_text(json.dumps({k: v for k, v in document.items() if k != key}))
        with pytest.raises(BadFile, match="is damaged"):
            load_network(structure, weights)
    structure.write_text(json.dumps({**document, "schema": "network/0"}))
    with pytest.raises(BadFile, match=r"must be a 'network/1' file; make it again with this version"):
        load_network(structure, weights)
    structure.write_text(json.dumps({**document, "operators": document["operators"][1:]}))
    with pytest.raises(BadFile, match="is damaged"):
        load_network(structure, weights)
    structure.write_text("[1]")
    with pytest.raises(BadFile, match="must be a"):
        load_network(structure, weights)


def test_scalars_keep_their_shape(tmp_path):
    save_tensors(tmp_path / "t.safetensors", {"count": np.array(3), "empty": np.zeros((0, 2))})
    found = load_tensors(tmp_path / "t.safetensors")
    assert found["count"].shape == ()
    assert found["empty"].shape == (0, 2)


# Known figures: ResNet-20 for 32x32 images has 40.55 M multiply-accumulates with option A shortcuts (He et al. 2016, by
# hand: 0.442 + 14.156 + 12.976 + 12.976 M + 640), ResNet-18 for 224x224 images 1.81 G (torchvision's table, "GFLOPS 1.81").


def test_multiply_accumulates():
    assert n_macs(capture(zoo.network("resnet20"), torch.zeros(2, 3, 32, 32))) == 40_551_040
    assert n_macs(capture(zoo.network("resnet18"), torch.zeros(1, 3, 224, 224))) == pytest.approx(1.81e9, rel=0.003)
    assert n_macs(capture(nn.Conv2d(4, 8, 3, groups=4), torch.zeros(1, 4, 8, 8))) == 8 * 36 * 9
    assert n_macs(capture(nn.Linear(5, 7), torch.zeros(2, 3, 5))) == 3 * 5 * 7
    assert n_macs(capture(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), torch.zeros(2, 4, 5, 5))) == 4 * 25 * 3 * 9


def test_multiply_accumulates_are_for_one_input_whatever_the_captured_batch():
    module = Net(lambda s, x: s.a(x)[:3], a=nn.Conv2d(3, 4, 1))
    assert n_macs(capture(module, torch.zeros(4, 3, 6, 6))) == 3 * 4 * 36
