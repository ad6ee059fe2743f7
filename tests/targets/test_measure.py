"""The measuring protocol, on engines whose times are known and on a real one."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from silicut.records import BadFile, ConfigError, TooNoisy
from silicut.targets import EngineSettings, Measurement, MeasureOptions, measure
from silicut.targets.device.rounds import interval

QUICK = MeasureOptions(n_rounds=20, max_rounds=40, n_resamples=400)


class FakeSession:
    """Takes the milliseconds written in its model, times what the engine's weather says."""

    def __init__(self, engine, model):
        self.engine, self.base_s = engine, float(model) / 1e3
        engine.n_open += 1

    def time_once(self):
        self.engine.calls.append(self)
        return self.base_s * self.engine.weather(self)

    def close(self):
        self.engine.n_open -= 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class FakeEngine:
    """An engine of simulated times."""

    name, version = "fake", "0"
    settings = EngineSettings(engine="fake")

    def __init__(self, weather: Callable[[FakeSession], float] = lambda _session: 1.0):
        self.weather, self.calls, self.n_open = weather, [], 0

    def fingerprint(self):
        return {"engine": "fake"}

    def load(self, model):
        return FakeSession(self, model)


MODELS = {"dense": b"10", "half": b"5"}


def test_latency_is_reference_p10_times_median_ratio():
    rng = np.random.default_rng(1)
    found = measure(FakeEngine(lambda _: rng.uniform(1, 1.02)), MODELS, "dense", QUICK)
    half, dense = found.timings["half"], found.timings["dense"]
    assert half.latency_ms == dense.p10_ms * np.median(half.ratios)
    assert half.latency_low_ms == dense.p10_ms * half.ratio_low
    assert half.ratio == pytest.approx(0.5, rel=0.01)
    assert (dense.ratio, dense.latency_ms) == (1, dense.p10_ms)
    assert half.n == 4 * len(half.ratios) == 4 * found.n_rounds
    assert half.min_ms <= half.p10_ms <= half.median_ms
    assert found.warnings == ()


