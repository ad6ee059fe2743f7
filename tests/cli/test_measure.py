import json
from pathlib import Path

import pytest
import tiny

from silicut.cli.app import run
from silicut.graph import capture, fold_batch_norm
from silicut.graph.onnx_writer import to_onnx
from silicut.targets import Measurement

pytestmark = pytest.mark.needs_ort
NOISY = ("--noise", "1000")  # networks of some 20 us, on a machine that runs other tests


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


def test_files_cannot_be_run_by_pytorch(models, capsys):
    assert run(["measure", models[0], "--engine", "pytorch", "--batch", str(tiny.BATCH)]) == 2
    assert capsys.readouterr().err == (
        "silicut: engine 'pytorch' runs networks, not ONNX files. "
        "Give the folder of a silicut run, or choose an engine that runs ONNX files\n"
    )
