"""The pruning problem: what it says a plan costs is what the built network takes."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import small_networks as nets
import torch
from synthetic_engine import Formula, SyntheticEngine

from silicut.compress import Plan, Restrictions, apply_plan, kept_channels, pruned, removed_by, sp_lamp
from silicut.compress.pruning import removable_blocks
from silicut.flows.pruning_problem import LATENCY, Subject, pruning_problem
from silicut.graph import to_module
from silicut.graph.onnx_writer import to_onnx
from silicut.records import Cache, ConfigError
from silicut.search import Problem, dense_levels, evaluate, solve
from silicut.targets.profile import Profile, ProfileOptions, profile_network

ENGINE = SyntheticEngine(Formula(call_us=3.0))
OPTIONS = ProfileOptions(n_samples=8, n_samples_max=16, n_validation=2)


@cache
def subject(build) -> Subject:
    return Subject.of(nets.network(build))


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")

    @cache
    def profile(build) -> Profile:
        return profile_network(nets.network(build), ENGINE, cache=Cache(folder), options=OPTIONS)

    return profile


def problem_of(build, profile, restrictions=None, budget_ms=1e9) -> Problem:
    restrictions = restrictions or Restrictions()
    return pruning_problem(subject(build), {LATENCY: profile}, scores_of(build), restrictions, {LATENCY: budget_ms})


def scores_of(build):
    made = subject(build)
    return sp_lamp(made.folded, made.channels, made.blocks)


def random_choices(problem, blocks, n, seed=0):
    """Yield random legal levels, in which each block is removed with a probability of 0.3."""
    rng = np.random.default_rng(seed)
    yield dense_levels(problem)
    for _ in range(n):
        levels = {v.name: int(rng.choice([w for w in v.levels if w])) for v in problem.variables}
        for block in blocks:
            if rng.random() < 0.3:
                levels |= dict.fromkeys(block.inner_groups, 0)
        yield levels


def built(build, levels):
    """Return the network that a choice of levels leaves."""
    made = subject(build)
    kept = kept_channels(levels, scores_of(build))
    return pruned(made.folded, kept, removed_by(levels, made.blocks))


def truth_ms(build, levels):
    return ENGINE.formula.network_us(to_onnx(built(build, levels), batch=1)) / 1e3


# Costs


@pytest.mark.parametrize("build", [nets.projected, nets.padded, nets.bottlenecks, nets.lenet, nets.Joined, nets.Separable])
def test_a_choice_costs_what_the_built_network_takes(build, profiles):
    """Sums of groups, tied groups, flattened maps, and any blocks removed: within 1 %."""
    problem = problem_of(build, profiles(build))
    for levels in random_choices(problem, subject(build).blocks, 6):
        _, costs = evaluate(problem, levels)
        assert costs[LATENCY] == pytest.approx(truth_ms(build, levels), rel=0.01)


def test_without_any_block_and_with_the_least_widths(profiles):
    problem = problem_of(nets.projected, profiles(nets.projected))
    least = {v.name: v.levels[0] for v in problem.variables}
    assert len(removed_by(least, subject(nets.projected).blocks)) == 6
    assert evaluate(problem, least)[1][LATENCY] == pytest.approx(truth_ms(nets.projected, least), rel=0.01)


def test_the_dense_network_costs_the_dense_latency(profiles):
    profile = profiles(nets.projected)
    problem = problem_of(nets.projected, profile)
    assert evaluate(problem, dense_levels(problem))[1][LATENCY] == pytest.approx(profile.dense_ms, rel=0.01)
    assert problem.fixed[LATENCY] >= profile.overhead_ms > 0


def test_the_budget_is_that_of_the_latency(profiles):
    assert problem_of(nets.padded, profiles(nets.padded), budget_ms=0.25).budgets == {LATENCY: 0.25}


# Values


def test_values_are_those_of_the_scores(profiles):
    problem = problem_of(nets.projected, profiles(nets.projected))
    scores = scores_of(nets.projected)
    for levels in random_choices(problem, subject(nets.projected).blocks, 4):
        expected = sum(float(scores[name].values[level]) for name, level in levels.items())
        assert evaluate(problem, levels)[0] == pytest.approx(expected)


# Restrictions


def test_frozen_layers_have_one_level_and_their_cost_stays(profiles):
    restrictions = Restrictions(freeze=("layer1.*", "conv1"), keep=("layer2.1",))
    profile = profiles(nets.projected)
    problem = problem_of(nets.projected, profile, restrictions)
    levels = {v.name: v.levels for v in problem.variables}
    assert levels["conv1"] == levels["layer1.1.conv1"] == (16,)
    assert levels["layer2.1.conv1"][0] > 0 == levels["layer3.1.conv1"][0]
    blocks = removable_blocks(subject(nets.projected).blocks, restrictions)
    for choice in random_choices(problem, blocks, 4):
        assert evaluate(problem, choice)[1][LATENCY] == pytest.approx(truth_ms(nets.projected, choice), rel=0.01)


def test_no_blocks(profiles):
    problem = problem_of(nets.bottlenecks, profiles(nets.bottlenecks), Restrictions(may_remove_blocks=False))
    assert problem.ties == ()
    assert min(v.levels[0] for v in problem.variables) > 0


def test_restricted_sums_are_those_of_the_levels_left(profiles):
    problem = problem_of(nets.padded, profiles(nets.padded), Restrictions(freeze=("conv1",)))
    sums = {s.name: problem.levels[s.name] for s in problem.sums}
    assert sums
    assert all(min(levels) > 16 for levels in sums.values())


def test_wrong_patterns_are_named(profiles):
    with pytest.raises(ConfigError, match="freeze pattern 'nothing' must match a layer, such as 'conv1'"):
        problem_of(nets.padded, profiles(nets.padded), Restrictions(freeze=("nothing",)))


# Everything on a network of 20 layers


def test_a_solved_plan_of_bottlenecks_is_applied(profiles):
    made, profile = subject(nets.bottlenecks), profiles(nets.bottlenecks)
    assert len(made.channels.groups) == 17
    assert len(made.blocks) == 6
    problem = problem_of(nets.bottlenecks, profile, budget_ms=0.5 * profile.dense_ms)
    assert len(problem.ties) == 6
    solution = solve(problem, "descent", 5.0)
    assert solution.costs[LATENCY] <= 0.5 * profile.dense_ms * (1 + 1e-9)
    scores = scores_of(nets.bottlenecks)
    plan = Plan(
        widths=solution.levels,
        kept=kept_channels(solution.levels, scores),
        removed_blocks=removed_by(solution.levels, made.blocks),
        value=("sp-lamp", solution.value),
        solver="descent",
        predicted_ms=solution.costs[LATENCY],
        target_ms=0.5 * profile.dense_ms,
        bound=solution.bound,
        hashes={"network": made.network.structure_hash},
    )
    smaller = apply_plan(made.network, Plan.from_json(plan.to_json()))
    assert to_module(smaller)(torch.randn(2, 3, 16, 16)).shape == (2, 10)
    assert smaller.n_parameters() < made.network.n_parameters()
    assert truth_ms(nets.bottlenecks, solution.levels) == pytest.approx(solution.costs[LATENCY], rel=0.01)


def test_tables_of_another_profile_are_not_changed(profiles):
    """The problem is made from copies: the record stays as it was."""
    profile = profiles(nets.padded)
    before = dataclasses.asdict(profile)
    problem_of(nets.padded, profile)
    assert dataclasses.asdict(profile) == before
