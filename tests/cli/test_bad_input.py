"""What is wrong ends in one sentence and a code, before anything slow starts, and changes no file."""

import sys

import pytest
import tiny

from silicut.cli.app import run

pytestmark = pytest.mark.needs_ort


def prune(*more):
    return tiny.arguments("out", "cache", *more)


def without_data(*more):
    arguments = prune(*more)
    at = arguments.index("--data")
    return [*arguments[:at], *arguments[at + 2 :], "--input-shape", "3x8x8"]


WEIGHTS = [
    ("nowhere.pt", "nowhere.pt does not exist; check the path"),
    ("own.py", "own.py must be a file of weights (.safetensors, .npz, .pt, .pth, .th, .bin, .ckpt), not .py"),
    ("nan.safetensors", "nan.safetensors holds NaN in 'stem.weight'; its training diverged, use an earlier checkpoint"),
    (
        "inf.safetensors",
        "the network returns NaN or infinity on a random input; its weights are damaged or diverged",
    ),
    (
        "headless.safetensors",
        "2 weights are missing (head.weight, head.bias); check that the weights belong to this network",
    ),
    (
        "text.safetensors",
        "text.safetensors is not a readable safetensors file (Error while deserializing: header too large); it may be "
        "cut off: copy it again",
    ),
    (
        "code.pt",
        "code.pt carries code or Python objects and was not read; load it where you trust it and save only its weights: "
        "torch.save(model.state_dict(), 'weights.pt') or safetensors.torch.save_file(model.state_dict(), "
        "'weights.safetensors')",
    ),
]


@pytest.mark.parametrize(("file", "sentence"), WEIGHTS)
def test_weights(says, file, sentence):
    says(prune("--weights", file), 2, sentence)


