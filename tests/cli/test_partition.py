"""`silicut partition` on the command line."""

import json

import pytest

from silicut.cli.app import run


def test_a_published_network(capsys, tmp_path):
    out = tmp_path / "out"
    assert run(["partition", "alexnet-2012", "--precision", "fp32", "--part", "xc7vx485t", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("alexnet-2012, fp32, 3 engines on xc7vx485t: 65.3 images/s")
    assert "Computed and simulated epoch are equal, 1,530,900 cycles" in text
    assert json.loads((out / "summary.json").read_text())["epoch_cycles"] == 1_530_900
    assert run(["partition", "alexnet-2012", "--out", str(out)]) == 2
    assert "is not empty and nothing in it was changed" in capsys.readouterr().err


def test_json(capsys):
    command = ["partition", "alexnet", "--board", "vc709", "--clock", "150", "--solver", "annealing", "--evaluations", "30"]
    assert run([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["clock_hz"], found["solver"]) == ("partition/1", 150e6, "annealing")
    assert (found["limits"]["part"], found["limits"]["bandwidth_gb_per_s"]) == ("xc7vx690t", 29.8)
    assert found["n_evaluations"] == 30


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["alexnet-2013"], "network must be a known name such as"),
        (["alexnet-2012", "--precision", "fp16"], "precision must be fp32 or fixed16, not 'fp16'"),
        (["alexnet-2012", "--budget", "most"], "budget must be like 80%, not 'most'"),
        (["alexnet-2012", "--budget", "120%"], "budget must be above 0% and at most 100%, not '120%'"),
        (["alexnet-2012", "--solver", "magic"], "solver must be one of exact, annealing, tabu, not 'magic'"),
        (["alexnet-2012", "--part", "xc7vx486t"], "part must be one such as 'xc7vx485t'"),
        (["alexnet-2012", "--board", "vc708"], "board must be one such as"),
        (["alexnet-2012", "--clock", "0"], "clock must be positive, not 0"),
        (["alexnet-2012", "--engines", "0"], "engines must be at least 1, not 0"),
        (["alexnet-2012", "--input-shape", "3x8x8"], "input-shape must be left out with 'alexnet-2012', whose sizes"),
        (["mobilenet-v2"], "network must have convolutions of at most 8 groups, not of 32 as"),
        (["nowhere.onnx"], "nowhere.onnx does not exist; check the path"),
        (["alexnet-2012", "--precision", "fp32", "--budget", "0.1%"], "n_dsps must be at least 5, what one multiply-acc"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(capsys, arguments, sentence):
    assert run(["partition", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"silicut: {sentence}")
    assert err.count("\n") == 1


def test_all_mistakes_are_said_together(capsys):
    assert run(["partition", "nowhere", "--precision", "x", "--part", "y", "--budget", "z", "--engines", "0"]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ("part must", "budget must", "precision must", "engines must", "network must"))
