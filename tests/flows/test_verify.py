"""Solve and verify: plans that measure within their budget on an engine whose times are known."""

import itertools
import re
from dataclasses import replace
from functools import cache

import pytest
import small_networks as nets
from synthetic_engine import Formula, SyntheticEngine

from silicut.compress import Restrictions, sp_lamp
from silicut.flows.budget import Budget
from silicut.flows.latency import Target
from silicut.flows.planning import Planner
from silicut.flows.platform import OnEngine
from silicut.flows.pruning_problem import LATENCY, Subject
from silicut.flows.stages import PRUNED
from silicut.flows.verify import LEAST_FRAC, MAX_ROUNDS, Outcome, SolveOptions, Verifier
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache, DoesNotFit, NotFaster
from silicut.search import evaluate
from silicut.targets import MeasureOptions
from silicut.targets.profile import ProfileOptions, profile_network

FORMULA = Formula(call_us=1.0)
OPTIONS = ProfileOptions(n_samples=8, n_samples_max=16, n_validation=2)
SOLVING = SolveOptions(solver="coupled", measuring=MeasureOptions(n_rounds=5, max_rounds=5, n_resamples=100))


@pytest.fixture(scope="module")
def verifier(tmp_path_factory):
    """Return a function that gives a verifier of a network; networks take `real_us` of what was profiled."""
    folder = tmp_path_factory.mktemp("profiles")

    @cache
    def made(build, formula):
        subject = Subject.of(nets.network(build))
        engine = SyntheticEngine(formula, version=repr(formula))
        return subject, profile_network(subject.network, engine, cache=Cache(folder), options=OPTIONS)

    def verify(build=nets.projected, formula=FORMULA, real_us=float, restrictions=None):
        subject, profile = made(build, formula)
        engine = SyntheticEngine(formula, real_us=real_us)
        scores = sp_lamp(subject.folded, subject.channels, subject.blocks)
        planner = Planner(subject, restrictions or Restrictions())
        return Verifier(planner, (Target(OnEngine(engine), profile),), scores, SOLVING)

    return verify


def dense_us(build=nets.projected, formula=FORMULA):
    return formula.network_us(to_onnx(Subject.of(nets.network(build)).folded, batch=1))


def slower(factor, build=nets.projected):
    """Return the real time of a machine on which pruned networks take longer than profiled by a factor."""
    dense = dense_us(build)
    return lambda us: us if us >= 0.999 * dense else factor * us


def is_met_as_defined(outcome, limit):
    ratio, following = outcome.measurement.timings[PRUNED].ratio, outcome.next_better_frac
    return ratio <= limit and (ratio >= LEAST_FRAC * limit or following is None or following > limit)


# Budgets met


@pytest.mark.parametrize("percent", [35, 50, 70])
def test_budget_is_met(percent, verifier):
    outcome = verifier().run(Budget.parse(f"{percent}%"))
    assert outcome.is_met
    assert is_met_as_defined(outcome, percent / 100)
    assert outcome.limit_frac == percent / 100
    measured = 100 * outcome.measurement.timings[PRUNED].ratio
    assert outcome.sentence.startswith(
        f"Budget met: measured {measured:.1f} % of the dense latency with {percent}.0 % allowed"
    )
    truth = FORMULA.network_us(to_onnx(verifier().model(outcome.levels), batch=1)) / dense_us()
    assert outcome.measurement.timings[PRUNED].ratio == pytest.approx(truth)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_budget_is_corrected_by_what_was_measured(factor, verifier):
    """Pruned networks take 10 % more or less than the profile says: the second plan is right."""
    outcome = verifier(real_us=slower(factor)).run(Budget.parse("50%"))
    assert outcome.is_met
    assert is_met_as_defined(outcome, 0.5)
    assert 1 < len(outcome.rounds) <= MAX_ROUNDS
    assert outcome.rounds[0].ratio == pytest.approx(factor * outcome.rounds[0].predicted_frac, rel=0.02)
    assert outcome.rounds[1].target_frac == pytest.approx(0.99 * 0.5 / factor, rel=0.02)


def test_milliseconds_are_those_of_the_dense_network_now(verifier):
    """The machine is twice as slow as when it was profiled."""
    half_ms = dense_us() / 1e3
    outcome = verifier(real_us=lambda us: 2 * us).run(Budget.parse(f"{half_ms:.6f}ms"))
    assert outcome.limit_frac == pytest.approx(0.5, rel=1e-3)
    assert outcome.is_met
    assert outcome.measurement.timings[PRUNED].latency_ms <= half_ms


def test_never_more_rounds_than_promised(verifier):
    """A machine on which every plan takes the same however small."""
    dense = dense_us()
    outcome = verifier(real_us=lambda us: max(us, 0.6 * dense)).run(Budget.parse("50%"))
    assert not outcome.is_met
    assert len(outcome.rounds) == MAX_ROUNDS
    assert not outcome.is_within
    assert outcome.sentence == "Budget not met: measured 60.0 % of the dense latency with 50.0 % allowed."
    targets = [seen.target_frac for seen in outcome.rounds]
    assert targets == sorted(targets, reverse=True)


def test_outcomes_survive_json(verifier, tmp_path):
    outcome = verifier().run(Budget.parse("70%"))
    assert Outcome.load(outcome.save(tmp_path / "outcome.json")) == outcome


