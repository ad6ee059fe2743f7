"""Budgets on sizes: what the problem says of a plan is what the built network has."""

import numpy as np
import pytest
import small_networks as nets
from synthetic_engine import Formula, SyntheticEngine

from silicut.compress import FILE_BYTES, MACS, PARAMETERS, Restrictions, log_energy
from silicut.flows.budget import Budget, SizeLimit
from silicut.flows.latency import WORST, Latencies, Target
from silicut.flows.planning import Planner
from silicut.flows.platform import OnEngine
from silicut.flows.pruning_problem import LATENCY, Subject
from silicut.graph.counting import n_macs
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache, ConfigError
from silicut.search import dense_levels, evaluate, solve
from silicut.targets.profile import ProfileOptions, profile_network

ENGINE = SyntheticEngine(Formula(call_us=3.0))
OPTIONS = ProfileOptions(n_samples=8, n_samples_max=16, n_validation=2)
ALL = {PARAMETERS: SizeLimit(99.0, True), MACS: SizeLimit(99.0, True), FILE_BYTES: SizeLimit(99.0, True)}
NETWORKS = [nets.projected, nets.padded, nets.bottlenecks, nets.lenet, nets.Joined, nets.Separable]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function that gives planner, scores and the problem of a network under limits of sizes."""
    folder = tmp_path_factory.mktemp("profiles")

    def make(build, limits=None):
        subject = Subject.of(nets.network(build))
        profile = profile_network(subject.network, ENGINE, cache=Cache(folder), options=OPTIONS)
        planner = Planner(subject, Restrictions(), ALL if limits is None else limits)
        scores = log_energy(subject.folded, subject.channels, subject.blocks)
        latencies = Latencies.within((Target(OnEngine(ENGINE), profile),), WORST, Budget(90.0, True), [profile.dense_ms])
        return planner, scores, planner.problem(scores, latencies, 1.0)

    return make


def random_levels(problem, blocks, seed):
    rng = np.random.default_rng(seed)
    levels = {v.name: int(rng.choice([w for w in v.levels if w])) for v in problem.variables}
    for block in blocks:
        if rng.random() < 0.4:
            levels |= dict.fromkeys(block.inner_groups, 0)
    return levels


@pytest.mark.parametrize("build", NETWORKS)
def test_sizes_of_a_plan_are_those_of_the_built_network(build, made):
    """Parameters and multiply-accumulates exactly; the file never larger than said, and by little smaller."""
    planner, scores, problem = made(build)
    choices = [dense_levels(problem), *(random_levels(problem, planner.subject.blocks, seed) for seed in range(5))]
    for levels in choices:
        costs = evaluate(problem, levels)[1]
        network = planner.network(levels, scores)
        assert costs[PARAMETERS] == network.n_parameters()
        assert costs[MACS] == n_macs(network)
        written = len(to_onnx(planner.network(levels, scores, is_folded=True), batch=1))
        n_removed = len(planner.subject.folded.operators) - len(planner.network(levels, scores, is_folded=True).operators)
        assert written - 64 <= costs[FILE_BYTES] <= written + 64 + 600 * n_removed


def test_limits_are_fractions_of_the_dense_network_or_units(made):
    planner, _, problem = made(nets.projected, {PARAMETERS: SizeLimit(50.0, True), FILE_BYTES: SizeLimit(3e5, False)})
    assert planner.size_budgets == {PARAMETERS: 0.5 * planner.subject.network.n_parameters(), FILE_BYTES: 3e5}
    assert set(problem.budgets) == {LATENCY, PARAMETERS, FILE_BYTES}


@pytest.mark.parametrize("solver", ["coupled", "lagrangian", "descent"])
def test_a_plan_keeps_every_limit(solver, made):
    planner, scores, problem = made(nets.projected, {PARAMETERS: SizeLimit(40.0, True), MACS: SizeLimit(60.0, True)})
    solution = solve(problem, solver)
    network = planner.network(solution.levels, scores)
    assert network.n_parameters() <= 0.4 * planner.subject.network.n_parameters()
    assert n_macs(network) <= 0.6 * n_macs(planner.subject.network)


@pytest.mark.parametrize(
    ("text", "units"),
    [("1M", 1e6), ("1.5k", 1500), ("2MB", 2e6), ("2 MiB", 2 * 1024**2), ("800", 800), ("60%", 120.0), ("3gb", 3e9)],
)
def test_sizes_as_people_write_them(text, units):
    assert SizeLimit.parse(text, "max-size").of(200.0) == units


@pytest.mark.parametrize("text", ["", "big", "-1M", "1MM", "1e6", "5 % %", "B"])
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError) as caught:
        SizeLimit.parse(text, "max-size")
    assert str(caught.value) == f"max-size must be like 60%, 300k or 2MB, not {text!r}"


@pytest.mark.parametrize("text", ["0M", "100%", "0%"])
def test_limits_that_mean_nothing_are_refused(text):
    with pytest.raises(ConfigError, match=rf"^max-macs must be above 0 and, in per cent, below 100, not '{text}'$"):
        SizeLimit.parse(text, "max-macs")
