"""`silicut design` on the command line."""

import dataclasses
import json

import pytest

from silicut.accelerators.gemm.design import GRID
from silicut.cli.app import run
from silicut.flows import design as flow
from silicut.search import Parameter, Space


@pytest.fixture
def small_grid(monkeypatch):
    """Let every search choose among few builds."""
    middle = Space(
        tuple(Parameter(p.name, (p.levels[len(p.levels) // 2 - (p.name != "dsp_passes")],)) for p in GRID.parameters)
    )
    few = Space(tuple(Parameter(p.name, (2, 4) if p.name == "lut_rows" else p.levels) for p in middle.parameters))
    real = flow.DesignOptions

    def options(**given):
        return dataclasses.replace(real(**given), space=few)

    options.__dataclass_fields__ = real.__dataclass_fields__
    monkeypatch.setattr(flow, "DesignOptions", options)


def test_a_design_is_printed_and_kept(small_grid, capsys, tmp_path):
    arguments = ["design", "--network", "lenet5", "--out", str(tmp_path / "out"), "--finalists", "1", "--refined", "0"]
    assert run([*arguments, "--no-what-helps", "--part", "xc7z045"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("lenet5, 4/4, ends 8/8 bits, on xc7z045: ")
    assert "Proven in" in out
    assert f"page: {tmp_path / 'out' / 'report.html'}" in out.replace("\n", "")
    assert run([*arguments, "--no-what-helps", "--part", "xc7z045", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["goal"], found["part"]["name"]) == ("design/1", "latency", "xc7z045")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--network", "resnet21"], "network must be a known name such as"),
        (["--bits", "4"], "bits must be like 4/4 or 2..4/4 (of weights / of what layers read), each 2..8, not '4'"),
        (["--bits", "4..2/4"], "bits must be like 4/4 or 2..4/4"),
        (["--bits", "1/4"], "bits must be like 4/4 or 2..4/4"),
        (["--bits", "2..4/4"], "max-loss must be given where bits are chosen, or the fewest bits everywhere would be"),
        (["--bits", "2..4/4", "--max-loss", "few"], "max-loss must be a number above 0, or such as 3bit, not 'few'"),
        (["--edge-bits", "9"], "edge-bits must be 2..8 or none, not '9'"),
        (["--clock", "0"], "clock must be above 0 MHz and finite, not 0"),
        (["--part", "xc7z021"], "part must be one such as 'xc7z020'"),
        (["--solver", "luck"], "solver must be one of exact, "),
        (["--memory-efficiency", "much"], "memory-efficiency must be a share such as 75%, not 'much'"),
        (["--goal", "speed"], "goal must be one of latency, fps, accuracy, not 'speed'"),
        (["--evaluations", "0"], "evaluations and finalists must be at least 1, refined and seed at least 0"),
        (["--input-shape", "3x8x8"], "input-shape must be left out with 'lenet5', whose sizes are known"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence(capsys, tmp_path, arguments, sentence):
    given = ["--network", "lenet5", "--out", str(tmp_path / "out"), *arguments]
    assert run(["design", *given]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"silicut: {sentence}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(capsys, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["design", "--network", "lenet5", "--out", str(tmp_path)]) == 2
    assert "is not empty and nothing in it was changed" in capsys.readouterr().err
