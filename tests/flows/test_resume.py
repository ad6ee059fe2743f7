"""Runs that are killed, interrupted or refused: what is kept, what is done again, and what may not be mixed."""

import importlib
import json
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace

import pytest
import tiny
import torch
from forked import start

import silicut
from silicut.cli.app import run
from silicut.compress import Plan
from silicut.flows.run_folder import RunFolder
from silicut.records import BadFile, Cache, ConfigError, Journal, NotFaster, OutputExists

WAIT_S = 300.0


def steps(folder):
    return [event["step"] for event in Journal(folder / "metrics.jsonl") if "step" in event]


def measured(cache):
    """How often each network and each single layer was measured for profiles."""
    events = [event for file in cache.glob("*.jsonl") for event in Journal(file)]
    return Counter(json.dumps(event.get("widths", event.get("cell"))) for event in events)


# Kills


@pytest.fixture
def killed_when(tmp_path):
    """Return a function that runs a command until something is there, then kills it: nothing of it can tidy up."""

    def run_and_kill(has_come, arguments):
        process, until = start(arguments, tmp_path / "said", **{tiny.PAUSE: "0.5"}), time.monotonic() + WAIT_S
        try:
            while not has_come():
                assert process.is_alive(), (tmp_path / "said").read_text()
                assert time.monotonic() < until, "the moment to kill did not come"
                time.sleep(0.002)
        finally:
            process.kill()
            process.join()
        assert process.exitcode == -signal.SIGKILL

    return run_and_kill


@pytest.mark.needs_ort
def test_a_run_killed_five_times_loses_at_most_the_step_it_was_in(tmp_path, killed_when):
    out, cache = tmp_path / "run", tmp_path / "cache"
    first, again = tiny.arguments(out, cache), tiny.arguments(out, cache, "--resume")

    killed_when(lambda: len(measured(cache)) >= 10, first)
    sampled = measured(cache)
    assert steps(out) == ["works on", "quality: dense"]

    killed_when((out / "profile.json").exists, again)
    assert sampled < measured(cache)
    sampled, profile = measured(cache), (out / "profile.json").read_bytes()
    assert set(sampled.values()) == {1}

    killed_when((out / "plan.json").exists, again)
    plan = Plan.load(out / "plan.json")
    (planned,) = [event["result"] for event in Journal(out / "metrics.jsonl") if event["step"] == "plan"]
    assert planned["levels"] == plan.widths

    killed_when((out / "checkpoint" / "training.json").exists, again)
    epochs = json.loads((out / "checkpoint" / "training.json").read_text())["results"]
    assert [epoch["epoch"] for epoch in epochs] == [1]

    killed_when((out / "model.onnx").exists, again)
    done, model = steps(out), (out / "model.onnx").read_bytes()
    assert "measured" not in done

    finished = start(again, tmp_path / "said")
    finished.join(WAIT_S)
    assert finished.exitcode == 0, (tmp_path / "said").read_text()
    assert steps(out)[: len(done)] == done
    assert steps(out)[-1] == "measured"
    assert {name: n for name, n in Counter(steps(out)).items() if n > 1} == {}
    assert [step for step in steps(out) if step.startswith("epoch")] == ["epoch 1", "epoch 2"]
    assert Plan.load(out / "plan.json") == plan
    assert (out / "profile.json").read_bytes() == profile
    assert (out / "model.onnx").read_bytes() == model
    assert measured(cache) == sampled
    assert epochs[0] == json.loads((out / "checkpoint" / "training.json").read_text())["results"][0]


# Resumed runs


@pytest.fixture
def nothing_is_measured(monkeypatch):
    """Profiling, solving, training and measuring fail."""

    def fails(*_, **__):
        raise AssertionError("this was done already")

    for place in ("flows.platform.measure", "flows.platform.profile_network", "flows.stages.evaluate", "flows.verify.solve"):
        monkeypatch.setattr(f"silicut.{place}", fails)
    monkeypatch.setattr(importlib.import_module("silicut.training.fit")._Trainer, "epoch", fails)


