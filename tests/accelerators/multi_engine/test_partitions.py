"""Partitions by dynamic programme and by walks, against searches that try everything."""

import itertools
import math

import numpy as np
import pytest
from small_problems import cycles, engine_blocks, fewest_words, least_epoch, random_problem, runs, shapes

from silicut.accelerators.multi_engine.config import PRECISIONS
from silicut.accelerators.multi_engine.cost.buffers import n_bram18
from silicut.accelerators.multi_engine.cost.traffic import bytes_per_image
from silicut.accelerators.multi_engine.partition import Engine, Limits, PartitionProblem
from silicut.accelerators.multi_engine.partition.contiguous import cheapest_cut, exact_partition
from silicut.accelerators.multi_engine.partition.limited import keeps_memory, limited_partition
from silicut.accelerators.multi_engine.partition.memory import configured, least_traffic
from silicut.accelerators.multi_engine.partition.orders import layer_orders
from silicut.accelerators.multi_engine.partition.shapes import Shapes, least_that
from silicut.accelerators.multi_engine.partition.walks import WALKS, PartitionMoves, outcome_of, walk
from silicut.accelerators.multi_engine.published_layers import published_layers
from silicut.records import ConfigError
from silicut.targets.parts import device_table


@pytest.mark.parametrize("seed", range(12))
def test_the_dynamic_programme_is_the_best_of_all_runs(seed):
    problem = random_problem(np.random.default_rng(seed), 4)
    found = exact_partition(problem)
    orders = dict(layer_orders(problem.layers))
    best = min(least_epoch(problem, groups) for order in orders.values() for groups in runs(order, problem.max_engines))
    assert found.epoch_cycles == best
    groups = [engine.layers for engine in found.partition]
    assert sorted(itertools.chain(*groups)) == [0, 1, 2, 3]
    assert best == max(
        sum(cycles(problem.layers[i], engine.n_inputs, engine.n_outputs) for i in engine.layers)
        for engine in found.partition
    )


@pytest.mark.parametrize("seed", range(8))
def test_the_best_engines_for_given_groups(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 4)
    owners = rng.integers(0, 3, 4)
    groups = [group for each in range(3) if (group := tuple(np.flatnonzero(owners == each).tolist()))]
    found = Shapes(problem).best_of_groups(groups)
    best = least_epoch(problem, groups)
    assert found is not None
    assert problem.epoch_cycles(found) == best
    assert problem.n_macs_per_cycle(found) <= problem.max_macs


def engine_choices(problem, group):
    """Yield (slices, cycles, blocks, bytes) of every engine for a group with banks of every depth."""
    layers = [problem.layers[i] for i in group]
    for a, b in shapes(problem):
        spent = sum(cycles(layer, a, b) for layer in layers)
        for deep, sums in itertools.product(problem.tables.depths.tolist(), repeat=2):
            moved = sum(fewest_words(layer, b, deep, sums) for layer in layers) * problem.precision.n_bytes
            if moved < math.inf:
                yield a * b, spent, engine_blocks(a, b, layers, deep, sums, problem.precision), moved


def least_limited_epoch(problem, groups):
    """Return the least epoch of any engines with any depths for some groups, all limits kept."""
    best = math.inf
    for chosen in itertools.product(*(undominated(engine_choices(problem, group)) for group in groups)):
        units, spent, blocks, moved = zip(*chosen, strict=True)
        if sum(units) <= problem.max_macs and sum(blocks) <= problem.limits.n_bram18:
            best = min(best, max(*spent, math.ceil(sum(moved) / problem.limits.bytes_per_cycle)))
    return best


def undominated(choices):
    """Return the choices that no other one beats in something and equals in the rest."""
    kept = []
    for choice in sorted(set(choices)):
        if not any(all(a <= b for a, b in zip(other, choice, strict=True)) for other in kept):
            kept.append(choice)
    return kept


@pytest.mark.parametrize("seed", range(6))
def test_limits_of_memory(seed):
    rng = np.random.default_rng(100 + seed)
    per_cycle = float(rng.integers(1, 12)) if seed else 0.01
    problem = random_problem(rng, 3, 2, n_bram18=int(rng.integers(3, 25)), bytes_per_cycle=per_cycle)
    orders = dict(layer_orders(problem.layers))
    best = min(
        least_limited_epoch(problem, groups) for order in orders.values() for groups in runs(order, problem.max_engines)
    )
    found = limited_partition(problem)
    assert found.bound_cycles <= best
    if best == math.inf:
        assert found.partition is None
        return
    assert found.partition is not None  # whatever the prices leave open, small problems are filled
    assert found.epoch_cycles >= best
    assert found.epoch_cycles <= best * 1.1
    assert keeps_memory(problem, found.partition, found.epoch_cycles)
    assert problem.n_macs_per_cycle(found.partition) <= problem.max_macs


