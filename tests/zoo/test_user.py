import sys

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from silicut.records import ConfigError
from silicut.training import Recipe, fit, is_training_data
from silicut.zoo import network, open_data, user_function
from silicut.zoo.data.loaders import LoaderData

SOURCE = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4))

def data():
    x, y = torch.randn(10, 3, 2, 2), torch.arange(10) % 4
    return [(x, y)], [(x[:4], y[:4]), (x[4:], y[4:])]

def broken():
    raise RuntimeError("no disk")

def number():
    return 3

value = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_own_nets.py").write_text(SOURCE)
    (tmp_path / "my_bad_import.py").write_text("import not_there_at_all\n")
    (tmp_path / "my_bad_syntax.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.removeprefix("silicut_user_").startswith("my_")]:
        del sys.modules[name]


@pytest.mark.parametrize("place", ["my_own_nets", "my_own_nets.py"])
def test_own_networks_and_data_are_imported(own, place):
    assert network(f"{place}:build")(torch.zeros(1, 3, 2, 2)).shape == (1, 4)
    data = open_data(f"{place}:data")
    assert is_training_data(data)
    assert (data.n_training, data.n_evaluation, data.n_classes, data.input_shape) == (10, 10, 4, (3, 2, 2))
    assert user_function(f"{place}:number", "loss")() == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_own_nets:biuld", r"which has no 'biuld'; did you mean my_own_nets:build\?"),
        ("my_own_nets:value", "network 'my_own_nets:value' must be a function, not int"),
        ("my_own_nets:number", "must return a torch.nn.Module, not int"),
        ("my_own_nets:broken", "failed when called: RuntimeError: no disk"),
        ("my_nowhere:build", "'my_nowhere' must be a Python module in .* or installed, none was found"),
        ("my_nowhere.py:build", r"network file my_nowhere\.py does not exist; check the path"),
        ("my_bad_import:build", "cannot be imported: No module named 'not_there_at_all'; install what it needs"),
        ("my_bad_syntax:build", "cannot be imported: SyntaxError"),
    ],
)
def test_what_is_wrong_with_a_network_is_said(own, name, message):
    with pytest.raises(ConfigError, match=message):
        network(name)


def test_what_is_wrong_with_data_is_said(own):
    with pytest.raises(ConfigError, match=r"must return \(training loader, evaluation loader\), not int"):
        open_data("my_own_nets:number")
    with pytest.raises(ConfigError, match="n_classes must be left out with the user's own network"):
        network("my_own_nets:build", n_classes=3)
    with pytest.raises(ConfigError, match=r"loss must be module:function or file\.py:function.*, not 'crossentropy'"):
        user_function("crossentropy", "loss")


def loader(n=25, **options):
    x = torch.arange(n, dtype=torch.float32).reshape(n, 1, 1, 1)
    return DataLoader(TensorDataset(x, torch.arange(n) % 3), **options)


def images_of(batches):
    return [x.flatten().tolist() for x, _ in batches]


def flat(batches):
    return [value for batch in batches for value in batch]


@pytest.mark.parametrize("own_batch", [1, 4, 10, 25])
def test_loaders_are_cut_into_the_batches_asked_for(own_batch):
    data = LoaderData("mine", loader(batch_size=own_batch), loader(batch_size=own_batch))
    batches = images_of(data.training_batches(0, 10, 0))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert flat(batches) == list(range(25))
    assert images_of(data.evaluation_batches(10)) == batches
    assert [len(batch) for batch in images_of(data.training_batches(0, 8, 0))] == [8, 8, 8]


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_loaders_are_shuffled_by_seed_and_epoch_alone(generator):
    data = LoaderData("mine", loader(shuffle=True, batch_size=4, generator=generator), loader())
    first = images_of(data.training_batches(0, 10, 0))
    torch.rand(3)
    before = torch.get_rng_state()
    assert images_of(data.training_batches(0, 10, 0)) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert images_of(data.training_batches(1, 10, 0)) != first
    assert images_of(data.training_batches(0, 10, 1)) != first
    assert sorted(flat(first)) == list(range(25))


def test_draws_between_batches_do_not_disturb_the_loader():
    data = LoaderData("mine", loader(shuffle=True, batch_size=4), loader())
    drawn = []
    for x, _ in data.training_batches(0, 4, 0):
        drawn.append((x.flatten().tolist(), torch.rand(1).item()))
    assert [batch for batch, _ in drawn] == images_of(data.training_batches(0, 4, 0))[: len(drawn)]
    assert len({number for _, number in drawn}) == len(drawn)


def test_images_are_counted():
    assert LoaderData("mine", loader(batch_size=4), loader()).n_training == 25
    assert LoaderData("mine", loader(batch_size=4, drop_last=True), loader()).n_training == 24
    assert LoaderData("mine", list(loader(batch_size=4)), loader()).n_training == 25


def test_a_loader_can_be_trained_on():
    data = LoaderData("mine", loader(shuffle=True), loader())
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 3))
    recipe = Recipe(epochs=2, batch_size=8, learning_rate=1e-4, precision="fp32")
    assert len(fit(module, data, recipe)) == 2


def test_wrong_loaders_are_refused():
    with pytest.raises(ConfigError, match="the training loader of mine must be an iterable that can be walked"):
        LoaderData("mine", iter([]), loader())
    with pytest.raises(ConfigError, match=r"the evaluation loader of mine .* not int"):
        LoaderData("mine", loader(), 3)
    with pytest.raises(ConfigError, match=r"must yield tensors \(images \(n, c, h, w\), labels \(n,\)\)"):
        _ = LoaderData("mine", loader(), [[1, 2]]).input_shape