@pytest.mark.needs_ort
def test_a_finished_run_is_only_read(tiny_run, tmp_path, nothing_is_measured):
    before = {name: (tiny_run.folder / name).read_bytes() for name in ("metrics.jsonl", "plan.json", "model.onnx")}
    assert run(tiny.arguments(tiny_run.folder, tmp_path / "no cache", "--resume")) == 0
    assert {name: (tiny_run.folder / name).read_bytes() for name in before} == before
    assert not (tmp_path / "no cache").exists()


@pytest.mark.needs_ort
def test_a_run_is_not_resumed_with_other_options(tiny_run, tiny_cache, capsys):
    assert run(tiny.arguments(tiny_run.folder, tiny_cache, "--resume", "--latency", "50%", "--epochs", "3")) == 2
    assert capsys.readouterr().err == (
        f"silicut: the run in {tiny_run.folder} was begun with another epochs, latency; resume it with the same or choose a "
        "new folder\n"
    )


@pytest.mark.needs_ort
def test_a_run_is_not_resumed_with_other_weights(tiny_run, tiny_cache, capsys, monkeypatch):
    other = tiny.build()
    with torch.no_grad():
        other.head.bias += 1
    monkeypatch.setattr("silicut.zoo.registry.user_network", lambda _: other)
    before = (tiny_run.folder / "metrics.jsonl").read_bytes()
    assert run(tiny.arguments(tiny_run.folder, tiny_cache, "--resume")) == 2
    assert capsys.readouterr().err == (
        f"silicut: the run in {tiny_run.folder} was begun with another weights; resume it with the same or choose a new "
        "folder\n"
    )
    assert (tiny_run.folder / "metrics.jsonl").read_bytes() == before


# A network of some 20 us on a machine that runs other tests: how sure its latency is does not matter here.
MEASURING = silicut.MeasureOptions(n_rounds=10, max_rounds=20, refuse_frac=10.0, refuse_bias_frac=10.0)
PLAN_ONLY = silicut.PruneOptions(recipe=None, is_dry_run=True, measuring=MEASURING)


def pruned(folder, cache, **more):
    more = {"budget": "60%", "options": PLAN_ONLY, **more}
    return silicut.prune(tiny.build(), tiny.example(), folder=folder, cache=Cache(cache), **more)


@pytest.mark.needs_ort
def test_a_call_is_resumed(tiny_run, tiny_cache, tmp_path):
    first = pruned(tmp_path / "run", tiny_cache)
    with pytest.raises(OutputExists, match="is not empty and nothing in it was changed"):
        pruned(tmp_path / "run", tiny_cache)
    with pytest.raises(ConfigError, match="was begun with another budget; resume it with the same"):
        pruned(tmp_path / "run", tiny_cache, budget="50%", resumes=True)
    with pytest.raises(ConfigError, match="was begun with another solver; resume it with the same"):
        pruned(tmp_path / "run", tiny_cache, options=replace(PLAN_ONLY, solver="descent"), resumes=True)
    again = pruned(tmp_path / "run", tiny_cache, resumes=True)
    assert again.plan == first.plan
    assert again.outcome == first.outcome
    assert steps(tmp_path / "run") == ["works on", "plan"]
    whole = pruned(tmp_path / "run", tiny_cache, options=replace(PLAN_ONLY, is_dry_run=False), resumes=True)
    assert whole.plan == first.plan
    assert steps(tmp_path / "run") == ["works on", "plan", "agreement", "measured"]


@pytest.mark.needs_ort
@pytest.mark.parametrize("was_there", [False, True])
def test_a_run_without_a_plan_leaves_its_folder_free(tiny_run, tiny_cache, tmp_path, was_there):
    if was_there:
        (tmp_path / "run").mkdir()
    with pytest.raises(NotFaster):
        pruned(tmp_path / "run", tiny_cache, budget="10s")
    assert (tmp_path / "run").exists() == was_there
    assert not was_there or not any((tmp_path / "run").iterdir())