@pytest.mark.parametrize("seed", range(8))
def test_the_least_traffic_is_that_of_the_best_depths(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 3)
    partition = (Engine(2, 1, (0, 2)), Engine(1, 3, (1,)))
    allowed = int(rng.integers(0, 20))
    sums = []
    for pair in itertools.product(itertools.product(problem.tables.depths.tolist(), repeat=2), repeat=2):
        uses = [
            (
                engine_blocks(e.n_inputs, e.n_outputs, [problem.layers[i] for i in e.layers], *depths, problem.precision),
                sum(fewest_words(problem.layers[i], e.n_outputs, *depths) for i in e.layers) * problem.precision.n_bytes,
            )
            for e, depths in zip(partition, pair, strict=True)
        ]
        sums.append((sum(blocks for blocks, _ in uses), sum(moved for _, moved in uses)))
    possible = [each for each in sums if each[1] < math.inf]
    fitting = [moved for blocks, moved in possible if blocks <= allowed]
    use = least_traffic(problem, partition, allowed)
    if fitting:
        assert use.n_bytes == min(fitting)
        assert use.n_bram18 <= allowed
    else:
        assert use.n_bram18 == min(blocks for blocks, _ in possible)
    name = next(name for name, precision in PRECISIONS.items() if precision is problem.precision)
    config = configured(problem, partition, use, network="n", precision=name, clock_hz=1e8)
    assert bytes_per_image(config, problem.layers, problem.precision) == use.n_bytes
    assert n_bram18(config, problem.layers, problem.precision) <= use.n_bram18  # tiles may not fill their banks


def alexnet(precision="fp32", **limits):
    """Return the published problem on an xc7vx690t."""
    return PartitionProblem(published_layers("alexnet-2012"), PRECISIONS[precision], Limits(n_dsps=2880, **limits))


@pytest.mark.parametrize("solver", WALKS)
def test_walks_come_near_the_dynamic_programme_and_repeat_themselves(solver):
    problem = alexnet()
    first, again = (walk(problem, solver, 200, seed=1) for _ in range(2))
    assert first == again
    assert first.n_evaluations == 200
    assert first.outcome.is_feasible
    assert first.outcome.cost <= 1.03 * exact_partition(problem).epoch_cycles
    assert problem.epoch_cycles(first.partition) == first.outcome.cost
    assert [cost for _, cost in first.curve] == sorted({cost for _, cost in first.curve}, reverse=True)
    assert problem.n_macs_per_cycle(first.partition) <= problem.max_macs


@pytest.mark.parametrize("seed", range(3))
def test_moves_keep_every_layer_on_one_engine(seed):
    problem, rng = alexnet("fixed16"), np.random.default_rng(seed)
    moves = PartitionMoves(problem)
    state = moves.start(rng)
    seen = set()
    for _ in range(30):
        near = moves.neighbours(state, rng, 5)
        assert len({moves.key(each) for _, each in near}) == len(near) == 5
        for attribute, each in near:
            assert each != state
            assert sorted(itertools.chain(*(engine.layers for engine in each))) == list(range(10))
            assert 1 <= len(each) <= 6
            assert min(min(engine.n_inputs, engine.n_outputs) for engine in each) >= 1
            seen.add(attribute[0] if isinstance(attribute, tuple) else attribute)
        state = near[0][1]
    assert seen == {"layer", "layers", "number of engines", "size"}


def test_outcomes_name_every_broken_limit():
    problem = alexnet("fixed16", n_bram18=10, bytes_per_cycle=1.0)
    outcome = outcome_of(problem, (Engine(64, 64, tuple(range(10))),))
    assert not outcome.is_feasible
    assert outcome.reasons[0] == "DSP slices: 4,096 needed, 2,880 allowed"
    assert outcome.reasons[1].startswith("BRAM18: ")
    assert len(outcome.reasons) == 2
    assert outcome.violation > 0.4
    use = least_traffic(problem, (Engine(64, 64, tuple(range(10))),), 10)
    assert outcome.cost == use.n_bytes > problem.epoch_cycles((Engine(64, 64, tuple(range(10))),))  # a byte a cycle


def test_what_fits_in_no_way_is_said():
    found = limited_partition(alexnet(n_bram18=1))
    assert found.partition is None
    assert found.gap_frac is None


def test_limits_and_problems_are_checked_at_once():
    with pytest.raises(ConfigError) as caught:
        Limits(n_dsps=0, n_bram18=0, bytes_per_cycle=0.0)
    assert caught.value.problems == (
        "n_dsps must be positive, not 0",
        "n_bram18 must be positive, not 0",
        "bytes_per_cycle must be positive, not 0.0",
    )
    part = device_table().part("xc7vx485t")
    assert Limits.of_part(part) == Limits(n_dsps=2240, n_bram18=1648)
    with pytest.raises(ConfigError, match=r"budget must be above 0 and at most 1, not 1\.2"):
        Limits.of_part(part, 1.2)
    with pytest.raises(ConfigError) as caught:
        PartitionProblem((), PRECISIONS["fp32"], Limits(n_dsps=4), 0)
    assert caught.value.problems == (
        "layers must be one or more, not none",
        "engines must be at least 1, not 0",
        "n_dsps must be at least 5, what one multiply-accumulate takes, not 4",
    )


def test_bisection_and_cuts():
    assert least_that(lambda n: n >= 37, 0, 100) == (37, pytest.approx(8, abs=1))
    assert least_that(lambda n: n >= 37, 0, 30)[0] is None
    assert least_that(lambda n: True, 5, 4) == (None, 0)
    costs = np.array([[9, 1, 5, 9], [9, 9, 1, 4], [9, 9, 9, 1]])
    assert cheapest_cut(costs, 1) == (9, (3,))
    assert cheapest_cut(costs, 2) == (5, (1, 3))
    assert cheapest_cut(costs, 5) == (3, (1, 2, 3))
