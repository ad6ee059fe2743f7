"""Branch and bound: against all points of small grids, its bounds, its counts."""

import dataclasses
import random

import numpy as np
import pytest
from small_grids import points, problem, space

from silicut.accelerators.gemm.cost.resources import AMOUNTS, resources
from silicut.accelerators.gemm.design import GRID, branch_and_bound
from silicut.accelerators.gemm.design.exact import STEPS, _Search
from silicut.accelerators.gemm.design.grid import Grid, amounts
from silicut.records import DoesNotFit, silent

ONE = {name: (value[0],) for name, value in {"lut_rows": (8,), "dsp_inputs": (16,), "dsp_outputs": (8,)}.items()}


def least(of):
    """Return the least cost of all points that fit, by trying all."""
    outcomes = (of.evaluate(point) for point in points(of.space))
    return min(outcome.cost for outcome in outcomes if outcome.is_feasible)


@pytest.mark.parametrize(("network", "luts"), [("lenet5", 0.85), ("lenet5", 0.4), ("resnet8", 0.7)])
def test_the_best_of_a_small_grid_is_found_and_proven(network, luts):
    of = problem(network, luts, space(**ONE))
    found = branch_and_bound(of)
    assert found.best[0].cost == pytest.approx(least(of), rel=1e-12)
    assert found.is_proven
    assert found.bound == found.best[0].cost
    outcome = of.evaluate(found.best[0].point)
    assert outcome.is_feasible
    assert outcome.cost == found.best[0].cost


def test_slices_that_lanes_leave_over_are_used():
    of = problem("resnet8", 0.85, space(**ONE), dsps=0.4)
    found = branch_and_bound(of)
    assert found.best[0].cost == pytest.approx(least(of), rel=1e-12)
    assert found.best[0].point["adds_in_luts"] == 1


def test_several_best_builds_have_different_cores_and_rising_cost():
    found = branch_and_bound(problem("lenet5", 0.85, space()), n_best=4)
    cores = [
        tuple(v for name, v in c.point.items() if name[:3] in ("lut", "dsp") and "depth" not in name) for c in found.best
    ]
    assert len(set(cores)) == len(found.best) == 4
    assert [c.cost for c in found.best] == sorted(c.cost for c in found.best)


def test_no_node_is_bounded_above_what_it_leads_to():
    of = problem("resnet8", 0.85, space())
    search = _Search(of, 1, of.options, silent)
    every = list(points(of.space))
    some = [(of.evaluate(point), point) for point in random.Random(5).sample(every, 100)]
    feasible = [(outcome.cost, point) for outcome, point in some if outcome.is_feasible]
    assert len(feasible) >= 8
    for cost, point in feasible[:12]:
        partial = {}
        for step in search.steps:
            names, levels, _, bounds = step(partial)
            (row,) = np.flatnonzero((levels == [point[name] for name in names]).all(1))
            assert bounds[row] <= cost * (1 + 1e-12), (step.__name__, point)
            partial |= {name: point[name] for name in names}


def test_what_decisions_take_of_a_part_adds_up():
    of = dataclasses.replace(problem(), space=GRID)
    grid, chance = Grid(of), np.random.default_rng(3)
    for _ in range(20):
        point = GRID.random(chance) | {"dsp_outputs": 24}
        groups = {"lut": {}, "dsp": {}, "lanes": {}, "rest": {}}
        for name, level in point.items():
            is_lane = "lanes" in name or name == "adds_in_luts"
            groups[name[:3] if name[:3] in groups else "lanes" if is_lane else "rest"][name] = level
        room = grid.room(*(grid.added(group) for group in groups.values()))
        assert (room == amounts(of.allowed()) - amounts(resources(of.config(point)).total)).all()


def test_every_step_is_counted():
    found = branch_and_bound(problem())
    assert tuple(found.counts) == STEPS
    assert all(count.n_visited > 0 for count in found.counts.values())
    assert min(n for count in found.counts.values() for n in (count.n_pruned, count.n_infeasible)) >= 0
    assert found.n_points == problem().space.size


def test_a_part_that_is_too_small_is_named():
    with pytest.raises(DoesNotFit) as error:
        branch_and_bound(problem(luts=0.05))
    assert str(error.value) == (
        "no build of the grid fits xc7z020 and holds every layer of lenet5; take a larger part or more of it"
    )


def test_points_that_break_limits_say_why():
    of = dataclasses.replace(problem("resnet18"), space=GRID)
    point = {p.name: p.levels[-1] for p in GRID.parameters}
    outcome = of.evaluate(point)
    assert not outcome.is_feasible
    assert [reason.partition(":")[0] for reason in outcome.reasons] == list(AMOUNTS.values())
    small = {p.name: p.levels[0] for p in GRID.parameters}
    assert "a buffer is too small for" in of.evaluate(small).reasons[-1]


def test_the_name_of_a_problem_changes_with_what_it_depends_on():
    one = problem()
    assert one.name == problem().name
    assert one.name != dataclasses.replace(one, clock_hz=2e8).name != problem(luts=0.5).name