@pytest.mark.needs_ort
def test_an_interrupted_run_keeps_what_it_has(tiny_run, tiny_cache, tmp_path, monkeypatch):
    def interrupts(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("silicut.flows.verify.solve", interrupts)
        with pytest.raises(KeyboardInterrupt):
            pruned(tmp_path / "run", tiny_cache)
    assert steps(tmp_path / "run") == ["works on"]
    assert pruned(tmp_path / "run", tiny_cache, resumes=True).plan.widths


# The folder


def test_steps_are_done_once(tmp_path):
    made = []
    folder = RunFolder(tmp_path / "run", {"budget": "50%"})
    assert folder.step("a", lambda: made.append(1) or {"n": 1}) == {"n": 1}
    assert folder.step("a", lambda: made.append(1)) == {"n": 1}
    folder.close()
    again = RunFolder(tmp_path / "run", {"budget": "50%"}, resumes=True)
    assert again.step("a", lambda: made.append(1)) == {"n": 1}
    assert made == [1]


def test_a_torn_line_costs_its_step(tmp_path):
    folder = RunFolder(tmp_path / "run", {})
    folder.step("a", lambda: 1)
    folder.step("b", lambda: 2)
    folder.close()
    journal = tmp_path / "run" / "metrics.jsonl"
    journal.write_bytes(journal.read_bytes()[:-4])
    with RunFolder(tmp_path / "run", {}, resumes=True) as again:
        assert again.step("a", lambda: "again") == 1
        assert again.step("b", lambda: "again") == "again"
    assert RunFolder(tmp_path / "run", {}, resumes=True).step("b", lambda: "once more") == "again"


def test_what_a_run_works_on_may_not_change(tmp_path):
    RunFolder(tmp_path / "run", {}).works_on({"weights": "a", "engine": {"sets": ("avx",)}})
    again = RunFolder(tmp_path / "run", {}, resumes=True)
    again.works_on({"weights": "a", "engine": {"sets": ("avx",)}})
    with pytest.raises(ConfigError, match="was begun with another engine, weights;"):
        again.works_on({"weights": "b", "engine": {"sets": ()}})


def test_only_what_the_run_wrote_is_removed(tmp_path):
    folder = RunFolder(tmp_path / "run", {})
    (tmp_path / "run" / "notes.txt").write_text("mine")
    folder.step("quality", lambda: 1)
    with pytest.raises(ZeroDivisionError), folder.kept_from("plan"):
        _ = 1 / 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_nothing_is_removed_once_there_is_a_plan_or_on_resuming(tmp_path):
    for name, resumes in (("plan", False), ("quality", True)):
        path = tmp_path / name
        folder = RunFolder(path, {})
        folder.step(name, lambda: 1)
        folder.close()
        if resumes:
            folder = RunFolder(path, {}, resumes=True)
        with pytest.raises(ZeroDivisionError), folder.kept_from("plan"):
            _ = 1 / 0
        assert {file.name for file in path.iterdir()} == {"run.json", "metrics.jsonl"}


def test_a_second_run_is_refused_while_one_is_at_work(tmp_path, tiny_run, tiny_cache, capsys):
    out = shutil.copytree(tiny_run.folder, tmp_path / "run")
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with RunFolder(out, json.loads((out / "run.json").read_text()), resumes=True):
        assert run(tiny.arguments(out, tiny_cache, "--resume")) == 2
    assert capsys.readouterr().err == (
        f"silicut: another process is at work in {out} and nothing was changed; wait until it ends, or choose a new folder\n"
    )
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert run(tiny.arguments(out, tiny_cache, "--resume")) == 0


def test_a_folder_is_left_unlocked_by_a_run_that_fails_or_is_refused(tmp_path):
    with pytest.raises(ZeroDivisionError), RunFolder(tmp_path / "run", {"a": 1}):
        _ = 1 / 0
    with pytest.raises(ConfigError, match="was begun with another a;") as refused:
        RunFolder(tmp_path / "run", {"a": 2}, resumes=True)
    assert refused.tb is not None  # what was refused is still held by its traceback, as in a notebook
    RunFolder(tmp_path / "run", {"a": 1}, resumes=True).close()


def test_a_run_killed_as_it_began_leaves_its_folder_new(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    with RunFolder(tmp_path, {}) as folder:
        folder.step("a", lambda: 1)
    with pytest.raises(OutputExists):
        RunFolder(tmp_path, {})


def test_what_is_no_run_is_not_resumed(tmp_path):
    with pytest.raises(BadFile, match="holds no run to resume; start one without --resume"):
        RunFolder(tmp_path / "nothing", {}, resumes=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExists, match="is a file; choose a new folder"):
        RunFolder(tmp_path / "file", {})
