"""Settings, fingerprints, clocks and the table of engines."""

import json
import sys
import time

import pytest

from silicut.records import ConfigError, ToolMissing
from silicut.targets import ENGINES, EngineSettings, NodeTimes, engine, inference_clock, machine_fingerprint


def test_settings_list_every_wrong_field():
    with pytest.raises(ConfigError) as error:
        EngineSettings(engine="onnxruntime", n_threads=0, batch=1.5)  # type: ignore[arg-type]
    assert error.value.problems == (
        "n_threads must be an integer >= 1, not 0",
        "batch must be an integer >= 1, not 1.5",
    )


def test_settings_survive_json():
    settings = EngineSettings(engine="onnxruntime", n_threads=2, batch=8)
    assert EngineSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_machine_fingerprint_is_plain_json_and_stable():
    found = machine_fingerprint()
    assert json.loads(json.dumps(found)) == found == machine_fingerprint()
    assert found["n_cores"] >= 1
    assert found["cpu"]


def test_unknown_engine_is_told_the_nearest_name():
    with pytest.raises(ConfigError, match="engine must be 'onnxruntime' or 'onnxruntime-int8', not 'onnxruntme'"):
        engine("onnxruntme")
    with pytest.raises(ConfigError, match=f"engine must be {' or '.join(map(repr, sorted(ENGINES)))}, not 'zzz'"):
        engine("zzz")


def test_missing_runtime_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ToolMissing, match=r"pip install 'silicut\[onnxruntime\]'"):
        ENGINES["onnxruntime"](1, 1)


def test_processor_clock_leaves_out_waiting():
    name, clock = inference_clock(1)
    if name != "processor":
        pytest.skip("this system has no fine clock per thread")
    start = clock()
    time.sleep(0.05)
    assert clock() - start < 0.02


def test_several_threads_are_timed_by_the_wall_clock():
    assert inference_clock(2) == ("wall", time.perf_counter)


def node_times(conv_us, run_us):
    return NodeTimes(
        times_us={"conv": conv_us, "relu": 2.0},
        overhead_us={"conv": 3.0},
        n_executed={"conv": 2.0, "relu": 1.0},
        fused_into={},
        unmatched=(),
        run_us=run_us,
    )


def test_net_times_share_the_cost_of_logging_by_executed_node():
    times = node_times(10.0, run_us=9.0)
    assert (times.total_us, times.logging_us, times.interrupted_frac) == (12.0, 1.0, 0.0)
    assert times.net_us == {"conv": 8.0, "relu": 1.0}


def test_net_times_are_no_more_than_the_sum():
    times = node_times(10.0, run_us=13.0)
    assert times.net_us == times.times_us


def test_kernels_with_the_turns_of_others_are_scaled_to_the_run():
    times = node_times(1028.0, run_us=100.0)
    assert times.logging_us == 10
    assert times.interrupted_frac == pytest.approx(0.9)
    assert times.net_us == pytest.approx({"conv": 100.8, "relu": 0})
