import json
import subprocess
import sys
from functools import partial

import pytest
import tiny

from silicut.cli.app import run
from silicut.compress import Plan
from silicut.report.summary import RunSummary
from silicut.targets.measure_kit import read_measurement
from silicut.targets.profile import Profile, ProfileOptions

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


def test_a_device_is_profiled_in_two_visits_and_planned_for(tmp_path, capsys, monkeypatch):
    """Write, run, merge and write, run, merge; then prune for the device, with every latency called predicted."""
    options = partial(ProfileOptions, n_samples=4, n_samples_max=4, n_validation=2)
    monkeypatch.setattr("silicut.targets.profile.ProfileOptions", options)
    cache, profile, kits = tmp_path / "cache", tmp_path / "profile.json", [tmp_path / "kit1", tmp_path / "kit2"]
    steps = [["--kit", kits[0]], ["--merge", kits[0] / "results.jsonl", "--kit", kits[1]],
             ["--merge", kits[1] / "results.jsonl", "--out", profile]]  # fmt: skip
    for step, kit in zip(steps, [*kits, None], strict=True):
        assert run(arguments(cache, *map(str, step))) == 0
        out = capsys.readouterr().out
        if kit is None:
            assert "measured: the dense network" in out
        else:
            assert out.startswith(f"{kit}: ")
            assert "run python run.py in it on the device, then give its results.jsonl to --merge" in out
            subprocess.run([sys.executable, str(kit / "run.py")], check=True, capture_output=True)
    assert run(arguments(cache, "--merge", str(kits[0] / "results.jsonl"), "--kit", str(kits[0]))) == 2
    assert capsys.readouterr().err == f"silicut: {kits[0]} exists and was not changed; choose a new folder\n"

    pruned = ["prune", "--network", tiny.NETWORK, "--input-shape", "3x8x8", "--profile", str(profile), "--latency", "60%"]
    assert run([*pruned, "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "other"), "--epochs", "0"]) == 0
    out = capsys.readouterr().out
    assert "latency, predicted" in out
    assert "measured" not in out.partition("parameters")[0]
    assert "on another device" in (tmp_path / "run" / "report.html").read_text()
    plan = Plan.load(tmp_path / "run" / "plan.json")
    assert any(plan.kept)
    measured_there([*pruned, "--epochs", "0"], tmp_path, capsys)


def measured_there(pruned, folder, capsys):
    """Take the run to the device and back: what was predicted is measured, and says so."""
    out, kit = folder / "run", folder / "measure"
    before = RunSummary.load(out / "summary.json")
    assert run(["measure", str(out), "--kit", str(kit), "--batch", str(tiny.BATCH), "--noise", "1000"]) == 0
    assert capsys.readouterr().out == (
        f"{kit}: 2 networks; run python run.py in it on the device, then type: silicut measure {out} --merge results.jsonl\n"
    )
    subprocess.run([sys.executable, str(kit / "run.py")], check=True, capture_output=True)
    results = kit / "results.jsonl"
    assert run(["measure", str(out), "--merge", str(results)]) == 0
    said, note = capsys.readouterr()
    assert "measured on onnxruntime" in said
    assert note == f"silicut: note: {out} holds what was measured; its command with --resume writes table and page anew\n"

    assert run([*pruned, "--out", str(out), "--cache", str(folder / "other"), "--resume"]) == 0
    assert "latency, measured" in capsys.readouterr().out
    after, found = RunSummary.load(out / "summary.json"), read_measurement(results)
    assert (before.settings.is_predicted, after.settings.is_predicted) == (True, False)
    assert after.measured.ms == found.timings["pruned"].latency_ms
    assert after.dense.ms == found.timings["dense"].latency_ms
    assert after.outcome.sentence.startswith(before.outcome.sentence)
    assert after.outcome.sentence.endswith(f" On the device it measured {100 * found.timings['pruned'].ratio:.1f} %.")
    assert all(round_.measured_ms is None for round_ in after.rounds)
    assert not any("nothing was measured" in warning for warning in after.warnings)
    assert after.hashes == before.hashes
    assert after.target_ms / after.dense.ms == pytest.approx(before.target_ms / before.dense.ms)
    assert "on another device" not in (out / "report.html").read_text()

    other = folder / "other.jsonl"
    for key, sentence in (("fingerprint", "the device that the run in {} is for, not of one with another cpu"),
                          ("models", "the networks in {}, not of others; write the kit of this run")):  # fmt: skip
        header, *lines = results.read_text().splitlines()
        changed = json.loads(header)
        if key == "models":
            changed["models"][1]["hash"] = "0"
        else:
            changed["fingerprint"]["cpu"] = "another"
        other.write_text("\n".join([json.dumps(changed), *lines]))
        assert run(["measure", str(out), "--merge", str(other)]) == 2
        assert capsys.readouterr().err == f"silicut: results must be of {sentence.format(out)}\n"