def test_swings_of_the_whole_machine_cancel():
    rng = np.random.default_rng(2)
    engine = FakeEngine(lambda _: (1 + (len(engine.calls) // 97) % 2) * rng.uniform(1, 1.02))
    half = measure(engine, MODELS, "dense", QUICK).timings["half"]
    assert half.ratio == pytest.approx(0.5, rel=0.02)
    assert half.ratio_low <= 0.5 * 1.005
    assert half.ratio_high >= 0.5 * 0.995


def test_the_first_run_after_a_switch_does_not_count():
    def weather(session):
        return 1.0 if engine.calls[-2:-1] == [session] else 7.0

    engine = FakeEngine(weather)
    found = measure(engine, MODELS, "dense", QUICK)
    assert (found.timings["dense"].median_ms, found.timings["dense"].cv_frac) == (10, 0)


def test_rounds_hold_all_candidates_in_orders_that_follow_the_seed():
    def orders(seed):
        engine = FakeEngine()
        options = replace(QUICK, seed=seed, runs_per_round=1, n_warmup=0)
        measure(engine, {name: b"%d" % size for size, name in enumerate("abcd", 1)}, "a", options)
        return [[1e3 * call.base_s for call in engine.calls[i : i + 8 : 2]] for i in range(0, len(engine.calls), 8)]

    rounds = orders(0)
    assert all(sorted(order) == [1, 2, 3, 4] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 5
    assert rounds == orders(0) != orders(1)


def test_sessions_are_loaded_anew_and_all_closed():
    engine = FakeEngine()
    found = measure(engine, MODELS, "dense", QUICK)
    assert found.n_rounds == 20
    assert len({id(session) for session in engine.calls}) == 2 * 20 / QUICK.rounds_per_session
    assert engine.n_open == 0


def test_measuring_goes_on_until_the_interval_is_narrow():
    rng = np.random.default_rng(0)
    engine = FakeEngine(lambda s: rng.uniform(0.95, 1.05) if s.base_s < 0.01 else 1.0)
    found = measure(engine, MODELS, "dense", replace(QUICK, runs_per_round=1, max_rounds=400))
    assert 20 < found.n_rounds < 400
    assert found.timings["half"].half_width_frac <= 0.01


def test_an_interval_that_stays_wide_is_a_warning_then_an_error():
    rng = np.random.default_rng(0)
    engine = FakeEngine(lambda s: rng.uniform(0.7, 1.3) if s.base_s < 0.01 else 1.0)
    options = replace(QUICK, runs_per_round=1, refuse_frac=0.9, refuse_bias_frac=0.9)
    found = measure(engine, MODELS, "dense", options)
    assert found.n_rounds == 40
    assert found.warnings[0].startswith("the ratio of 'half' to 'dense' is known only to +-")
    with pytest.raises(TooNoisy, match=r"latency relative to 'dense' is known only of 'half' to .* stop other work"):
        measure(engine, MODELS, "dense", replace(options, refuse_frac=0.02))
    assert engine.n_open == 0
    with pytest.raises(TooNoisy, match=r"\(allowed are 3\.0 %\)"):
        measure(engine, MODELS, "dense", options.refusing(3.0))


def test_load_that_hits_only_long_networks_is_refused():
    rng = np.random.default_rng(0)
    engine = FakeEngine(lambda s: 2.0 if s.base_s >= 0.01 and rng.random() < 0.95 else 1.0)
    with pytest.raises(TooNoisy, match=r"median and fastest runs disagree on 'half' by 50\.0 %"):
        measure(engine, MODELS, "dense", QUICK)


def test_load_that_hits_long_networks_a_little_more_is_told():
    rng = np.random.default_rng(0)
    engine = FakeEngine(lambda s: 1.1 if s.base_s >= 0.01 and rng.random() < 0.95 else 1.0)
    found = measure(engine, MODELS, "dense", QUICK)
    assert found.warnings[0].startswith("median and fastest runs disagree on the ratio of 'half' to 'dense' by 9.1 %")


def test_a_slow_machine_is_told():
    engine = FakeEngine(lambda _: 1.0 if len(engine.calls) % 100 < 30 else 1.5)
    found = measure(engine, MODELS, "dense", QUICK)
    assert any("the machine was busy" in warning for warning in found.warnings)


def test_time_runs_out_between_sessions():
    found = measure(FakeEngine(), MODELS, "dense", replace(QUICK, max_s=1e-9))
    assert found.n_rounds == 5
    assert found.warnings == ("only 5 of 20 rounds fitted into 1e-09 s: raise max_s",)


def test_progress_counts_rounds():
    events = []
    measure(FakeEngine(), MODELS, "dense", QUICK, events.append)
    assert (events[-1].stage, events[-1].n_done, events[-1].n_total) == ("measure", 20, 40)
    assert events[-1].note == "+-0.0 %"


def test_interval_equals_a_bootstrap_written_as_loops():
    rng = np.random.default_rng(3)
    ratios = 0.7 + 0.01 * rng.standard_normal((4, 1)) + 0.02 * rng.standard_normal((4, 5))
    medians = []
    for _ in range(4000):
        drawn = [ratios[rng.integers(4)] for _ in range(4)]
        medians.append(np.median([session[rng.integers(5)] for session in drawn for _ in range(5)]))
    expected = np.quantile(medians, [0.025, 0.975])
    assert interval(ratios, MeasureOptions(n_resamples=4000)) == pytest.approx(tuple(expected), abs=0.002)


def test_records_survive_the_disk(tmp_path):
    found = measure(FakeEngine(), MODELS, "dense", QUICK)
    assert Measurement.load(found.save(tmp_path / "measurement.json")) == found
    assert json.loads((tmp_path / "measurement.json").read_text())["schema"] == "measurement/1"


def test_wrong_requests_are_named(tmp_path):
    with pytest.raises(ConfigError, match="reference must be one of 'dense', 'half', not 'Dense'"):
        measure(FakeEngine(), MODELS, "Dense")
    with pytest.raises(BadFile, match=r"none\.onnx cannot be read \(No such file"):
        measure(FakeEngine(), {"a": tmp_path / "none.onnx"}, "a")
    with pytest.raises(ConfigError) as error:
        MeasureOptions(n_rounds=30, max_rounds=20, max_s=float("nan"))
    assert error.value.problems == ("max_rounds must be >= 30, not 20", "max_s must be > 0, not nan")


@pytest.mark.needs_ort
def test_a_real_engine_sees_a_copy_as_equal_and_more_work_as_more(tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from silicut.targets import OnnxRuntime

    def chain(n_convs):
        weight = onnx.numpy_helper.from_array(np.full((32, 32, 3, 3), 1e-3, np.float32), "w")
        nodes = [
            onnx.helper.make_node("Conv", [f"x{i}", "w"], [f"x{i + 1}"], name=f"conv{i}", pads=[1] * 4)
            for i in range(n_convs)
        ]
        ends = [onnx.helper.make_tensor_value_info(f"x{i}", onnx.TensorProto.FLOAT, [1, 32, 28, 28]) for i in (0, n_convs)]
        graph = onnx.helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weight])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
        return model.SerializeToString()

    copy = tmp_path / "copy.onnx"
    copy.write_bytes(chain(4))
    start = time.monotonic()
    options = MeasureOptions(max_s=4.0, refuse_frac=0.5)
    found = measure(OnnxRuntime(), {"dense": chain(4), "copy": copy, "double": chain(8)}, "dense", options)
    assert found.elapsed_s <= time.monotonic() - start
    assert found.timings["copy"].model_hash == found.timings["dense"].model_hash
    assert found.timings["copy"].ratio == pytest.approx(1, rel=0.05)
    assert found.timings["double"].ratio == pytest.approx(2, rel=0.15)
