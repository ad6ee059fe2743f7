"""`silicut estimate` on the command line."""

import json

import pytest

from silicut.cli.app import run


def test_a_network_of_the_zoo(capsys):
    assert run(["estimate", "resnet20", "--bits", "4/4", "--edge-bits", "8", "--board", "pynq-z2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("resnet20, 4/4 bits, ends 8/8, on n3h: at least ")
    assert "layer3.2.conv2" in out
    assert "BRAM36: 262 needed, xc7z020 allows 140" in out


def test_json(capsys):
    assert run(["estimate", "lenet5", "--accelerator", "tiny", "--clock", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["bits"], found["clock_hz"]) == ("estimate/1", "8/8 bits", 50e6)
    assert [layer["kind"] for layer in found["layers"]] == ["product", "windows", "product", "windows", *["product"] * 3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resnet21"], "network must be a known name such as"),
        (["resnet20", "--bits", "four"], "bits must be like 8/8 (of weights / of what layers read), not 'four'"),
        (["resnet20", "--bits", "4/9"], "activation_bits must be 2..8, not 9"),
        (["resnet20", "--edge-bits", "1"], "edge_bits must be 2..8, not 1"),
        (["resnet20", "--accelerator", "x"], "accelerator must be one of n3h, bismo-pynq-z1, bismo-ultra96, "),
        (["resnet20", "--clock", "0"], "clock_hz must be positive, not 0.0"),
        (["resnet20", "--clock", "fast"], "Invalid value for '--clock': "),
        (["resnet20", "--part", "xc7z021"], "part must be one such as 'xc7z020'"),
        (["resnet20", "--board", "pynq"], "board must be one such as 'pynq-z2' or 'pynq-z1', not 'pynq'"),
        (["resnet20", "--parts", "nowhere.toml"], "nowhere.toml does not exist; check the path"),
        (["resnet20", "--bits", "4/4", "--bits-file", "b"], "what is asked must be one of --bits and --bits-file, not both"),
        (["resnet20", "--bits-file", "nowhere.json"], "nowhere.json does not exist; check the path"),
        (["resnet20", "--input-shape", "3x8x8"], "input-shape must be left out with 'resnet20', whose sizes are known"),
        (["nowhere.onnx", "--input-shape", "3x8"], "nowhere.onnx does not exist; check the path"),
        (["vit-x"], "network must be a known name such as"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(capsys, arguments, sentence):
    assert run(["estimate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"silicut: {sentence}")
    assert err.count("\n") == 1


def test_all_mistakes_are_said_together(capsys):
    assert run(["estimate", "resnet21", "--bits", "x", "--part", "y", "--edge-bits", "0", "--accelerator", "z"]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ("accelerator must", "part must", "bits must", "edge_bits must", "network must"))
