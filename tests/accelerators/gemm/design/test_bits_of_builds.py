"""Bits by tables: against all plans of small networks; losses; builds and bits together."""

import dataclasses
import itertools

import pytest
from small_grids import points, problem, space

from silicut.accelerators.gemm.cost.predicted import predicted, predicted_with
from silicut.accelerators.gemm.design.bits import CYCLES, LOSS, BitSpace, proxy_losses
from silicut.accelerators.gemm.design.joint import Goal, search_jointly
from silicut.compress.quantisation.bits import LayerBits
from silicut.records import ConfigError, DoesNotFit
from silicut.zoo.layer_table import known_layers

LENET = known_layers("lenet5")
FIXED = {"fc": LayerBits(8, 8)}


def lenet(weights=(2, 4), activations=(2, 4), fixed=None):
    names = [shape.name for shape in LENET if shape.kind in ("conv2d", "linear")]
    given = dict.fromkeys((names[0], names[-1], *(fixed or ())), LayerBits(8, 8))
    return BitSpace(shapes=LENET, weight_bits=weights, activation_bits=activations, fixed=given)


def plans(of):
    """Yield every choice of widths."""
    names = list(of.levels)
    for levels in itertools.product(*(of.levels[name] for name in names)):
        yield dict(zip(names, levels, strict=True))


def cycles(of, levels, config):
    return float(predicted(of.work(levels).layers, [config]).network[0])


@pytest.fixture(scope="module")
def build():
    of = problem()
    return of.config(next(p for p in points(of.space) if of.evaluate(p).is_feasible))


def test_widths_are_the_best_of_all_plans(build):
    of = lenet()
    every = [(cycles(of, levels, build), of.loss(levels)) for levels in plans(of)]
    budget = sorted(loss for _, loss in every)[len(every) // 2]
    best = of.solved(build, {LOSS: budget})
    assert -best.value == pytest.approx(min(time for time, loss in every if loss <= budget * (1 + 1e-9)))
    assert best.is_proven
    assert cycles(of, best.levels, build) == pytest.approx(-best.value)
    limit = -best.value
    other = of.solved(build, {CYCLES: limit})
    assert -other.value == pytest.approx(min(loss for time, loss in every if time <= limit * (1 + 1e-9)))


def test_free_slots_are_never_slower_than_plans(build):
    of = lenet()
    for price in (0.0, 1e4, 1e6):
        relaxed = float(predicted_with(of.options(price), [build]).network[0])
        least = min(cycles(of, levels, build) + price * of.loss(levels) for levels in plans(of))
        assert relaxed <= least * (1 + 1e-12)


def test_the_proxy_is_the_noise_of_rounding_by_share():
    of = lenet()
    losses = proxy_losses(of)
    assert losses.kind == "proxy"
    for name, share in of.shares.items():
        assert losses.weights[name][3] == pytest.approx(share / 64)
    assert sum(of.shares.values()) == pytest.approx(1)
    assert of.loss_like(3) > of.loss_like(3.5) > of.loss_like(4)


def test_wrong_spaces_are_refused(build):
    with pytest.raises(ConfigError) as error:
        BitSpace(shapes=LENET, weight_bits=(4, 2), activation_bits=(), fixed={"x": LayerBits(8, 8)})
    assert list(error.value.problems) == [
        "fixed must name layers of the network, not x",
        "weight_bits must be increasing widths, not (4, 2)",
        "activation_bits must be increasing widths, not ()",
    ]
    with pytest.raises(ConfigError, match=r"budgets must be of cycles or of loss, not \[\]"):
        lenet().problem(build, {})
    with pytest.raises(ConfigError, match=r"max-loss of 7 bits must be within the widths of weights, \(2, 4\)"):
        lenet().loss_like(7)


@pytest.mark.parametrize("minimised", [CYCLES, LOSS])
def test_builds_and_bits_together_are_bounded_by_all_of_both(minimised):
    few = space(
        lut_rows=(8,), lut_lhs_depth=(512,), dsp_rhs_depth=(512,), dsp_inputs=(4,), dsp_outputs=(8,), dsp_passes=(2,),
        fill_bits=(64,), feature_words=(2048,), adds_in_luts=(0,),
    )  # fmt: skip
    bits = lenet(weights=(2, 4), activations=(4,))
    of = dataclasses.replace(problem("lenet5", 0.6, few), layers=bits.work(bits.widest).layers)
    feasible = [p for p in points(few) if of.evaluate(p).is_feasible]
    every = [(cycles(bits, levels, of.config(p)), bits.loss(levels)) for p in feasible for levels in plans(bits)]
    axis = 0 if minimised == CYCLES else 1
    budget = sorted(pair[1 - axis] for pair in every)[len(every) // 3]
    least = min(pair[axis] for pair in every if pair[1 - axis] <= budget * (1 + 1e-9))
    goal = Goal(minimised=minimised, budget=budget)
    found = search_jointly(of, bits, goal)
    assert found.bound <= least * (1 + 1e-9)
    assert goal.of(found.designs[0]) >= least * (1 - 1e-9)
    assert goal.of(found.designs[0]) <= 1.02 * least


def test_a_budget_that_nothing_keeps_is_said():
    bits = lenet()
    of = dataclasses.replace(problem(), layers=bits.work(bits.widest).layers)
    with pytest.raises(DoesNotFit) as error:
        search_jointly(of, bits, Goal(minimised=LOSS, budget=10.0))
    assert str(error.value) == "no build of the grid keeps cycles within 10 with any bits; raise the budget"