def test_weights_that_are_cut_off(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert run(prune("--weights", "cut.pt")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("silicut: cut.pt is not a readable PyTorch file (")  # the rest is torch's
    assert line.endswith("; it may be cut off: copy it again")


NETWORKS = [
    ("resnet21", "network must be a known name such as 'resnet32' or 'resnet20' or 'resnet18', not 'resnet21'"),
    ("own.py:number", "the network must return a tensor, or several, of one row an image, not int"),
    ("own.py:ten_classes", f"the network must have as many outputs as {tiny.DATA} has classes (4), not 10"),
    ("own.py:linaer", "network 'own.py:linaer' must name a function of own.py, which has no 'linaer'; did you mean "
     "own.py:linear?"),
    ("nowhere.py:build", "network file nowhere.py does not exist; check the path"),
    ("nowhere.onnx", "nowhere.onnx does not exist; check the path"),
    ("timm:resnet18", "timm is not installed; install it with: pip install 'silicut[timm]'"),
]  # fmt: skip


@pytest.mark.parametrize(("network", "sentence"), NETWORKS)
def test_networks(says, monkeypatch, network, sentence):
    monkeypatch.setitem(sys.modules, "timm", None)
    says(prune("--network", network), 2, sentence)


def test_a_network_that_cannot_be_exported(says):
    says(
        prune("--network", "own.py:branching"),
        2,
        "torch.export cannot trace the network at own.py:14 (GuardOnDataDependentSymNode: Could not guard on data-dependent "
        "expression Eq(u0, 1) (unhinted: Eq(u0, 1)). (Size-like symbols: none)). The network must be traceable by "
        "torch.export with these inputs: a fixed graph of tensor operators, without branches on tensor values",
    )


DATA = [
    ("cifar11", "data must be a known name such as 'cifar10' or 'cifar10-raw' or 'cifar10-test', not 'cifar11'; "
     "your own is named module:function"),
    ("cifar10:nowhere", "nowhere/data_batch_1.bin does not exist; give the folder of the binary version of CIFAR-10 "
     "(cifar-10-batches-bin)"),
    ("own.py:grey", "the network cannot take inputs of shape (8, 1, 8, 8) (Given groups=1, weight of size [32, 3, 3, 3], "
     "expected input[8, 1, 8, 8] to have 3 channels, but got 1 channels instead); give its --input-shape or other data"),
    ("own.py:infinite", "evaluation images of data 'own.py:infinite' must be finite, not NaN or infinity"),
    ("own.py:untrained", "data 'own.py:untrained' must hold training images, not none"),
    ("own.py:broken", "data 'own.py:broken' cannot be read: OSError: no such disk"),
    ("own.py:linear", "data 'own.py:linear' must return (training loader, evaluation loader), not Sequential"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "sentence"), DATA)
def test_data(says, data, sentence):
    says(prune("--data", data), 2, sentence)


OPTIONS = [
    (
        ["--latency", "fast", "--value", "size", "--solver", "luck", "--learning-rate", "0"],
        "latency must be like 50% or 3ms, not 'fast'; learning_rate must be above 0 and finite, not 0.0; "
        "value must be one of auto, sp-lamp, log-energy, taylor, learned, sensitivity, not 'size'; "
        "solver must be one of coupled, descent, knapsack, lagrangian, not 'luck'",
    ),
    (["--max-drop", "1", "--latency", "50%"], "what is asked must be --latency or --max-drop, not both"),
    (["--latency", "50%", "--latency", "now"], "latency must be like 50% or 3ms, not 'now'"),
    (
        ["--max-parameters", "many", "--max-macs", "200%", "--base-value", "learned", "--engine-mode", "best"],
        "base_value must be one of sp-lamp, log-energy, taylor, not 'learned'; engine_mode must be one of worst, weighted, "
        "not 'best'; max-parameters must be like 60%, 300k or 2MB, not 'many'; max-macs must be above 0 and, in per cent, "
        "below 100, not '200%'",
    ),
    (
        ["--max-size", "20kB", "--solver", "knapsack"],
        "solver 'knapsack' must have no budget besides latency, not max-size too",
    ),
    (["--engine", "onnxruntime=fast"], "engine must be like onnxruntime or onnxruntime=2, not 'onnxruntime=fast'"),
    (["--engine", "onnxruntime=0"], "weight of engine 'onnxruntime' must be above 0, not 0"),
    (["--engine", "onnxruntime", "--engine", "onnxruntime"], "engine 'onnxruntime' must be given once, not 2 times"),
    (["--latency", "0%"], "latency must be above 0 and, in per cent, below 100, not '0%'"),
    (
        ["--engine", "tvm"],
        "engine must be 'onnxruntime' or 'onnxruntime-int8' or 'openvino' or 'pytorch' or 'pytorch-compile', not 'tvm'",
    ),
    (["--input-shape", "3,8,8"], "input-shape must be like 3x224x224, not '3,8,8'"),
    (["--input-shape", "3x8x\u00b2"], "input-shape must be like 3x224x224, not '3x8x\u00b2'"),
    (["--input-shape", "3x16x16"], f"input-shape must be that of {tiny.DATA} (3x8x8), not '3x16x16'; leave it out"),
    (["--freeze", "blck*"], "freeze pattern 'blck*' must match a layer, such as 'block.conv1'"),
    (["--keep", "layer9"], "keep pattern 'layer9' must match a residual block, such as 'block'"),
    (["--loss", "own.py:failing_loss"], "loss 'own.py:failing_loss' failed when called: RuntimeError: no loss today"),
    (
        ["--loss", "own.py:wide_loss"],
        "loss 'own.py:wide_loss' must return a finite tensor of shape (), not a tensor of shape (8, 4)",
    ),
    (
        ["--metric", "own.py:short_metric"],
        "metric 'own.py:short_metric' must return a tensor of shape (8,) for 8 images, not a tensor of shape ()",
    ),
    (["--resume"], "out holds no run to resume; start one without --resume (resumes=True)"),
]


@pytest.mark.parametrize(("options", "sentence"), OPTIONS)
def test_options(says, options, sentence):
    says(prune(*options), 2, sentence)


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["prnue"], "No such command 'prnue'. "),
        (["prune", "--speed", "3"], "No such option: --speed"),
        (["prune", "--network", "resnet20"], "Missing option '--out'. "),
        (["prune", "--preset", "papre"], "Invalid value for '--preset': "),
    ],
)
def test_unknown_and_missing_options(arguments, start, capsys):
    assert run(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()  # the wording is typer's
    assert line.startswith(f"silicut: {start}")
    assert line.endswith(" See: silicut --help")


@pytest.mark.parametrize("option", ["--epochs", "--seed", "--threads", "--batch", "--training-batch"])
@pytest.mark.parametrize("value", ["-1", "many"])
def test_numbers_out_of_range(option, value, tmp_path, tiny_cache, capsys):
    assert run(tiny.arguments(tmp_path / "out", tiny_cache, option, value)) == 2
    (line,) = capsys.readouterr().err.splitlines()  # the wording is typer's
    assert line.startswith(f"silicut: Invalid value for '{option}': ")
    assert line.endswith(". See: silicut --help")
    assert not (tmp_path / "out").exists()


def test_what_needs_data(says):
    says(
        without_data("--value", "taylor"),
        2,
        "value 'taylor' must come with training data, not without; give data or choose 'sp-lamp'",
    )
    says(without_data("--loss", tiny.LOSS), 2, f"loss {tiny.LOSS!r} must come with --data, not without")
    says(
        without_data()[:-2],
        2,
        f"network {tiny.NETWORK!r} must come with --input-shape (such as 3x224x224) or --data, not without",
    )


FOLDERS = [
    ("full", (), "full is not empty and nothing in it was changed; choose a new folder, or resume the run in it (--resume, "
     "resumes=True)"),
    ("full", ("--resume",), "full holds no run to resume; start one without --resume (resumes=True)"),
    ("good.pt", (), "good.pt is a file; choose a new folder for the results"),
    ("good.pt/out", (), "good.pt/out: Not a directory"),
    ("listed_run", ("--resume",), "listed_run/run.json is damaged; start the run again in a new folder"),
    ("broken_run", ("--resume",), "broken_run/run.json cannot be read as JSON (Expecting property name enclosed in double "
     "quotes: line 1 column 2 (char 1)); restore it or make it again"),
]  # fmt: skip


@pytest.mark.parametrize(("folder", "more", "sentence"), FOLDERS)
def test_folders_that_hold_something(says, folder, more, sentence):
    says(prune("--out", folder, *more), 2, sentence)


def test_what_cannot_be_had_is_an_outcome(says, files, tiny_cache, monkeypatch, capsys):
    says(
        prune("--network", "own.py:linear"),
        1,
        "no channel group of the network may be pruned (1: it is an output of the network); rewrite what freezes them",
    )
    says(
        prune("--freeze", "*"),
        1,
        "the freeze patterns leave no channel and no residual block to remove; freeze fewer layers",
    )


@pytest.mark.parametrize("budget", ["1%", "0.0001ms"])
def test_an_impossible_budget_names_the_smallest_possible_one(budget, tiny_run, tiny_cache, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(tiny.arguments(out, tiny_cache, "--latency", budget)) == 1
    asked = budget.replace("ms", " ms")
    sentence = f"silicut: a latency of {asked} cannot be reached: the smallest plan is predicted to take "
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(sentence)
    assert last.endswith("; ask for at least that, or freeze less")
    assert float(last.removeprefix(sentence).split(" ms (")[0]) > 0
    assert not out.exists()  # so that a corrected command can use it


def test_a_budget_the_dense_network_meets(tiny_run, tiny_cache, tmp_path, capsys):
    assert run(tiny.arguments(tmp_path / "out", tiny_cache, "--latency", "10s")) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("silicut: the dense network takes 0.")
    assert last.endswith(" ms, which is within 10000 ms; ask for less")


OTHER_COMMANDS = [
    (["measure", "nowhere.onnx"], "nowhere.onnx does not exist; give ONNX files or folders of silicut prune"),
    (["measure", "full"], "full is no folder of silicut prune: it holds no network.json; give ONNX files or such folders"),
    (["measure", "plan.json", "--seconds", "0"], "seconds must be above 0, not 0"),
    (["measure", "plan.json", "--noise", "0"], "noise must be above 0 per cent, not 0"),
    (["profile", "--network", tiny.NETWORK], f"network {tiny.NETWORK!r} must come with --input-shape (such as 3x224x224) "
     "or --data, not without"),
    (["profile", "--network", tiny.NETWORK, "--out", "plan.json"], "plan.json exists and was not changed; choose a new "
     "file"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), OTHER_COMMANDS)
def test_other_commands(says, arguments, sentence):
    says(arguments, 2, sentence)


def test_measuring_what_is_no_model(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert run(["measure", "plan.json"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("silicut: plan.json is not an ONNX model that onnxruntime can run (")
    assert last.endswith("); export it again")
