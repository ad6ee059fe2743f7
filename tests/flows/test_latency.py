"""Several engines: what a budget means on all of them, and plans that measure within it on each."""

from dataclasses import replace

import pytest
import small_networks as nets
from synthetic_engine import Formula, SyntheticEngine

from silicut.compress import Restrictions, log_energy
from silicut.flows.budget import Budget
from silicut.flows.latency import WEIGHTED, WORST, Latencies, Target
from silicut.flows.planning import Planner
from silicut.flows.platform import Candidate, OnEngine
from silicut.flows.prune import chosen_platforms
from silicut.flows.pruning_problem import LATENCY, Subject
from silicut.flows.stages import DENSE, PRUNED
from silicut.flows.verify import SolveOptions, Verifier
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache, ConfigError, silent
from silicut.search import evaluate
from silicut.targets import MeasureOptions
from silicut.targets.profile import ProfileOptions, profile_network

WIDE, NARROW = Formula(call_us=1.0, block_out=16), Formula(call_us=4.0, block_in=8, block_out=8, mac_us=3e-5)
OPTIONS = ProfileOptions(n_samples=8, n_samples_max=16, n_validation=2)
MEASURING = MeasureOptions(n_rounds=5, max_rounds=5, n_resamples=100)


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    """Two engines of other blocks and speeds, each with its profile of one network."""
    cache = Cache(tmp_path_factory.mktemp("profiles"))
    made = []
    for name, formula in (("wide", WIDE), ("narrow", NARROW)):
        engine = SyntheticEngine(formula, name=name, version=name)
        profile = profile_network(nets.network(nets.projected), engine, cache=cache, options=OPTIONS)
        made.append(Target(OnEngine(engine), profile))
    return tuple(made)


@pytest.fixture(scope="module")
def subject():
    return Subject.of(nets.network(nets.projected))


def verifier(subject, targets, mode=WORST):
    scores = log_energy(subject.folded, subject.channels, subject.blocks)
    options = SolveOptions(measuring=MEASURING, mode=mode, time_limit_s=30.0)
    return Verifier(Planner(subject, Restrictions()), targets, scores, options)


def ratios(subject, targets, found, levels):
    """Return what the plan takes on each engine by its formula, as a fraction of dense."""
    dense, small = (to_onnx(network, batch=1) for network in (subject.folded, found.model(levels)))
    return [t.platform.engine.formula.network_us(small) / t.platform.engine.formula.network_us(dense) for t in targets]


# What a budget means


@pytest.mark.parametrize(
    ("mode", "budget", "shares", "limit"),
    [
        (WORST, Budget(50.0, True), (1.0, 1.0), 0.5),
        (WEIGHTED, Budget(50.0, True), (0.25, 0.75), 0.5),
        (WORST, Budget(2.0, False), (0.4, 1.0), 0.2),  # milliseconds of the slower one, 10 ms dense
        (WEIGHTED, Budget(2.0, False), (1 / 8.5, 7.5 / 8.5), 2 / 8.5),  # 0.25 * 4 + 0.75 * 10 ms dense
    ],
)
def test_a_budget_on_two_engines(mode, budget, shares, limit, targets):
    weighted = (replace(targets[0], weight=1.0), replace(targets[1], weight=3.0))
    found = Latencies.within(weighted, mode, budget, [4.0, 10.0])
    assert found.shares == pytest.approx(shares)
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize("mode", [WORST, WEIGHTED])
def test_predictions_are_those_of_the_profiles(mode, targets, subject):
    """At levels that are corners on one engine only, away from the other's cliffs; the formulas say what is true."""
    found = verifier(subject, targets, mode)
    latencies = found.latencies(Budget(50.0, True))
    problem = found.problem(latencies, 0.5)
    whole = {v.name: [level for level in v.levels if level and level % 8 == 0] for v in problem.variables}
    levels = {name: numbers[len(numbers) // 2] for name, numbers in whole.items()}
    each = ratios(subject, targets, found, levels)
    expected = max(each) if mode == WORST else sum(each) / 2
    assert latencies.predicted_frac(evaluate(problem, levels)[1]) == pytest.approx(expected, rel=0.02)


def test_the_levels_are_the_corners_of_both(targets, subject):
    found = verifier(subject, targets)
    problem = found.problem(found.latencies(Budget(50.0, True)), 0.5)
    for variable in problem.variables:
        own = [next(v.levels for v in target.profile.variables if v.name == variable.name) for target in targets]
        assert {level for level in variable.levels if level} == set(own[0]) | set(own[1])
    assert set(problem.budgets) == {f"{LATENCY} on wide", f"{LATENCY} on narrow"}


# Plans that measure within it


@pytest.mark.parametrize("percent", [45, 70])
def test_the_worst_engine_is_within_the_budget(percent, targets, subject):
    found = verifier(subject, targets)
    outcome = found.run(Budget(float(percent), True))
    each = ratios(subject, targets, found, outcome.levels)
    assert outcome.is_within
    assert max(each) <= percent / 100
    assert [m.timings[PRUNED].ratio for m in outcome.measurements] == pytest.approx(each)
    assert outcome.chosen.ratio == pytest.approx(max(each))
    alone = verifier(subject, targets[:1]).run(Budget(float(percent), True))
    assert outcome.solution.value <= alone.solution.value + 1e-9


def test_the_weighted_mean_is_within_the_budget(targets, subject):
    weighted = (replace(targets[0], weight=1.0), replace(targets[1], weight=3.0))
    found = verifier(subject, weighted, WEIGHTED)
    outcome = found.run(Budget(50.0, True))
    each = ratios(subject, weighted, found, outcome.levels)
    assert outcome.is_within
    assert outcome.chosen.ratio == pytest.approx(0.25 * each[0] + 0.75 * each[1])


def test_milliseconds_are_those_of_every_engine(targets, subject):
    found = verifier(subject, targets)
    dense = to_onnx(subject.folded, batch=1)
    slowest_ms = max(t.platform.engine.formula.network_us(dense) for t in targets) / 1e3
    outcome = found.run(Budget(0.5 * slowest_ms, False))
    small = to_onnx(found.model(outcome.levels), batch=1)
    assert all(t.platform.engine.formula.network_us(small) / 1e3 <= 0.5 * slowest_ms for t in targets)


def test_every_engine_measures(targets, subject):
    latencies = Latencies.within(targets, WORST, Budget(50.0, True), [1.0, 1.0])
    found = latencies.measure({DENSE: Candidate(subject.folded), PRUNED: Candidate(subject.folded)}, MEASURING, silent)
    assert [m.fingerprint["engine"] for m in found] == ["wide", "narrow"]
    assert latencies.ratio(found) == pytest.approx(1.0)


# What may be asked


def test_engines_that_cannot_be_had():
    one, batched = SyntheticEngine(WIDE), SyntheticEngine(NARROW, name="other")
    batched.settings = replace(batched.settings, batch=4)
    assert chosen_platforms([one, (batched, 2.0)][:1], 1) == ((OnEngine(one), 1.0),)
    for asked, sentence in [
        ([], "engine must be at least one, not none"),
        ([one, one], "engine 'synthetic' must be given once, not 2 times"),
        ([(one, 0.0)], "weight of engine 'synthetic' must be above 0, not 0"),
        ([one, batched], "engines must all run the same batch, not different ones"),
    ]:
        with pytest.raises(ConfigError, match=f"^{sentence}$"):
            chosen_platforms(asked, 1)
