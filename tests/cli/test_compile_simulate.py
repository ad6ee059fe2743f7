"""The commands compile and simulate: what they print and leave, and what is wrong in one sentence."""

import json

import numpy as np
import pytest
from integer_networks import gated, residual

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.program.files import load_program
from silicut.cli.app import run
from silicut.flows.compiled import load_compiled
from silicut.numerics import dequantise, run_integer, save_quantised
from silicut.numerics.onnx import to_qdq
from silicut.records import load_tensors
from silicut.report.compilation import Compilation
from silicut.report.simulation import SimulationSummary

SHAPE = (3, 12, 12)
MANY_TIMES_TOO_WIDE = {"feature_words": 8, "output_words": 8, "residual_words": 8}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with integer networks, a program of one of them, and much that is none."""
    folder = tmp_path_factory.mktemp("gemm")
    save_quantised(residual(), folder / "net")
    save_quantised(gated(), folder / "gated")
    (folder / "qdq.onnx").write_bytes(to_qdq(residual()).SerializeToString())
    (folder / "text.onnx").write_text("no network")
    save_quantised(residual(), folder / "damaged")
    (folder / "damaged" / "summary.json").write_text("{}")
    (folder / "net.pt").write_text("weights")
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "thesis.tex").write_text("years of work")
    TINY.save(folder / "mine.json")
    own = TINY.to_json()
    (folder / "narrow.json").write_text(json.dumps(own | {"buffers": own["buffers"] | MANY_TIMES_TOO_WIDE}))
    (folder / "odd.json").write_text(json.dumps(own | {"n_lanes": 0, "clock_hz": -1.0}))
    (folder / "misspelt.json").write_text(json.dumps(own | {"n_lane": 4}))
    (folder / "list.json").write_text("[8, 16]")
    (folder / "split.json").write_text(json.dumps({"conv1": 8}))
    (folder / "other_split.json").write_text(json.dumps({"conv9": 8}))
    (folder / "odd_split.json").write_text(json.dumps({"conv1": 5}))
    (folder / "parts.toml").write_text("[parts.mine]\nn_luts = ")
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype(np.uint8))
    np.save(folder / "small.npy", np.zeros((1, 3, 8, 8), np.uint8))
    np.save(folder / "loud.npy", np.full((1, *SHAPE), 999))
    np.save(folder / "nan.npy", np.full((1, *SHAPE), np.nan))
    np.save(folder / "float.npy", np.zeros((1, *SHAPE), np.float32))
    (folder / "text.npy").write_text("numbers")
    assert run(["compile", str(folder / "net"), "--accelerator", "tiny", "--allow-host", "--out", str(folder / "prog")]) == 0
    data = (folder / "prog" / "program.gemm").read_bytes()
    (folder / "cut.gemm").write_bytes(data[: len(data) // 2])
    (folder / "flipped.gemm").write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    (folder / "alone.gemm").write_bytes(data)
    return folder


@pytest.fixture
def here(work, monkeypatch):
    monkeypatch.chdir(work)
    return work


def test_compile_prints_what_runs_where_before_the_layers(here, tmp_path, capsys):
    out = tmp_path / "program"
    assert run(["compile", "net", "--accelerator", "mine.json", "--allow-host", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    said = " ".join(shown.split())
    assert "its sums must be read by one requantiser alone and be no output" in said
    assert shown.index("on the host") < shown.index("instructions, ")
    assert "8+0" in shown or "0+8" in shown
    assert f"program: {out} next: silicut simulate {out}" in said
    record = Compilation.load(out / "compilation.json")
    assert (record.network, record.accelerator) == ("net", "tiny")
    assert load_compiled(out).program.n_instructions == record.n_instructions


def test_compile_as_json(here, tmp_path, capsys):
    arguments = ["--accelerator", "tiny", "--split", "split.json", "--barriers", "--clock", "125", "--allow-host"]
    assert run(["compile", "qdq.onnx", *arguments, "--out", str(tmp_path / "program"), "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert found == Compilation.load(tmp_path / "program" / "compilation.json").to_json()
    assert (found["clock_hz"], found["has_barriers"]) == (125e6, True)
    assert next(layer["n_lut"] for layer in found["layers"] if layer["name"] == "conv1") == 8


def test_simulate_prints_layers_stages_and_what_the_figures_are(here, tmp_path, capsys):
    assert run(["simulate", "prog", "--inputs", "images.npy", "--n", "2", "--out", str(tmp_path / "run")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    summary = SimulationSummary.load(tmp_path / "run" / "summary.json")
    for text in (
        f"net on tiny: {summary.cycles:,} cycles",
        "at 100 MHz",
        "bounded by",
        "DSP array",
        "waits most for",
        "the clock of 100 MHz is assumed",
        "nothing is synthesised",
        "on the host and not counted: fc (linear)",
    ):
        assert text in shown, text
    assert summary.n_images == 2
    found = load_tensors(tmp_path / "run" / "outputs.safetensors")
    wanted = run_integer(residual().network, {"x": np.load("images.npy")})
    for name, values in found.items():
        np.testing.assert_array_equal(values.reshape(wanted[name].shape), wanted[name])
    assert (tmp_path / "run" / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_simulate_as_json_without_data_or_folder(here, capsys):
    assert run(["simulate", "prog", "--timing-only", "--clock", "200", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_images"], found["n_correct"], found["clock_hz"]) == (0, None, 200e6)
    assert run(["simulate", "alone.gemm", "--seed", "3", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["cycles"] == found["cycles"]


def test_labels_of_data_are_counted(here, capsys):
    (here / "own.py").write_text(
        "import torch\n"
        "def data():\n"
        "    x = torch.zeros(6, 3, 12, 12)\n"
        "    return [(x, torch.arange(6) % 2)], [(x, torch.arange(6) % 2)]\n"
    )
    assert run(["simulate", "prog", "--data", "own.py:data", "--n", "6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_images"] == 6
    assert found["n_correct"] in (0, 3)  # six equal images of two classes


def test_compare_runs_a_program(here, capsys):
    assert run(["compare", "net", "prog", "--inputs", "images.npy", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["integers"]) > 5
    np.save(here / "reals.npy", dequantise(np.load("images.npy"), residual().inputs[0]))
    assert run(["compare", "qdq.onnx", "net@simulator", "--inputs", "reals.npy", "--json"]) in (0, 1)
    assert run(["compare", "prog@reference", "prog@simulator", "--inputs", "images.npy"]) == 0


def test_compare_names_the_first_difference_of_a_program(here, tmp_path, capsys):
    bad = residual()
    bad.network.parameters["conv1.weight"].flat[7] ^= 4
    save_quantised(bad, tmp_path / "bad")
    assert run(["compare", str(tmp_path / "bad"), "prog@simulator", "--inputs", "images.npy"]) == 1
    right, wrong = (run_integer(each.network, {"x": np.load("images.npy")})["a"] for each in (residual(), bad))
    at = tuple(np.argwhere(right != wrong)[0])
    said = " ".join(capsys.readouterr().out.split())
    assert f"the first: a[{', '.join(map(str, at))}], made by conv1.step (requantise), is {wrong[at]}" in said


def compile_(*more, network="net"):
    return [
        "compile",
        network,
        "--allow-host",
        "--accelerator",
        "tiny",
        *more,
        *(() if "--out" in more else ("--out", "out")),
    ]


def simulate(*more, program="prog"):
    return ["simulate", program, *more]


ACCELERATORS = "n3h, bismo-pynq-z1, bismo-ultra96, z020, tiny"
SPLIT = "split must be best, lut, dsp, a share of the LUT core such as 25%, or a .json file, not "
WRONG = [
    (compile_(network="nowhere"), "nowhere does not exist; check the path"),
    (compile_(network="nowhere.onnx"), "nowhere.onnx does not exist; check the path"),
    (
        compile_(network="net.pt"),
        "net.pt must be a folder of silicut quantise or a QDQ or QONNX file (.onnx), not a .pt file",
    ),
    (
        compile_(network="empty"),
        "empty is no folder of silicut quantise: it holds no integer.json; quantise the network first",
    ),
    (
        ["compile", "net", "--accelerator", "tiny", "--out", "out"],
        "fc (linear) stays on the host: its sums must be read by one requantiser alone and be no output. Let the host "
        "execute it with --allow-host, or change the network",
    ),
    (
        compile_("--accelerator", "n4h"),
        f"accelerator must be one of {ACCELERATORS}, or a file such as mine.json, not 'n4h'",
    ),
    (compile_("--config", "none.json"), "none.json does not exist; check the path"),
    (
        compile_("--config", "list.json"),
        "list.json must be a 'gemm-config/1' record, not None; make it again with this version",
    ),
    (
        compile_("--config", "misspelt.json"),
        "misspelt.json is not a valid gemm-config/1 record (n_lane is unknown, did you mean n_lanes?)",
    ),
    (compile_("--config", "odd.json"), "n_lanes must be at least 1, not 0; clock_hz must be positive, not -1.0"),
    (compile_("--clock", "-5"), "clock_hz must be positive, not -5000000.0"),
    (compile_("--split", "half"), SPLIT + "'half'"),
    (compile_("--split", "140%"), SPLIT + "'140%'"),
    (
        compile_("--split", "half", "--accelerator", "n4h"),
        f"accelerator must be one of {ACCELERATORS}, or a file such as mine.json, not 'n4h'; " + SPLIT + "'half'",
    ),
    (
        compile_("--split", "list.json"),
        "list.json must hold an object of layers and their filters of the LUT core, such as {'conv1': 16}",
    ),
    (compile_("--split", "none.json"), "none.json does not exist; check the path"),
    (compile_("--split", "other_split.json"), "split must name layers with weights, such as conv1, not 'conv9'"),
    (compile_("--out", "full"), "full is not empty and nothing in it was changed; choose a new folder"),
    (compile_("--out", "net.pt"), "net.pt is a file; choose a new folder for the results"),
    (["compile", "net"], "Missing option '--out'. See: silicut --help"),
    (simulate(program="nowhere"), "nowhere does not exist; check the path"),
    (
        simulate(program="net"),
        "net is no folder of silicut compile: it holds no program.gemm; compile a network first",
    ),
    (
        simulate(program="net.pt"),
        "net.pt must start with the line 'silicut gemm program 1 <bytes> <hash>'; it is no program, or is damaged there",
    ),
    (simulate("--inputs", "none.npy"), "none.npy does not exist; check the path"),
    (simulate("--inputs", "text.npy"), "text.npy is not a file of one NumPy array; write it with numpy.save"),
    (simulate("--inputs", "nan.npy"), "nan.npy must hold finite numbers with images along its first axis"),
    (simulate("--inputs", "small.npy"), "images must have shape (n, 3, 12, 12), not (1, 3, 8, 8)"),
    (simulate("--inputs", "loud.npy"), "images must hold uint8 (0..255), not numbers of 999..999"),
    (
        simulate("--inputs", "float.npy", program="alone.gemm"),
        "images must be integers for a program file alone; give the folder of silicut compile, which knows what they stand "
        "for",
    ),
    (
        simulate("--inputs", "digits"),
        "inputs must be random or an .npy file, not 'digits'; data by name are given with --data",
    ),
    (
        simulate("--inputs", "images.npy", "--timing-only"),
        "what is run must be one of --inputs, --data and --timing-only, not --inputs and --timing-only",
    ),
    (
        simulate("--data", "cifar11"),
        "data must be a known name such as 'cifar10' or 'cifar10-raw' or 'cifar10-test', not 'cifar11'; your own is named "
        "module:function",
    ),
    (simulate("--clock", "0"), "clock must be above 0 MHz and finite, not 0"),
    (simulate("--out", "full"), "full is not empty and nothing in it was changed; choose a new folder"),
    (
        ["compare", "prog@verilog", "net"],
        "executor must be one of reference, pytorch, float, simulator, onnxruntime, not 'verilog'",
    ),
    (
        ["compare", "net", "alone.gemm@simulator"],
        "alone.gemm is a program alone, without what its integers mean; give the folder of silicut compile",
    ),
    (
        compile_(network="damaged"),
        "damaged/summary.json must be a 'quantisation_summary/1' record, not None; make it again with this version",
    ),
    (
        ["compare", "prog", "prog@float"],
        "executor must be one of reference, pytorch, simulator, onnxruntime for an integer network, not 'float'",
    ),
]


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG)
def test_what_is_wrong_is_one_sentence(here, capsys, arguments, sentence):
    before = content(here)
    assert run(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err == f"silicut: {sentence}\n"
    assert content(here) == before


STARTS = [
    (simulate(program="cut.gemm"), 2, "silicut: cut.gemm is cut off in its "),
    (simulate(program="flipped.gemm"), 2, "silicut: flipped.gemm is damaged in its part "),
    (simulate("--part", "xc7z021"), 2, "silicut: part must be "),
    (simulate("--board", "pynq-z9"), 2, "silicut: board must be "),
    (simulate("--parts", "parts.toml"), 2, "silicut: parts.toml "),
    (compile_("--split", "odd_split.json"), 2, "silicut: split of conv1 must be one of "),
    (compile_(network="text.onnx"), 2, "silicut: text.onnx "),
    (compile_("--split", "lut", "--accelerator", "narrow.json"), 1, "silicut: the "),
    (["compile", "gated", "--accelerator", "tiny", "--out", "out"], 2, "silicut: product (multiply) stays on the host: "),
]


@pytest.mark.parametrize(("arguments", "code", "start"), STARTS)
def test_what_is_wrong_begins_so(here, capsys, arguments, code, start):
    before = content(here)
    assert run(list(arguments)) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(start)
    assert content(here) == before


def test_a_program_of_another_folder_is_refused(here, tmp_path, capsys):
    assert run(compile_("--barriers", "--out", str(tmp_path / "b"), "--json")) == 0
    (tmp_path / "b" / "program.gemm").write_bytes((here / "prog" / "program.gemm").read_bytes())
    capsys.readouterr()
    assert run(["simulate", str(tmp_path / "b")]) == 2
    assert "is another program than compilation.json is about; take both from one folder" in capsys.readouterr().err


def test_a_clock_of_the_compilation_is_part_of_the_build(here, tmp_path):
    assert run(compile_("--clock", "150", "--out", str(tmp_path / "c"), "--json")) == 0
    assert load_program(tmp_path / "c" / "program.gemm").config.clock_hz == 150e6
