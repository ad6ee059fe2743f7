"""Kits that measure: written, run where neither silicut nor PyTorch can be imported, stopped, gone on with, and read."""

import json

import numpy as np
import pytest
import small_networks as nets
from test_kit import run_alone

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from silicut.graph import fold_batch_norm  # noqa: E402
from silicut.graph.onnx_writer import to_onnx  # noqa: E402
from silicut.records import BadFile, ConfigError, OutputExists, TooNoisy  # noqa: E402
from silicut.targets import MeasureOptions, engine  # noqa: E402
from silicut.targets.measure import model_hash  # noqa: E402
from silicut.targets.measure_kit import read_measurement, write_measure_kit  # noqa: E402

pytestmark = pytest.mark.needs_ort
QUICK = MeasureOptions(n_rounds=6, max_rounds=6, rounds_per_session=2, refuse_frac=10.0, refuse_bias_frac=10.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A network of three large convolutions, and a file of a small one whose batch is free."""
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    path.write_bytes(to_onnx(nets.network(nets.Joined)))
    return {"large": fold_batch_norm(nets.network(nets.Chain)), "small": path}


@pytest.fixture(scope="module")
def kit(models, tmp_path_factory):
    """A kit that was run."""
    folder = tmp_path_factory.mktemp("kits") / "kit"
    write_measure_kit(folder, models, "large", engine(batch=2), QUICK)
    done = run_alone(folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"device kit: done; take {folder / 'results.jsonl'} back"
    return folder


def test_what_a_kit_measures_is_a_measurement_like_any_other(kit, models):
    found = read_measurement(kit / "results.jsonl")
    assert found.settings == engine(batch=2).settings
    assert found.fingerprint == engine(batch=2).fingerprint()
    assert (found.reference, found.options, found.n_rounds) == ("large", QUICK, 6)
    assert {name: timing.model_hash for name, timing in found.timings.items()} == {
        n: model_hash(m) for n, m in models.items()
    }
    assert found.timings["large"].ratio == 1
    assert 0 < found.timings["small"].ratio < 0.9
    assert found.timings["small"].n == 6 * QUICK.runs_per_round


def test_figures_are_those_of_the_seconds_that_were_taken(kit):
    """Computed anew from the file, by the definition."""
    _, *sessions = map(json.loads, (kit / "results.jsonl").read_text().splitlines())
    seconds = np.array([session["seconds"] for session in sessions])  # sessions, rounds, models, runs
    assert seconds.shape == (3, 2, 2, 4)
    ratio = np.median(seconds[:, :, 1].min(-1) / seconds[:, :, 0].min(-1))
    timing = read_measurement(kit / "results.jsonl").timings["small"]
    assert timing.ratio == pytest.approx(ratio)
    assert timing.latency_ms == pytest.approx(1e3 * np.quantile(seconds[:, :, 0], 0.1) * ratio)


def test_files_are_carried_with_their_weights_and_fixed_sizes(kit, models):
    small = onnx.load(kit / "models" / "0001.onnx")
    assert [d.dim_value for d in small.graph.input[0].type.tensor_type.shape.dim] == [2, 3, 16, 16]
    given = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(models["small"]).graph.initializer}
    for tensor in small.graph.initializer:
        assert np.array_equal(onnx.numpy_helper.to_array(tensor), given[tensor.name])


def test_a_stopped_kit_goes_on_behind_its_last_whole_session(kit):
    results = kit / "results.jsonl"
    whole = results.read_bytes()
    header, first, second, third = whole.splitlines(keepends=True)
    results.write_bytes(header + first + second + third[:30])
    assert run_alone(kit).returncode == 0
    again = results.read_bytes().splitlines(keepends=True)
    assert again[:3] == [header, first, second]
    assert read_measurement(results).n_rounds == 6
    results.write_bytes(whole)
    assert run_alone(kit).returncode == 0  # nothing is left to do
    assert results.read_bytes() == whole


def test_results_of_other_threads_are_not_mixed(kit):
    done = run_alone(kit, "--threads", "2")
    assert done.returncode == 2
    assert "was measured by another machine, engine or number of threads; move it away first" in done.stderr


def test_a_kit_says_in_three_sentences_what_it_is(kit):
    lines = (kit / "README.txt").read_text().splitlines()
    assert len(lines) == 3
    assert "silicut measure RUN --merge results.jsonl" in lines[2]


def test_wrong_kits_are_refused(tmp_path, models):
    with pytest.raises(OutputExists, match="exists and was not changed; choose a new folder"):
        write_measure_kit(tmp_path, models, "large", engine())
    with pytest.raises(ConfigError, match="engine must be one of onnxruntime, onnxruntime-int8, openvino for a device kit"):
        write_measure_kit(tmp_path / "kit", models, "large", engine("pytorch"))
    with pytest.raises(ConfigError, match=r"^reference must be one of 'large', 'small', not 'dense'$"):
        write_measure_kit(tmp_path / "kit", models, "dense", engine())
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(BadFile):
        write_measure_kit(tmp_path / "kit", {"text": tmp_path / "text.onnx"}, "text", engine())
    assert not (tmp_path / "kit").exists()


def test_wrong_results_are_refused(kit, tmp_path):
    with pytest.raises(BadFile, match=r"none does not exist; give the results\.jsonl of a kit"):
        read_measurement(tmp_path / "none")
    with pytest.raises(BadFile, match=r"kit\.json holds no results of a kit of silicut measure"):
        read_measurement(kit / "kit.json")
    header, first, *_ = (kit / "results.jsonl").read_text().splitlines()
    results = tmp_path / "results.jsonl"
    results.write_text(header + "\n")
    with pytest.raises(BadFile, match="holds no measured rounds yet; run the kit to its end"):
        read_measurement(results)
    session = json.loads(first)
    for seconds in ([], np.zeros((2, 2, 4)).tolist(), np.ones((2, 3, 4)).tolist()):
        results.write_text(f"{header}\n{json.dumps(session | {'seconds': seconds})}\n")
        with pytest.raises(BadFile, match=r"is damaged \(ValueError: a session must hold \(2, 2, 4\) times above 0"):
            read_measurement(results)
    results.write_text(f"{header}\n{json.dumps({'seconds': session['seconds']})}\n")
    with pytest.raises(BadFile, match=r"is damaged \(KeyError: 'elapsed_s'\); take it from the device again"):
        read_measurement(results)


def test_noise_is_refused_when_results_are_read(kit, tmp_path):
    header, *sessions = map(json.loads, (kit / "results.jsonl").read_text().splitlines())
    header["options"]["refuse_frac"] = 0.01
    for i, session in enumerate(sessions):
        session["seconds"] = np.array([[[1.0] * 4, [0.5 + 0.2 * i] * 4]] * 2).tolist()
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in (header, *sessions)))
    with pytest.raises(TooNoisy, match="latency relative to 'large' is known only of 'small' to"):
        read_measurement(results)
