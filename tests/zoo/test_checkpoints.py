import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from silicut.records import BadFile, ConfigError, save_tensors
from silicut.zoo import assign_weights, load_weights, network


def small():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


class Custom:
    """Something whose pickle names code."""


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_state_dicts_are_unwrapped(tmp_path, wrapper, prefix):
    module, other = small(), small()
    state = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    path = tmp_path / "weights.pth"
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    assign_weights(other, load_weights(path))
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), other.state_dict().values(), strict=True))


def test_every_kind_of_file_gives_the_same_arrays(tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in small().state_dict().items()}
    save_tensors(tmp_path / "a.safetensors", arrays)
    np.savez(tmp_path / "a.npz", **arrays)
    for name in ("a.safetensors", "a.npz"):
        loaded = load_weights(tmp_path / name)
        assert loaded.keys() == arrays.keys()
        assert all(np.array_equal(loaded[key].reshape(arrays[key].shape), arrays[key]) for key in arrays)
        assign_weights(small(), loaded)


def test_half_precision_is_cast_to_the_networks_type(tmp_path):
    module = nn.Linear(3, 4)
    for dtype in (torch.float16, torch.bfloat16):
        torch.save({name: tensor.to(dtype) for name, tensor in module.state_dict().items()}, tmp_path / "half.pt")
        other = nn.Linear(3, 4)
        assign_weights(other, load_weights(tmp_path / "half.pt"))
        assert torch.equal(other.weight, module.weight.to(dtype).float())
        assert other.weight.dtype == torch.float32


def refusal(path):
    with pytest.raises(BadFile) as caught:
        load_weights(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.npz"])
def test_a_missing_file_is_named(tmp_path, name):
    assert refusal(tmp_path / name) == f"{tmp_path / name} does not exist; check the path"


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.npz"])
@pytest.mark.parametrize("content", ["half", b"", b"not weights"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    path = tmp_path / name
    if content == "half":
        state = small().state_dict()
        if name == "a.pt":
            torch.save(state, path)
        elif name == "a.npz":
            np.savez(path, **{key: tensor.numpy() for key, tensor in state.items()})
        else:
            save_tensors(path, {key: tensor.numpy() for key, tensor in state.items()})
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path} is not a readable")
    assert message.endswith("copy it again")


def test_files_that_carry_code_are_refused_with_the_way_out(tmp_path):
    torch.save(Custom(), tmp_path / "object.pt")
    torch.save(small(), tmp_path / "module.pt")
    torch.save(Custom(), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"a": np.zeros(2)}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, its files are still about
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "script.pt")
    torch.save({"state_dict": small().state_dict(), "args": Custom()}, tmp_path / "mixed.pt")
    for name in ("object.pt", "module.pt", "legacy.pt", "pickle.pt", "script.pt", "mixed.pt"):
        message = refusal(tmp_path / name)
        assert "carries code or Python objects and was not read" in message
        assert "torch.save(model.state_dict(), 'weights.pt')" in message


def test_objects_in_npz_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    assert "holds Python objects, which could execute code; save plain arrays" in refusal(tmp_path / "a.npz")


def test_other_content_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    assert "must hold a state dict (names to tensors), not list" in refusal(tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "epoch.pt")
    assert "not a mapping with 'epoch'" in refusal(tmp_path / "epoch.pt")
    torch.save({}, tmp_path / "empty.pt")
    assert "holds no weights" in refusal(tmp_path / "empty.pt")
    (tmp_path / "weights.h5").write_bytes(b"x")
    assert "must be a file of weights (.safetensors, .npz, .pt" in refusal(tmp_path / "weights.h5")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.npz"])
def test_nan_is_refused(tmp_path, name):
    arrays = {"good": np.zeros(2, np.float32), "bad": np.array([1, np.nan], np.float32)}
    if name == "a.pt":
        torch.save({key: torch.from_numpy(array) for key, array in arrays.items()}, tmp_path / name)
    elif name == "a.npz":
        np.savez(tmp_path / name, **arrays)
    else:
        save_tensors(tmp_path / name, arrays)
    assert "holds NaN in 'bad'; its training diverged" in refusal(tmp_path / name)


def test_every_difference_is_named_and_nothing_is_changed():
    module = small()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    weights = {name: tensor.numpy() + 1 for name, tensor in before.items()}
    weights["2.weight"] = np.zeros((5, 5), np.float32)
    del weights["0.weight"]
    weights |= {f"extra{i}": np.zeros(1) for i in range(5)}
    with pytest.raises(ConfigError) as caught:
        assign_weights(module, weights)
    assert caught.value.problems == (
        "1 weights are missing (0.weight)",
        "5 weights are not of this network (extra0, extra1, extra2, ...)",
        "1 weights have another shape (2.weight must be (2, 4), not (5, 5))",
        "check that the weights belong to this network",
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_another_number_of_classes_is_recognised():
    weights = {name: tensor.numpy() for name, tensor in network("resnet20", n_classes=100).state_dict().items()}
    with pytest.raises(ConfigError, match="for 100 classes and the network has 10; build it with n_classes=100"):
        assign_weights(network("resnet20"), weights)


def test_counters_of_batches_may_be_missing():
    module = small()
    weights = {n: t.numpy() for n, t in small().state_dict().items() if not n.endswith("num_batches_tracked")}
    assign_weights(module, weights)
    assert np.array_equal(module[0].weight.detach().numpy(), weights["0.weight"])
