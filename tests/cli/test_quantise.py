"""`silicut quantise`: what it leaves and says, and what it refuses in one sentence."""

import json

import numpy as np
import pytest
import tiny

from silicut.cli.app import run
from silicut.compress.quantisation import BitPlan, LayerBits
from silicut.numerics import load_quantised
from silicut.report.quantisation import QuantisationSummary
from silicut.search import Solution

FILES = {
    "bits.json", "integer.json", "integer.safetensors", "model.onnx", "quantisations.json", "report.html", "summary.json"
}  # fmt: skip


def quantise(*more):
    fixed = ["quantise", "--network", tiny.NETWORK, "--data", tiny.DATA, "--out", "out", "--calibration", "64"]
    return [*fixed, "--no-latency", *more]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantised") / "run"
    assert run(quantise("--bits", "4/5", "--edge-bits", "8", "--out", str(folder))) == 0
    return folder


def test_a_run_leaves_a_network_its_bits_and_a_summary(finished):
    assert {path.name for path in finished.iterdir()} == FILES
    plan, quantised = BitPlan.load(finished / "bits.json"), load_quantised(finished)
    assert (str(plan.of("stem")), str(plan.of("block.conv1")), str(plan.of("head"))) == ("8/8", "4/5", "8/8")
    assert np.abs(quantised.network.parameters["block.conv1.weight"]).max() == 7
    assert np.abs(quantised.network.parameters["stem.weight"]).max() == 127
    summary = QuantisationSummary.load(finished / "summary.json")
    assert [stage.name for stage in summary.stages] == ["float", "integer"]
    assert [(layer.name, layer.weight_bits) for layer in summary.layers] == [
        ("stem", 8), ("block.conv1", 4), ("block.conv2", 4), ("head", 8)
    ]  # fmt: skip
    assert summary.weight_bytes == sum(layer.n_weights * layer.weight_bits for layer in summary.layers) / 8
    assert summary.hashes["bits"] == plan.hash
    assert (summary.methods["ranges"], summary.methods["scales"]) == ("mse", "mse")
    assert all(layer.noise_db > 5 for layer in summary.layers)


