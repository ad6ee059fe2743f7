"""The command compare: what it prints, its exit codes, and what is wrong in one sentence."""

import json
import re

import numpy as np
import pytest
import tiny
from integer_networks import residual

from silicut.cli.app import run
from silicut.graph import capture
from silicut.graph.onnx_writer import to_onnx
from silicut.numerics import dequantise, run_integer, save_quantised
from silicut.numerics.onnx import to_qdq, to_qonnx

pytestmark = pytest.mark.needs_ort


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    good = residual()
    save_quantised(good, folder / "good")
    bad = residual()
    bad.network.parameters["conv1.weight"].flat[7] ^= 2
    save_quantised(bad, folder / "bad")
    (folder / "qdq.onnx").write_bytes(to_qdq(good).SerializeToString())
    (folder / "qonnx.onnx").write_bytes(to_qonnx(good, batch=4).SerializeToString())
    (folder / "tiny.onnx").write_bytes(to_onnx(capture(tiny.build(), tiny.example())))
    (folder / "text.onnx").write_text("no network")
    (folder / "other").mkdir()
    x = np.random.default_rng(0).integers(0, 256, (8, 3, 12, 12))
    np.save(folder / "x.npy", dequantise(x, good.inputs[0]))
    np.save(folder / "small.npy", np.zeros((2, 3, 4, 4), np.float32))
    np.save(folder / "nan.npy", np.full((2, 3, 12, 12), np.nan))
    (folder / "text.npy").write_text("numbers")
    np.save(folder / "seven.npy", np.zeros((7, 3, 12, 12), np.float32))
    return folder


def test_a_fault_is_named_and_the_code_is_1(folder, capsys):
    code = run(["compare", str(folder / "good"), str(folder / "bad"), "--inputs", str(folder / "x.npy")])
    out = capsys.readouterr().out
    assert code == 1
    given = {"x": np.round(np.load(folder / "x.npy") / residual().inputs[0].scales[0]).astype(int) + 127}
    bad = residual()
    bad.network.parameters["conv1.weight"].flat[7] ^= 2
    right, wrong = (run_integer(each.network, given)["a.sums"] for each in (residual(), bad))
    at = tuple(np.argwhere(right != wrong)[0])
    named = f"the first: a.sums[{', '.join(map(str, at))}], made by conv1 (conv2d), is {right[at]} in {folder / 'good'}"
    assert named in " ".join(out.split())
    assert "Rounding: half_even." in out


@pytest.mark.parametrize("other", ["good@pytorch", "qonnx.onnx", "good@onnxruntime", "qdq.onnx"])
def test_equal_executors_have_code_0(folder, capsys, other):
    code = run(["compare", str(folder / "good"), str(folder / other), "--inputs", str(folder / "x.npy"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (code, found["n_inputs"]) == (0, 8)
    assert {each["n_differing"] for each in found["integers"]} == {0}


def test_float_networks_are_compared_as_reals(folder, capsys):
    code = run(["compare", tiny.NETWORK, str(folder / "tiny.onnx"), "--input-shape", "3x8x8"])
    out = capsys.readouterr().out
    assert code == 0
    assert "tensors compared as reals; the lowest signal to noise: " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx", "good"], "nowhere.onnx does not exist; check the path"),
        (
            ["other", "good"],
            "other is no folder of silicut quantise: it holds no integer.json; give ONNX files or such folders",
        ),
        (["text.onnx", "good"], "text.onnx is not a readable ONNX file (DecodeError); copy it again"),
        (
            ["good@verilog", "good"],
            "executor must be one of reference, pytorch, float, simulator, onnxruntime, not 'verilog'",
        ),
        (
            ["good@float", "good"],
            "executor must be one of reference, pytorch, simulator, onnxruntime for an integer network, not 'float'",
        ),
        (["nonet", "good"], "network must be "),
        (["good", "bad", "--inputs", "no.npy"], "no.npy does not exist; check the path"),
        (["good", "bad", "--inputs", "text.npy"], "text.npy is not a file of one NumPy array; write it with numpy.save"),
        (["good", "bad", "--inputs", "nan.npy"], "nan.npy must hold finite numbers with images along its first axis"),
        (["good", "bad", "--inputs", "small.npy"], "must have shape (n, 3, 12, 12), not (2, 3, 4, 4)"),
        (["good", "qonnx.onnx", "--inputs", "seven.npy"], "inputs must be a multiple of the fixed batch (4), not 7"),
        (["good", "bad", "--inputs", "x.npy", "--n", "0"], "Invalid value for '--n'"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    assert run(["compare", *arguments]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"silicut: [^\n]+\n", said)
    assert message in said
