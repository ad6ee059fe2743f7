"""The accelerator's cost tables against the cost model on networks that were really pruned."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tiny

from silicut.accelerators.gemm.config import TINY
from silicut.accelerators.gemm.cost.predicted import predicted
from silicut.accelerators.gemm.cost.work import network_work
from silicut.compress import Restrictions, log_energy, removed_by
from silicut.flows.decisions import Decisions, Loss
from silicut.flows.gemm_costs import CHANNEL_STEP, candidate_widths
from silicut.flows.gemm_target import GemmTarget
from silicut.flows.planning import Planner
from silicut.flows.platform import Candidate
from silicut.flows.pruning_problem import Subject, pruning_problem
from silicut.graph import capture
from silicut.graph.layer_shapes import layer_shapes
from silicut.records import Cache, silent
from silicut.search import evaluate, solve
from silicut.targets.profile import ProfileOptions

LATENCY = "latency_ms"


@pytest.fixture(scope="module")
def subject():
    return Subject.of(capture(tiny.build(), tiny.example()))


@pytest.fixture(scope="module")
def made(subject, tmp_path_factory):
    """Return targets with their profiles, by bits."""

    def one(bits):
        target = GemmTarget.named("gemm@xc7z020", config=TINY, bits=bits)
        cache = Cache(tmp_path_factory.mktemp("cache"))
        return target, target.profile(subject.network, ProfileOptions(), cache, silent)

    return {bits: one(bits) for bits in ("4/8", "joint")}


def test_widths_are_multiples_of_eight_and_all_channels():
    for n in (1, 7, 8, 9, 64, 100, 2048):
        widths = candidate_widths(n)
        assert widths[-1] == n
        assert all(w % CHANNEL_STEP == 0 for w in widths[:-1])
        assert list(widths) == sorted(set(widths))
        assert len(widths) <= 34


@pytest.mark.parametrize("bits", ["4/8", "joint"])
def test_layers_cost_what_the_model_says_of_the_pruned_network(bits, subject, made):
    """Networks cut to random legal widths and captured as such, layers read off their own shapes."""
    (target, profile), rng = made[bits], np.random.default_rng(1)
    planner = Planner(subject, Restrictions(), besides=Decisions(tuple(v for v in profile.variables if "bits" in v.name)))
    scores = log_energy(subject.folded, subject.channels, subject.blocks)
    plan = target.plan_of(subject.network, subject.network, {})
    dense = {layer.name: layer for layer in network_work(layer_shapes(subject.folded), plan).layers}
    for _ in range(6):
        levels = {v.name: int(rng.choice(v.levels)) for v in profile.variables}
        network = planner.network(levels, scores, is_folded=True)
        plan = target.plan_of(network, subject.network, levels)
        layers = [as_stored(layer, dense) for layer in network_work(layer_shapes(network), plan).layers]
        expected = predicted(layers, [TINY]).cycles[0] * 1e3 / TINY.clock_hz
        found = profile.layer_ms(levels)
        weighted = [i for i, layer in enumerate(layers) if layer.w_bits]
        for i in weighted:
            assert found[layers[i].name] == pytest.approx(profile.scale * expected[i]), layers[i].name


def as_stored(layer, dense):
    """Return a layer that writes what it writes in the dense network: tables leave out what narrower readers would save."""
    whole = dense[layer.name]
    return replace(layer, out_bits=whole.out_bits, copy_bits=whole.copy_bits, added_bits=whole.added_bits)


def test_the_model_is_checked_against_exact_times(subject, made):
    target, profile = made["4/8"]
    dense = target.measure({"dense": target_candidate(subject)}, None, silent)
    assert profile.dense_ms == dense.timings["dense"].latency_ms
    assert len(profile.validation.measured_ms) == 8
    assert profile.validation.mean_error_frac < 0.15
    assert profile.settings.how == "simulated"


def target_candidate(subject):
    return Candidate(subject.folded)


def test_widths_and_bits_are_solved_together(subject, made):
    """The solver's answer against all combinations of a problem with a few levels of bits."""
    _, profile = made["joint"]
    few = (22, 48, 88)
    bits = [v for v in profile.variables if v.name.startswith("bits of ")]
    losses = tuple(Loss(v.name, v.name.removeprefix("bits of "), (0.5 + i, 0.2, 0.01)) for i, v in enumerate(bits))
    besides = Decisions(tuple(replace(v, levels=few) for v in bits), losses)
    scores = log_energy(subject.folded, subject.channels, subject.blocks)
    budget = {LATENCY: 0.5 * profile.dense_ms}
    problem = pruning_problem(subject, {LATENCY: profile}, scores, Restrictions(), budget, besides)
    solution = solve(problem)
    best = max(value for value, costs in all_choices(problem) if costs[LATENCY] <= budget[LATENCY])
    assert solution.value == pytest.approx(best)
    assert removed_by(solution.levels, subject.blocks) in ((), ("block",))


def all_choices(problem):
    names = [v.name for v in problem.variables]
    for numbers in itertools.product(*(v.levels for v in problem.variables)):
        levels = dict(zip(names, numbers, strict=True))
        if all(len({levels[name] == 0 for name in tie}) == 1 for tie in problem.ties):
            yield evaluate(problem, levels)


def test_a_removed_block_loses_nothing_by_its_bits(subject, made):
    _, profile = made["joint"]
    bits = [v for v in profile.variables if v.name.startswith("bits of ")]
    losses = tuple(Loss(v.name, v.name.removeprefix("bits of "), (1.0,) * len(v.levels)) for v in bits)
    scores = log_energy(subject.folded, subject.channels, subject.blocks)
    problem = pruning_problem(subject, {LATENCY: profile}, scores, Restrictions(), {}, Decisions(tuple(bits), losses))
    widest = {v.name: v.levels[-1] for v in problem.variables}
    gone = widest | {name: 0 for block in subject.blocks for name in block.inner_groups}
    value, costs = evaluate(problem, gone)
    assert value == pytest.approx(sum(float(scores[name].values[gone[name]]) for name in scores))
    narrow = gone | {v.name: v.levels[0] for v in bits}
    assert evaluate(problem, narrow) == (value, costs)
