"""OpenVINO's counters, clock, and silence."""

import socket
import time

import numpy as np
import pytest

pytest.importorskip("openvino")

from onnx_graphs import mixed, residual

from silicut.targets import OpenVino, inference_clock
from silicut.targets.device.openvino import call_us, node_times_us, usual_us


def counter(durations_us):
    """Return what the runtime's counter shows after each run: the mean of cut microseconds, cut."""
    sums = np.cumsum(np.floor(durations_us))
    return np.floor(sums / np.arange(1, len(durations_us) + 1))


@pytest.mark.parametrize("usual", [1.7, 8.0, 23.4, 480.0])
def test_usual_times_are_read_off_cut_running_means(usual):
    """A slow first run, noise of 3 %: biased by less than what was cut, and a spread below one microsecond."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        runs = usual * (1 + 0.03 * np.abs(rng.standard_normal(25)))
        runs[0] = rng.uniform(1, 10) * usual
        found.append(usual_us(counter(runs)) - runs[1:].mean())
    assert abs(np.mean(found)) < 0.5
    assert np.std(found) < 0.6


def test_interrupted_runs_are_left_out():
    rng = np.random.default_rng(1)
    runs = 20 + rng.random(25)
    runs[[3, 4, 17]] += [4000, 900, 3000]
    assert usual_us(counter(runs)) == pytest.approx(20.5, abs=1.5)


def test_a_node_that_takes_no_time_takes_no_time():
    assert usual_us(np.array([1.0, 0, 0, 0, 0])) < 1


def test_a_node_interrupted_in_most_runs_is_still_seen():
    """Other programs' turns in 5 of 8 runs of a long kernel."""
    rng = np.random.default_rng(2)
    runs = 500 + 10 * rng.random(9)
    runs[[1, 2, 4, 6, 7]] += [4000, 800, 3000, 2500, 4000]
    assert usual_us(counter(runs)) == pytest.approx(505, rel=0.02)


def test_nodes_share_what_a_quiet_run_takes():
    """Kernels of 20, 30 and 400 microseconds, each 5 % slower while profiled, two of the runs interrupted."""
    rng = np.random.default_rng(3)
    quiet = {"a": 20.0, "b": 30.0, "c": 400.0}
    runs = {name: 1.05 * us * (1 + 0.01 * rng.random(25)) for name, us in quiet.items()}
    runs["b"][[3, 9]] += 4000
    found = node_times_us({name: counter(r) for name, r in runs.items()}, sum(quiet.values()))
    assert sum(found.values()) == pytest.approx(sum(quiet.values()))
    assert found == pytest.approx(quiet, abs=1.5)


def test_a_call_costs_microseconds():
    assert 0 < call_us(1) < 1000


def test_the_calling_thread_computes():
    """Its clock must see the work: that of two of its runs is compared with the whole process's."""
    if inference_clock(1)[0] != "processor":
        pytest.skip("this system has no fine clock per thread")
    with OpenVino().load(residual(256, 256).SerializeToString()) as session:
        start = time.process_time()
        seen = sum(session.time_once() for _ in range(20))
        assert seen > 0.8 * (time.process_time() - start)


def test_nothing_is_sent_anywhere(monkeypatch):
    def connected(*arguments):
        raise AssertionError(f"a connection was opened: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", connected)
    telemetry = pytest.importorskip("openvino_telemetry")
    monkeypatch.setattr(telemetry.Telemetry, "__new__", connected)
    assert OpenVino().node_times(mixed(16).SerializeToString(), 1).unmatched == ()


def test_its_precision_is_part_of_the_fingerprint():
    assert OpenVino().fingerprint()["precision"] == "f32"
