import json

import pytest
import tiny

from silicut.cli.app import run
from silicut.targets.profile import Profile

pytestmark = pytest.mark.needs_ort


def arguments(cache, *more):
    fixed = ("--network", tiny.NETWORK, "--input-shape", "3x8x8", "--batch", str(tiny.BATCH))
    return ["profile", *fixed, "--cache", str(cache), *more]


def test_a_profile_is_written_and_printed(tiny_run, tiny_cache, tmp_path, capsys):
    path = tmp_path / "profile.json"
    before = {file: file.read_bytes() for file in tiny_cache.iterdir()}
    assert run(arguments(tiny_cache, "--out", str(path), "--json")) == 0
    out, err = capsys.readouterr()
    profile = Profile.load(path)
    assert Profile.from_json(json.loads(out)) == profile
    assert {variable.name for variable in profile.variables} == {"stem", "block.conv1"}
    assert profile.settings.batch == tiny.BATCH
    assert err == ""
    # The run before had profiled the same network on the same machine: nothing was measured again.
    assert {file: file.read_bytes() for file in tiny_cache.iterdir()} == before
    assert profile == Profile.load(tiny_run.folder / "profile.json")


def test_a_profile_is_shown_as_a_table(tiny_run, tiny_cache, capsys):
    assert run(arguments(tiny_cache)) == 0
    out = capsys.readouterr().out
    assert "block.conv1" in out
    assert "measured: the dense network" in out


def test_random_weights_are_enough_for_a_network_of_the_zoo(tmp_path, monkeypatch, capsys):
    seen = {}

    def profiled(network, target, **_):
        seen.update(inputs=network.inputs, shape=network.tensors[network.inputs[0]].sizes(1), engine=target.settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("silicut.targets.profile.profile_network", profiled)
    assert run(["profile", "--network", "lenet5", "--threads", "2", "--cache", str(tmp_path)]) == 130
    assert seen["shape"] == (1, 1, 28, 28)
    assert (seen["engine"].n_threads, seen["engine"].batch) == (2, 1)
    assert capsys.readouterr().err == "silicut: interrupted; the same command goes on where it stopped\n"
