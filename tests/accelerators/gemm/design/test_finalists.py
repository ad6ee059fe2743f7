"""Builds that are compiled and timed: how near predictions are, and which neighbours are tried."""

import dataclasses
import itertools

import numpy as np
import pytest
from small_grids import points, problem, space

from silicut.accelerators.gemm.cost.predicted import predicted
from silicut.accelerators.gemm.cost.split import bound_of_any_split
from silicut.accelerators.gemm.design import GRID
from silicut.accelerators.gemm.design.finalists import Timed, compiled_time, finals
from silicut.compress.quantisation.bits import BitPlan
from silicut.flows.random_weights import float_network, integer_network

N_BUILDS = 12


def test_predictions_rank_builds_as_exact_times_do():
    of = dataclasses.replace(problem("resnet8"), space=GRID)
    network, chance, pairs = integer_network(float_network("resnet8"), BitPlan.uniform(4, 4)), np.random.default_rng(0), []
    while len(pairs) < N_BUILDS:
        point = GRID.random(chance)
        if point["dsp_outputs"] % point["dsp_passes"] or not (outcome := of.evaluate(point)).is_feasible:
            continue
        config = of.config(point)
        found = predicted(of.layers, [config])
        split = dict(zip([layer.name for layer in of.layers], map(int, found.n_lut[0]), strict=True))
        timed = compiled_time(network, config, split)
        assert timed.cycles is not None
        assert timed.cycles >= bound_of_any_split(of.layers, config)
        pairs.append((outcome.cost, timed.cycles))
    of_predicted, exact = np.array(pairs).T
    assert np.median(exact / of_predicted) == pytest.approx(1, abs=0.1)
    assert np.corrcoef(of_predicted.argsort().argsort(), exact.argsort().argsort())[0, 1] > 0.75


def test_the_search_moves_to_neighbours_of_the_best():
    of = problem("lenet5", of=space())
    every = {tuple(point.values()): point for point in points(of.space)}
    start = next(point for point in every.values() if of.evaluate(point).is_feasible)
    tried = []

    def timer(point):
        tried.append(point)
        return Timed(int(2 * of.evaluate(point).cost) - len(tried), {})

    found = finals(of, [start], timer, n_refined=5)
    assert len(found) == len(tried) == 6
    assert tried[0] == start
    assert all(tuple(point.values()) in every and of.evaluate(point).is_feasible for point in tried)
    assert [each.timed.cycles for each in found] == sorted(each.timed.cycles for each in found)
    assert sum(tried[1][name] != start[name] for name in start) == 1


def test_builds_that_refuse_a_layer_come_last():
    of = problem("lenet5", of=space())
    some = list(itertools.islice((point for point in points(of.space) if of.evaluate(point).is_feasible), 2))
    times = iter([Timed(None, {}, "too small"), Timed(7, {})])
    found = finals(of, some, lambda _: next(times))
    assert [each.timed.refusal for each in found] == ["", "too small"]