def test_the_bits_of_a_run_serve_another(finished, tmp_path, capsys):
    plan = BitPlan(default=LayerBits(8, 8), layers={"block.conv2": LayerBits(3, 6)})
    path, out = plan.save(tmp_path / "plan.json"), tmp_path / "out"
    assert run(quantise("--bits-file", str(path), "--out", str(out), "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert {layer["name"]: layer["weight_bits"] for layer in found["layers"]}["block.conv2"] == 3
    assert BitPlan.load(out / "bits.json") == plan
    assert QuantisationSummary.load(out / "summary.json").to_json() == found


def test_filters_of_one_layer_have_bits_of_their_own(tmp_path, capsys):
    """A file of bits names groups of filters; each filter uses its own width to the last integer, and no more."""
    path, out = tmp_path / "plan.json", tmp_path / "out"
    path.write_text(
        '{"schema": "bit-plan/1", "default": {"weight_bits": 8, "activation_bits": 8},'
        ' "filter_groups": {"stem": [{"filters": [0, 3, 5], "weight_bits": 2}, {"filters": [1], "weight_bits": 4}]}}'
    )
    assert run(quantise("--bits-file", str(path), "--scales", "max", "--out", str(out))) == 0
    weight = load_quantised(out).network.parameters["stem.weight"]
    largest = np.abs(weight).reshape(len(weight), -1).max(1).tolist()
    assert largest == [1, 7, 127, 1, 127, 1, *[127] * (len(weight) - 6)]
    stem, *_ = QuantisationSummary.load(out / "summary.json").layers
    assert stem.n_weight_bits == weight[0].size * sum({1: 2, 7: 4, 127: 8}[level] for level in largest)
    assert BitPlan.load(out / "bits.json") == BitPlan.load(path)


def test_training_is_a_stage_of_its_own(tmp_path):
    more = ("--train", "1", "--training-batch", "32", "--checkpoints", str(tmp_path / "state"))
    assert run(quantise("--bits", "3/3", *more, "--out", str(tmp_path / "out"))) == 0
    stages = QuantisationSummary.load(tmp_path / "out" / "summary.json").stages
    assert [stage.name for stage in stages] == ["float", "untrained", "integer"]
    assert (tmp_path / "state" / "training.json").exists()


def test_options_of_training_are_refused_without_it(tmp_path, capsys):
    assert run(quantise("--learning-rate", "0.1", "--out", str(tmp_path / "out"))) == 2
    assert "learning-rate must be given with --train only, the epochs of training" in capsys.readouterr().err


def test_all_methods_together(tmp_path, capsys):
    more = ("--ranges", "kl", "--scales", "max", "--rounding", "adaptive", "--equalise", "--correct-biases")
    assert run(quantise("--bits", "6/6", *more, "--out", str(tmp_path / "out"))) == 0
    methods = QuantisationSummary.load(tmp_path / "out" / "summary.json").methods
    assert methods == {
        "ranges": "kl", "scales": "max", "rounding": "adaptive", "equalises": "yes", "corrects_biases": "yes"
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "Accuracy went from" in out or "show no difference in accuracy" in out
    assert "block.conv1" in out


@pytest.mark.needs_ort
def test_latency_is_measured_by_layer(tmp_path, capsys):
    out = tmp_path / "out"
    assert run(quantise("--latency", "--out", str(out))) == 0
    latency = QuantisationSummary.load(out / "summary.json").latency
    assert {"stem", "block.conv1", "block.conv2", "head"} < {layer.name for layer in latency.layers}
    assert f"int8 is {latency.verdict}" in capsys.readouterr().out
    assert latency.sentence in (out / "report.html").read_text()


@pytest.mark.needs_ort
def test_a_folded_normalisation_makes_files_that_take_pixels(tmp_path, capsys):
    """The same accuracy on normalised images, and the folder's file makes the integers that the folder has."""
    out, mean_std = tmp_path / "out", "0.5,0.5,0.5/0.1,0.1,0.1"
    assert run(quantise("--normalisation", mean_std, "--qonnx", "--out", str(out))) == 0
    assert {path.name for path in out.iterdir()} == FILES | {"model.qonnx.onnx", "normalisation.json"}
    summary = QuantisationSummary.load(out / "summary.json")
    assert summary.methods["input"] == "images of 0..255, normalised as integers"
    assert abs(summary.stages[1].n_correct - summary.stages[0].n_correct) <= 3
    pixels = np.random.default_rng(0).integers(90, 166, (8, *tiny.SHAPE)).astype(np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "images.npy", ((pixels / 255 - 0.5) / 0.1).astype(np.float32))
    for file in ("pixels.npy", "images.npy"):
        given = ("--inputs", str(tmp_path / file))
        assert run(["compare", str(out), str(out / "model.onnx"), *given]) == 0
        assert "0 of" in capsys.readouterr().out
    assert run(["compare", tiny.NETWORK, str(out), *given, "--input-shape", "3x8x8", "--json"]) == 0
    reals = json.loads(capsys.readouterr().out)["reals"]
    assert min(real["sqnr_db"] for real in reals) > 25


@pytest.mark.needs_ort
def test_the_folder_of_a_pruning_is_a_network(tiny_run, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(quantise("--network", str(tiny_run.folder), "--out", str(out))) == 0
    pruned = json.loads((tiny_run.folder / "summary.json").read_text())
    stages = QuantisationSummary.load(out / "summary.json").stages
    assert (stages[0].n, stages[0].n_correct) == (pruned["stages"][-1]["n"], pruned["stages"][-1]["n_correct"])


ALONE = ("quantise", "--network", tiny.NETWORK, "--out", "out")
REFUSED = [
    (quantise("--bits", "9"), "bits must be like 8/8 (of weights / of what layers read), not '9'"),
    (quantise("--bits", "8/x"), "bits must be like 8/8 (of weights / of what layers read), not '8/x'"),
    (quantise("--bits", "1/9"), "weight_bits must be 2..8, not 1; activation_bits must be 2..8, not 9"),
    (
        quantise("--bits", "1/8", "--ranges", "max", "--rounding", "up", "--calibration", "0", "--edge-bits", "16"),
        "weight_bits must be 2..8, not 1; ranges must be one of min-max, percentile, mse, kl, not 'max'; rounding must be "
        "one of nearest, adaptive, not 'up'; n_calibration must be 1 or more, not 0; edge_bits must be 2..8, not 16",
    ),
    (
        quantise("--normalisation", "0.5"),
        "a normalisation must be mean/std like 0.485,0.456,0.406/0.229,0.224,0.225, not '0.5'",
    ),
    (
        quantise("--normalisation", "data"),
        f"normalisation must be given as mean/std: data {tiny.DATA!r} do not say how their images were normalised",
    ),
    (
        quantise("--normalisation", "0.5/0.5"),
        "a normalisation must have 3 channels as the network's images, not 1",
    ),
    (quantise("--scales", "kl"), "scales must be one of max, mse, not 'kl'"),
    (
        quantise("--bits", "8/8", "--bits-file", "plan.json"),
        "what is asked must be one of --bits, --bits-file and --search, not several",
    ),
    (quantise("--bits-file", "nowhere.json"), "nowhere.json does not exist; check the path"),
    (
        quantise("--bits-file", "plan.json"),
        "plan.json must be a 'bit-plan/1' record, not None; make it again with this version",
    ),
    (quantise("--bits-file", "odd_bits.json"), "activation_bits must be 2..8, not 9"),
    (
        quantise("--bits-file", "other_bits.json"),
        "a bit plan must name layers of the network such as stem, not stme",
    ),
    (quantise("--bits-file", "wide_groups.json"), "filter_groups of stem must name filters 0..31, not 32"),
    (ALONE, "data must be given with --data: ranges are found on training images"),
    (
        quantise("--data", "cifar10:nowhere"),
        "nowhere/data_batch_1.bin does not exist; give the folder of the binary version of CIFAR-10 (cifar-10-batches-bin)",
    ),
    (
        quantise("--data", "own.py:three"),
        "the network must have as many outputs as own.py:three has classes (3), not 4",
    ),
    (quantise("--out", "full"), "full is not empty and nothing in it was changed; choose a new folder"),
    (quantise("--out", "good.pt"), "good.pt is a file; choose a new folder for the results"),
    (
        quantise("--network", "full"),
        "full is no folder of silicut prune: it holds no network.json; give such a folder, or a network",
    ),
    (quantise("--network", "nowhere.onnx"), "nowhere.onnx does not exist; check the path"),
    (
        quantise("--network", "resnet21"),
        "network must be a known name such as 'resnet32' or 'resnet20' or 'resnet18', not 'resnet21'",
    ),
    (quantise("--weights", "nowhere.pt"), "nowhere.pt does not exist; check the path"),
    (
        quantise("--network", "own.py:normed"),
        "operator norm (group_norm) at own.py:28 has no integer form (take a batch norm); operator softmax (softmax) at "
        "own.py:29 has no integer form (leave it out, the largest logit decides). Change these, or quantise the part of the "
        "network without them",
    ),
    (
        quantise("--metric", "own.py:short_metric"),
        "metric 'own.py:short_metric' must return a tensor of shape (8,) for 8 images, not a tensor of shape ()",
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_what_is_wrong_is_one_sentence(says, arguments, sentence):
    says(list(arguments), 2, sentence)


def test_bits_are_searched_within_a_budget(tmp_path):
    out = tmp_path / "out"
    assert run(quantise("--search", "bops:4/4", "--edge-bits", "8", "--out", str(out))) == 0
    assert {path.name for path in out.iterdir()} == FILES | {"search.json"}
    plan, solution = BitPlan.load(out / "bits.json"), Solution.load(out / "search.json")
    assert str(plan.of("stem")) == str(plan.of("head")) == "8/8"
    assert solution.is_proven
    assert solution.costs["bit_operations"] <= solution_budget_of_4_4()


def solution_budget_of_4_4() -> int:
    """The bit operations of the tiny network with inner layers at 4/4: stem and head at 8/8."""
    n = 32
    return 64 * (64 * n * 3 * 9 + 2 * 16 * n * n * 9) + 64 * 4 * n * 4


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("bops:4", "a budget of bits must be like bops:4/4, bops:25% or size:40%, not 'bops:4'"),
        ("energy:50%", "the resource of a budget must be bops or size, not 'energy'"),
        ("size:140%", "a budget must be above 0 % and at most 100 % of 8/8, not 140%"),
        ("bops:1/4", "weight_bits must be 2..8, not 1"),
    ],
)
def test_wrong_budgets_are_refused(budget, message, capsys, tmp_path):
    assert run(quantise("--search", budget, "--out", str(tmp_path / "out"))) == 2
    assert capsys.readouterr().err.strip() == f"silicut: {message}"


def test_a_budget_that_is_too_small_is_an_outcome(capsys, tmp_path):
    assert run(quantise("--search", "bops:1%", "--out", str(tmp_path / "out"))) == 1
    assert "the smallest reachable cost is bops:6.25%, above its budget; raise it to that" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
