"""`silicut inspect` on the tiny network: with and without a profile, one layer, and wrong input."""

import json

import pytest
import tiny

from silicut.cli.app import run
from silicut.report import Explanation, Inspection
from silicut.targets.profile import Profile


def arguments(*more):
    return ["inspect", tiny.NETWORK, "--input-shape", "3x8x8", *more]


def test_without_a_profile_it_says_how_to_make_one(tmp_path, capsys):
    assert run(arguments("--cache", str(tmp_path / "nothing"))) == 0
    out, err = capsys.readouterr()
    assert "2 groups of channels may be narrowed, 1 residual block may go" in " ".join(out.split())
    assert "stem (tiny.py:" in out
    assert "No profile of it is known; for milliseconds: silicut profile --network" in out
    assert err == ""
    assert not (tmp_path / "nothing").exists()


@pytest.mark.needs_ort
def test_a_cached_profile_or_a_file_gives_milliseconds(tiny_run, tiny_cache, tmp_path, capsys):
    batch = ("--batch", str(tiny.BATCH))
    assert run(arguments(*batch, "--cache", str(tiny_cache), "--json")) == 0
    cached = Inspection.from_json(json.loads(capsys.readouterr().out))
    file = tiny_run.folder / "profile.json"
    assert run(arguments(*batch, "--cache", str(tmp_path), "--profile", str(file), "--json")) == 0
    assert Inspection.from_json(json.loads(capsys.readouterr().out)) == cached
    assert cached.dense_ms == Profile.load(file).dense_ms
    assert run(arguments(*batch, "--cache", str(tiny_cache))) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"Latency, as profiled: onnxruntime, 1 thread, batch {tiny.BATCH}" in out
    assert "widths can change" in out


def test_one_layer_is_explained(capsys):
    assert run(arguments("--why", "block.conv2")) == 0
    out = capsys.readouterr().out
    assert "It makes 32 channels of group stem, which can be pruned." in out
    assert "tied by block.add (tiny.py:" in out
    assert run(arguments("--why", "block.conv2", "--json")) == 0
    assert Explanation.from_json(json.loads(capsys.readouterr().out)).block == "block"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--why", "blok.conv1"], "layer must be an operator of the network, such as 'block.conv1' or "),
        (["--profile", "nowhere.json"], "nowhere.json"),
        (["--engine", "nothing"], "engine must be "),
    ],
)
def test_wrong_input_is_one_sentence(more, sentence, capsys):
    assert run(arguments(*more)) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"silicut: {sentence}")
    assert err.count("\n") == 1
    assert out == ""


def test_an_unknown_network_has_near_ones(capsys):
    assert run(["inspect", "resnet21"]) == 2
    assert "resnet20" in capsys.readouterr().err
