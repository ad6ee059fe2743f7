"""The same command under torchrun: the same plan, the same training, one that speaks and writes."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from forked import start

import silicut
from silicut.cli.app import run
from silicut.records import Journal

ROOT = Path(silicut.__file__).parents[1]
pytestmark = pytest.mark.needs_ort


def on_two(arguments, **environment):
    """Run a command line in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "silicut"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def results(folder):
    return {event["step"]: event["result"] for event in Journal(folder / "metrics.jsonl") if "step" in event}


def test_two_processes_find_the_plan_of_one(tiny_run, tiny_cache, tmp_path):
    """The first plan of the verifying loop: later ones depend on what it measured."""
    out = tmp_path / "run"
    done = on_two(tiny.arguments(out, tiny_cache, "--dry-run", "--json"))
    assert done.returncode == 0, done.stderr
    found, expected = results(out), results(tiny_run.folder)
    assert found["values"]["accuracy_frac"].keys() == expected["values"]["accuracy_frac"].keys()
    for name, accuracy_frac in expected["values"]["accuracy_frac"].items():
        assert found["values"]["accuracy_frac"][name] == pytest.approx(accuracy_frac, abs=0.01)
    assert found["plan"]["rounds"][0]["levels"] == expected["plan"]["rounds"][0]["levels"]
    assert found["quality: dense"] == expected["quality: dense"]
    assert found["works on"] == expected["works on"]
    assert json.loads(done.stdout)["network"]  # printed once: two summaries are no JSON
    assert len(list(Journal(out / "metrics.jsonl"))) == len(found)


def test_a_run_of_one_process_goes_on_in_two(tiny_run, tiny_cache, tmp_path):
    """From the plan on, which two runs need not share since it was measured: the same epochs, the same accuracy.

    The two are started with torchrun's variables, but without torchrun, which would import everything anew.
    """
    out = tmp_path / "run"
    shutil.copytree(tiny_run.folder, out)
    shutil.rmtree(out / "checkpoint")
    lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    first_epoch = next(i for i, line in enumerate(lines) if json.loads(line)["step"] == "epoch 1")
    (out / "metrics.jsonl").write_text("".join(lines[:first_epoch]))
    own = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    both = [start(tiny.arguments(out, tiny_cache, "--resume"), tmp_path / "said", RANK=rank, **own) for rank in "01"]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0], (tmp_path / "said").read_text()
    found, expected = results(out), results(tiny_run.folder)
    assert list(found) == list(expected)
    for epoch in ("epoch 1", "epoch 2"):
        assert found[epoch]["loss"] == pytest.approx(expected[epoch]["loss"], rel=0.02)
    assert abs(n_right(found["quality: fine-tuned"]) - n_right(expected["quality: fine-tuned"])) <= 2
    assert found["agreement"]["n_same_top1"] == found["agreement"]["n"]
    assert (out / "plan.json").read_bytes() == (tiny_run.folder / "plan.json").read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in tiny_run.folder.iterdir()}


def n_right(quality):
    return int(np.unpackbits(np.frombuffer(bytes.fromhex(quality["right"]), np.uint8)).sum())


def test_an_error_of_one_process_is_said_once_and_ends_all(tmp_path):
    (tmp_path / "own.py").write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "import tiny\n"
        "def loaders():\n"
        "    if os.environ['RANK'] == '1':\n"
        "        raise OSError('disk gone')\n"
        "    return tiny.loaders()\n"
    )
    arguments = tiny.arguments(tmp_path / "run", tmp_path / "cache", "--data", f"{tmp_path / 'own.py'}:loaders")
    done = on_two(arguments)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("silicut:")]
    assert len(said) == 1
    assert "disk gone" in said[0]


@pytest.mark.parametrize(("rank", "said"), [("0", "silicut: latency must be like 50% or 3ms, not 'fast'\n"), ("1", "")])
def test_wrong_input_is_said_once(monkeypatch, capsys, tmp_path, rank, said):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    assert run(["prune", "--network", "resnet56", "--latency", "fast", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("command", ["measure", "profile", "inspect", "doctor"])
def test_commands_of_one_process_refuse_several(monkeypatch, capsys, command):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    more = {"measure": ["a.onnx"], "profile": ["--network", "lenet5"], "inspect": ["lenet5"]}.get(command, [])
    assert run([command, *more]) == 2
    assert capsys.readouterr().err == (
        f"silicut: silicut {command} must be run by one process, not by 2; only silicut prune shares its work: "
        "leave torchrun out\n"
    )
    monkeypatch.setenv("RANK", "1")
    assert run([command, *more]) == 2
    assert capsys.readouterr() == ("", "")
