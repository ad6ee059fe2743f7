"""Systems simulated as events against a second simulator, and against what sums say."""

from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest
from random_systems import Worker, random_system, reference

from silicut.accelerators.system import Step, Task, bytes_per_image, computed_epoch, simulate, stages
from silicut.records import ConfigError


@pytest.mark.parametrize("seed", range(40))
def test_both_simulators_agree(seed):
    rng = np.random.default_rng(seed)
    workers = random_system(rng)
    pipeline = stages(workers, follows=bool(seed % 2))
    rate = [None, Fraction(5), Fraction(7, 3), Fraction(1, 2)][seed % 4]
    pace = int(rng.integers(0, 3)) * computed_epoch(workers, rate) // 2
    seen = simulate(workers, pipeline, rate, pace, 10)
    assert seen.departures == reference(workers, pipeline, rate, pace, 10)


@pytest.mark.parametrize("seed", range(100, 130))
def test_where_memory_is_no_limit_the_epoch_is_that_of_the_busiest_worker(seed):
    workers = random_system(np.random.default_rng(seed))
    epoch = computed_epoch(workers)
    pipeline = stages(workers, follows=bool(seed % 2))
    for pace in (0, epoch):
        seen = simulate(workers, pipeline, None, pace, 14 + 2 * pipeline.n_stages)
        assert seen.is_steady
        assert seen.epoch_cycles == epoch
    assert seen.latency_cycles <= pipeline.n_stages * epoch
    assert seen.n_bytes == bytes_per_image(workers)


@pytest.mark.parametrize("seed", range(200, 210))
def test_no_memory_is_faster_than_its_bandwidth(seed):
    workers = random_system(np.random.default_rng(seed))
    rate = Fraction(3, 2)
    seen = simulate(workers, stages(workers), rate, 0, 60)
    n_left = len(seen.departures)
    whole = Fraction(seen.departures[-1] - seen.departures[n_left // 3], n_left - 1 - n_left // 3)
    assert whole >= computed_epoch(workers, rate) * Fraction(95, 100)  # images that are on their way count at both ends
    for waits in seen.waits.values():
        assert min(astuple(waits)) >= 0


def test_every_cycle_of_a_worker_is_accounted_for():
    workers = (Worker("a", (Task("x", (), (Step(40, 10, 8),)),)), Worker("b", (Task("y", ("x",), (Step(8, 30, 8),)),)))
    seen = simulate(workers, stages(workers), Fraction(1), 0)
    assert seen.is_steady
    assert seen.epoch_cycles == computed_epoch(workers, Fraction(1)) == 64
    for waits in seen.waits.values():
        assert sum(astuple(waits)) == 64
    assert (seen.waits["a"].computing, seen.waits["b"].computing) == (10, 30)


def test_a_transfer_that_is_not_hidden_is_seen():
    """One worker, one step: loads 20 bytes while it computes 10 cycles; with 1 byte a cycle the epoch is the traffic."""
    worker = (Worker("a", (Task("x", (), (Step(20, 10, 4),)),)),)
    assert simulate(worker, stages(worker), None).epoch_cycles == 10
    assert simulate(worker, stages(worker), Fraction(4)).epoch_cycles == 10
    assert simulate(worker, stages(worker), Fraction(1)).epoch_cycles == 24
    assert simulate(worker, stages(worker), Fraction(1)).waits["a"].loading == 14


def test_a_fast_maker_waits_for_its_readers():
    workers = (Worker("a", (Task("x", (), (Step(0, 10, 4),)),)), Worker("b", (Task("y", ("x",), (Step(4, 30, 1),)),)))
    waits = simulate(workers, stages(workers), Fraction(4), 0).waits
    assert astuple(waits["a"]) == (10, 0, 0, 1, 19)  # its store takes a cycle once there is room
    assert astuple(waits["b"]) == (30, 0, 0, 0, 0)
    assert (waits["a"].moving, waits["a"].own, waits["b"].own) == (1, 11, 30)


def test_a_follower_waits_until_what_it_reads_is_stored():
    """Two tasks in turn on one worker: apart by a round nothing is exposed, in the same round the store and load are."""
    tasks = Task("x", (), (Step(0, 10, 4),)), Task("y", ("x",), (Step(4, 10, 1),))
    worker = (Worker("a", tasks),)
    apart, same = stages(worker), stages(worker, follows=True)
    assert (apart.n_stages, same.n_stages) == (2, 1)
    assert simulate(worker, apart, Fraction(2)).epoch_cycles == 20
    assert simulate(worker, same, Fraction(2)).epoch_cycles == 24
    assert simulate(worker, same, Fraction(2)).waits["a"].inputs == 2


def test_stages_and_copies():
    tasks = {
        n: Task(n, inputs, (Step(1, 1, 1),)) for n, inputs in (("a", ()), ("b", ("a",)), ("c", ("b",)), ("d", ("a", "c")))
    }
    system = Worker("u", (tasks["a"], tasks["c"])), Worker("v", (tasks["b"], tasks["d"]))
    found = stages(system)
    assert found.of == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert found.n_copies == {"a": 4, "b": 2, "c": 2, "d": 1}
    assert found.readers["a"] == ("b", "d")
    alone = (Worker("u", tuple(tasks.values())),)
    assert stages(alone, follows=True).n_stages == 1
    backwards = (Worker("u", tuple(reversed(tasks.values()))),)
    assert stages(backwards, follows=True).of == stages(alone).of  # nothing follows what is made later in the round


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        ([("a", ()), ("a", ())], "tasks must have names of their own: one is given twice"),
        ([("a", ("b",))], "inputs must be tasks of the system, not b"),
        ([("a", ("b",)), ("b", ("a",)), ("c", ())], "tasks must not read each other in a circle, as among a, b"),
    ],
)
def test_wrong_systems_are_refused(tasks, sentence):
    worker = Worker("u", tuple(Task(name, inputs, (Step(1, 1, 1),)) for name, inputs in tasks))
    with pytest.raises(ConfigError) as caught:
        stages([worker])
    assert str(caught.value) == sentence


def test_wrong_tasks_are_refused():
    for steps in ((), (Step(1, 1, 0),), (Step(1, 1, 1), Step(0, 2, 0))):
        with pytest.raises(ConfigError, match="t must have steps of which the last one stores something"):
            Task("t", (), steps)
    with pytest.raises(ConfigError, match="t must have steps without negative numbers"):
        Task("t", (), (Step(-1, 1, 1),))
