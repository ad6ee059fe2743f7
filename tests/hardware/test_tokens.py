"""Token programs: stops are found, and the order in which counters are run does not matter."""

import numpy as np

from silicut.hardware import Step, starved


def test_a_circle_of_waits_is_a_stop():
    a = [Step(takes={"y": 1}, gives={"x": 1}, label=0)]
    b = [Step(takes={"x": 1}, gives={"y": 1}, label=0)]
    stops = starved({"a": a, "b": b})
    assert [(stop.process, dict(stop.missing)) for stop in stops] == [("a", {"y": 1}), ("b", {"x": 1})]
    assert starved({"a": a, "b": b}, tokens={"y": 1}) == []


def test_tokens_that_are_left_over_are_no_stop():
    assert starved({"a": [Step(gives={"x": 3})]}) == []


def test_the_report_names_the_step():
    stops = starved({"a": [Step(label=0), Step(takes={"x": 2}, label=1)], "b": [Step(gives={"x": 1})]})
    assert [(stop.step.label, dict(stop.missing)) for stop in stops] == [(1, {"x": 1})]


def test_the_order_of_processes_does_not_matter():
    rng = np.random.default_rng(5)
    n_stops = 0
    for _ in range(300):
        names = ["a", "b", "c", "d"]
        processes = {
            name: [
                Step(
                    {f"{other}{name}": int(rng.integers(1, 3)) for other in names if rng.random() < 0.06},
                    {f"{name}{other}": int(rng.integers(1, 3)) for other in names if rng.random() < 0.4},
                    i,
                )
                for i in range(4)
            ]
            for name in names
        }
        stops = {(stop.process, stop.step.label) for stop in starved(processes)}
        backwards = dict(reversed(processes.items()))
        assert {(stop.process, stop.step.label) for stop in starved(backwards)} == stops
        n_stops += bool(stops)
    assert 20 < n_stops < 280
