"""Files of every kind that may be given by mistake, and a check that a command says so and changes nothing."""

import pytest
import tiny
import torch

from silicut.cli.app import run
from silicut.records import save_tensors

OWN = f"""
import sys
sys.path.insert(0, {str(tiny.__file__.rpartition("/")[0])!r})
import torch
import tiny
from torch import nn

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        y = self.conv(x).mean((2, 3))
        return y if y.sum() > 0 else -y

class Number(nn.Module):
    def forward(self, x):
        return 3

def branching(): return Branching()
def number(): return Number()
def linear(): return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 4)
    def forward(self, x):
        y = self.norm(self.conv(x))
        return self.head(y.mean((2, 3))).softmax(1)

def normed(): return Normed()
def parameterless(): return nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.ReLU(), nn.Flatten(), nn.ReLU())
def ten_classes():
    network = tiny.build()
    network.head = nn.Linear(128, 10)
    return network

def grey():
    x, y = torch.zeros(8, 1, 8, 8), torch.arange(8) % 4
    return [(x, y)], [(x, y)]
def three():
    x, y = tiny.images(8, 0)
    return [(x, y % 3)], [(x, y % 3)]
def infinite():
    x, y = tiny.images(8, 0)
    return [(x, y)], [(x / 0, y)]
def untrained(): return [], [tiny.images(8, 0)]
class Broken:
    def __iter__(self): raise OSError("no such disk")
def broken(): return Broken(), Broken()

def failing_loss(outputs, labels): raise RuntimeError("no loss today")
def wide_loss(outputs, labels): return outputs
def short_metric(outputs, labels): return outputs.argmax()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with files of every kind that may be given by mistake."""
    folder = tmp_path_factory.mktemp("files")
    state = tiny.build().state_dict()
    torch.save(state, folder / "good.pt")
    torch.save(tiny.build(), folder / "code.pt")
    (folder / "cut.pt").write_bytes((folder / "good.pt").read_bytes()[:5000])
    (folder / "text.safetensors").write_text("not weights at all")
    arrays = {name: value.numpy() for name, value in state.items()}
    save_tensors(folder / "nan.safetensors", {**arrays, "stem.weight": arrays["stem.weight"] + float("nan")})
    save_tensors(folder / "inf.safetensors", {**arrays, "stem.weight": arrays["stem.weight"] + float("inf")})
    save_tensors(folder / "headless.safetensors", {n: a for n, a in arrays.items() if not n.startswith("head")})
    (folder / "own.py").write_text(OWN)
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").write_text("years of work")
    (folder / "broken_run").mkdir()
    (folder / "broken_run" / "run.json").write_text("{")
    (folder / "listed_run").mkdir()
    (folder / "listed_run" / "run.json").write_text("[]")
    (folder / "plan.json").write_text("{}")
    (folder / "odd_bits.json").write_text(
        '{"schema": "bit-plan/1", "default": {"weight_bits": 8, "activation_bits": 9}, "inner_bits": 8}'
    )
    (folder / "other_bits.json").write_text(
        '{"schema": "bit-plan/1", "default": {"weight_bits": 8, "activation_bits": 8}, '
        '"layers": {"stme": {"weight_bits": 4, "activation_bits": 4}}}'
    )
    (folder / "wide_groups.json").write_text(
        '{"schema": "bit-plan/1", "default": {"weight_bits": 8, "activation_bits": 8}, '
        '"filter_groups": {"stem": [{"filters": [0, 32], "weight_bits": 4}]}}'
    )
    return folder


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture
def says(files, tiny_cache, monkeypatch, capsys):
    """Run a command in the folder of files; check its sentence, and that no file was made, changed or lost."""
    monkeypatch.chdir(files)

    def check(arguments, code, sentence):
        before = content(files)
        found = run(arguments)
        out, err = capsys.readouterr()
        lines = err.splitlines()
        assert lines[-1] == f"silicut: {sentence}"
        assert found == code
        assert out == ""
        assert len(lines) == 1
        assert content(files) == before
        assert not (files / "out").exists()

    return check