def test_restrictions_hold(verifier):
    restrictions = Restrictions(freeze=("layer3.*",), keep=("layer1.1",))
    levels = verifier(restrictions=restrictions).run(Budget.parse("60%")).levels
    assert levels["layer3.0.conv1"] == 64
    assert levels["layer1.1.conv1"] > 0


# Proof by trying everything


def all_plans(found):
    """Yield (value, predicted fraction of the dense latency) of every plan of a verifier."""
    problem = found.problem(found.latencies(Budget.parse("50%")), 1.0)
    for numbers in itertools.product(*(v.levels for v in problem.variables)):
        value, costs = evaluate(problem, dict(zip((v.name for v in problem.variables), numbers, strict=True)))
        yield value, costs[LATENCY] / found.targets[0].profile.dense_ms


@pytest.mark.parametrize("percent", [40, 55, 70, 85])
def test_the_best_plan_and_the_next_better_one(percent, verifier):
    """The machine is as profiled: no plan within the budget is better, unless 98 % of it is used."""
    found = verifier(nets.Joined)
    outcome = found.run(Budget.parse(f"{percent}%"))
    plans = list(all_plans(found))
    value, ratio = outcome.solution.value, outcome.measurement.timings[PRUNED].ratio
    assert outcome.is_met
    assert is_met_as_defined(outcome, percent / 100)
    better = min(frac for worth, frac in plans if worth > value * (1 + 1e-9))
    assert outcome.next_better_frac == pytest.approx(better, rel=0.02)
    if ratio < LEAST_FRAC * percent / 100:
        assert value == pytest.approx(max(worth for worth, frac in plans if frac <= percent / 100))


def test_of_plans_in_coarse_steps_the_next_better_is_tried(verifier):
    """A plan that takes 99.5 % of the budget lies above what the solver aims at; it is found all the same."""
    found = verifier(nets.Joined)
    plans = list(all_plans(found))
    frac = next(f for _, f in plans if 0.4 < f < 0.9 and is_lonely_and_best(f, plans))
    outcome = found.run(Budget(100 * frac / 0.995, True))
    assert outcome.is_met
    assert len(outcome.rounds) == 2
    assert outcome.measurement.timings[PRUNED].ratio == pytest.approx(frac, rel=1e-3)


def is_lonely_and_best(frac, plans):
    """Tell whether a plan is better than all smaller ones, and none lies within 3 % below it or 0.6 % above."""
    value = max(v for v, f in plans if f <= frac * (1 + 1e-9))
    near = [f for _, f in plans if 0.97 * frac < f < 1.006 * frac and abs(f - frac) > 1e-9]
    return not near and any(v == value and abs(f - frac) < 1e-9 for v, f in plans)


# Budgets that cannot be met


def test_the_smallest_reachable_latency_is_named(verifier):
    found = verifier(nets.Joined, replace(FORMULA, call_us=5.0))
    with pytest.raises(DoesNotFit) as caught:
        found.run(Budget.parse("10%"))
    least = min(frac for _, frac in all_plans(found))
    message = str(caught.value)
    assert message.startswith("a latency of 10% cannot be reached: the smallest plan is predicted to take ")
    assert float(re.search(r"\(([\d.]+) % of dense\)", message)[1]) == pytest.approx(100 * least, abs=0.1)
    assert message.endswith("; ask for at least that, or freeze less")
    enough = float(re.search(r"\(([\d.]+) %", message)[1]) + 0.1
    assert found.run(Budget(enough, True)).is_met


def test_a_budget_between_the_smallest_plan_and_what_the_solver_aims_at(verifier):
    """99 % of the budget lies below the smallest plan, the budget does not."""
    found = verifier(nets.Joined)
    least = min(frac for _, frac in all_plans(found))
    outcome = found.run(Budget(100 * least * 1.003, True))
    assert outcome.is_met
    assert outcome.measurement.timings[PRUNED].ratio == pytest.approx(least, rel=0.01)


def test_the_smallest_plan_that_measures_too_slow_is_named(verifier):
    found = verifier(nets.Joined, real_us=slower(1.3, nets.Joined))
    least = min(frac for _, frac in all_plans(found))
    with pytest.raises(DoesNotFit) as caught:
        found.run(Budget(100 * least * 1.1, True))
    assert "the smallest plan measures" in str(caught.value)
    named = float(re.search(r"\(([\d.]+) % of dense\)", str(caught.value))[1])
    assert named == pytest.approx(130 * least, rel=0.01)


def test_a_network_bound_by_its_calls_is_refused(verifier):
    with pytest.raises(NotFaster, match=r"cannot make this network faster here: .*; try a larger batch or larger inputs"):
        verifier(nets.Joined, Formula(call_us=1000.0)).run(Budget.parse("50%"))


def test_restrictions_that_leave_nothing_are_named_as_the_reason(verifier):
    found = verifier(restrictions=Restrictions(freeze=("*",)))
    with pytest.raises(NotFaster, match=r"predicted to take 100 % of .*; leave more layers and blocks free"):
        found.run(Budget.parse("50%"))


def test_a_plan_that_measures_no_faster_is_refused(verifier):
    dense = dense_us(nets.Joined)
    with pytest.raises(NotFaster, match=r"the plan measures 1\.20 times the dense latency, so it is no faster"):
        verifier(nets.Joined, real_us=lambda us: dense if us >= 0.999 * dense else 1.2 * dense).run(Budget.parse("50%"))


def test_a_budget_that_the_dense_network_meets_is_refused(verifier):
    with pytest.raises(NotFaster, match="which is within 1000 ms; ask for less"):
        verifier().run(Budget.parse("1s"))
