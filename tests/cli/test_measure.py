import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from silicut.cli.app import run
from silicut.flows.measured_elsewhere import keep_measurement
from silicut.graph import capture, fold_batch_norm
from silicut.graph.onnx_writer import to_onnx
from silicut.records import BadFile, ConfigError, Journal
from silicut.targets import Measurement

pytestmark = pytest.mark.needs_ort
NOISY = ("--noise", "1000")  # networks of some 20 us, on a machine that runs other tests


def measured(folder):
    return next(event["result"] for event in Journal(folder / "metrics.jsonl") if event["step"] == "measured")


@pytest.fixture(scope="module")
def models(tiny_run, tmp_path_factory):
    """The files of the dense and of the pruned network."""
    path = tmp_path_factory.mktemp("models") / "dense.onnx"
    path.write_bytes(to_onnx(fold_batch_norm(capture(tiny.build(), tiny.example())), batch=tiny.BATCH))
    return str(path), str(tiny_run.folder / "model.onnx")


def test_files_are_compared_with_the_first(models, capsys):
    assert run(["measure", *models, "--batch", str(tiny.BATCH), "--json", *NOISY]) == 0
    out, err = capsys.readouterr()
    measurement = Measurement.from_json(json.loads(out))
    names = [Path(model).name for model in models]
    assert [name.rpartition("/")[2] for name in measurement.timings] == names
    dense, pruned = measurement.timings
    assert measurement.reference == dense
    assert measurement.timings[dense].ratio == 1
    assert 0 < measurement.timings[pruned].ratio < 0.9
    assert measurement.settings.batch == tiny.BATCH
    assert err == ""


def test_a_file_can_be_compared_with_itself(models, capsys):
    assert run(["measure", models[0], models[0], "--batch", str(tiny.BATCH), "--seconds", "2", *NOISY]) == 0
    out = capsys.readouterr().out
    assert "\n dense.onnx     " in out
    assert "\n dense.onnx (2) " in out


def test_the_batch_must_be_the_models(models, capsys):
    assert run(["measure", models[1], "--batch", "2"]) == 2
    assert capsys.readouterr().err == f"silicut: batch must be {tiny.BATCH}, to which the model fixes 'x', not 2\n"


@pytest.mark.parametrize("engine", ["openvino", "pytorch", "onnxruntime-int8"])
def test_folders_of_runs_are_measured_on_every_engine(engine, tiny_run, capsys):
    pytest.importorskip({"openvino": "openvino", "pytorch": "torch"}.get(engine, "onnxruntime"))
    folder = str(tiny_run.folder)
    options = ("--engine", engine, "--batch", str(tiny.BATCH), "--seconds", "2", "--json", *NOISY)
    assert run(["measure", folder, folder, *options]) == 0
    measurement = Measurement.from_json(json.loads(capsys.readouterr().out))
    assert list(measurement.timings) == ["run", "run (2)"]
    assert measurement.settings.engine == engine


def test_a_kit_of_files_is_measured_and_shown(models, tmp_path, capsys):
    kit = tmp_path / "kit"
    assert run(["measure", *models, "--kit", str(kit), "--batch", str(tiny.BATCH), "--seconds", "2", *NOISY]) == 0
    assert capsys.readouterr().out.endswith("on the device, then type: silicut measure --merge results.jsonl\n")
    subprocess.run([sys.executable, str(kit / "run.py")], check=True, capture_output=True)
    assert run(["measure", "--merge", str(kit / "results.jsonl"), "--json"]) == 0
    measurement = Measurement.from_json(json.loads(capsys.readouterr().out))
    assert [Path(name).name for name in measurement.timings] == [Path(model).name for model in models]


def test_what_cannot_be_measured_is_said(tiny_run, models, tmp_path, capsys):
    refused = {
        (): "models must be ONNX files or folders of silicut prune, at least one, not none",
        ("a", "--merge", "b"): "a does not exist; give ONNX files or folders of silicut prune",
        (*models, "--merge", "b"): "models must be the run that results are for, or none, not 2",
        ("--merge", "b"): "b does not exist; give the results.jsonl of a kit",
        (
            str(tiny_run.folder),
            "--kit",
            str(tmp_path / "kit"),
        ): f"{tiny_run.folder} holds no dense.onnx, as finished runs with "
        "--profile do; name the dense network's file before it",
    }
    for arguments, sentence in refused.items():
        assert run(["measure", *arguments]) == 2
        assert capsys.readouterr().err == f"silicut: {sentence}\n"


def test_results_are_not_kept_in_a_run_that_was_measured(tiny_run, tmp_path):
    found = Measurement.from_json(measured(tiny_run.folder), "journal")
    with pytest.raises(ConfigError, match="must be one with --profile to take results, not one that was measured here"):
        keep_measurement(tiny_run.folder, found)
    with pytest.raises(BadFile, match="holds no finished run; give the folder of silicut prune --profile"):
        keep_measurement(tmp_path, found)


def test_files_cannot_be_run_by_pytorch(models, capsys):
    assert run(["measure", models[0], "--engine", "pytorch", "--batch", str(tiny.BATCH)]) == 2
    assert capsys.readouterr().err == (
        "silicut: engine 'pytorch' runs networks, not ONNX files. "
        "Give the folder of a silicut run, or choose an engine that runs ONNX files\n"
    )
