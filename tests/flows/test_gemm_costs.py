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
from silicut.compress.quantisation import find_sites, quantisable
from silicut.flows.bit_choices import BitChoices
from silicut.flows.decisions import Decisions, Loss
from silicut.flows.gemm_corrections import Timed
from silicut.flows.gemm_costs import CHANNEL_STEP, GemmProfiler, candidate_widths
from silicut.flows.gemm_learning import learned
from silicut.flows.gemm_target import GemmTarget
from silicut.flows.planning import Planner
from silicut.flows.platform import Candidate
from silicut.flows.pruning_problem import Subject, pruning_problem
from silicut.graph import capture
from silicut.graph.layer_shapes import layer_shapes
from silicut.records import Cache, silent
from silicut.search import evaluate, solve
from silicut.targets import MeasureOptions
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
    target, rng = made[bits][0], np.random.default_rng(1)
    plan = target.plan_of(subject.network, subject.network, {})
    choices = BitChoices.of(find_sites(quantisable(subject.network)), 8) if bits == "joint" else None
    profiler = GemmProfiler(subject, TINY, plan, choices, lambda _: Timed(1000, {}), silent)  # no layer corrects the model
    profile = profiler.profile(target.settings, {}, ProfileOptions())
    planner = Planner(subject, Restrictions(), besides=Decisions(tuple(v for v in profile.variables if "bits" in v.name)))
    scores = log_energy(subject.folded, subject.channels, subject.blocks)
    dense = {layer.name: layer for layer in network_work(layer_shapes(subject.folded), plan).layers}
    for _ in range(6):
        levels = {v.name: int(rng.choice(v.levels)) for v in profile.variables}
        network = planner.network(levels, scores, is_folded=True)
        plan = target.plan_of(network, subject.network, levels)
        layers = [as_stored(layer, dense) for layer in network_work(layer_shapes(network), plan).layers]
        expected = predicted(layers, [TINY]).cycles[0] * 1e3 / TINY.clock_hz
        found, uncorrected = profile.layer_ms(levels), {layer.name: ms for layer, ms in zip(layers, expected, strict=True)}
        for name in (layer.name for layer in layers if layer.w_bits):
            assert found[name] == pytest.approx(profile.scale * uncorrected[name]), name


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


@pytest.mark.parametrize(("bits", "is_removed"), [("4/8", False), ("4/8", True), ("joint", False)])
def test_a_profile_learns_what_a_plan_takes(bits, is_removed, subject, made):
    """At the plan the prediction is then the exact time of the whole, and learning it again changes nothing."""
    target, profile = made[bits]
    besides = Decisions(tuple(v for v in profile.variables if v.name.startswith("bits of ")))
    planner = Planner(subject, Restrictions(), besides=besides)
    scores = log_energy(subject.folded, subject.channels, subject.blocks)
    levels = {v.name: v.levels[len(v.levels) // 2] for v in profile.variables}
    levels |= {name: 0 for block in subject.blocks for name in block.inner_groups if is_removed}
    pruned = Candidate(planner.network(levels, scores, is_folded=True), levels)
    candidates = {"dense": Candidate(subject.folded), "pruned": pruned}

    def predicted_ms(of):
        problem = pruning_problem(subject, {LATENCY: of}, scores, Restrictions(), {}, besides)
        return evaluate(problem, levels)[1][LATENCY]

    after = target.learned(profile, candidates, predicted_ms(profile))
    exact_ms = target.measure(candidates, MeasureOptions(), silent).timings["pruned"].latency_ms
    assert predicted_ms(after) == pytest.approx(exact_ms)
    assert after.dense_ms == profile.dense_ms
    assert target.learned(after, candidates, exact_ms).layers[0].table.array == pytest.approx(after.layers[0].table.array)


def test_what_was_learned_fades_with_the_distance(made):
    """A layer that takes twice what was predicted: its table doubles there, and less far away."""
    _, profile = made["4/8"]
    levels = {v.name: v.levels[0] for v in profile.variables}
    seen = profile.layer_ms(levels)
    twice = Timed(round(2e-3 * sum(seen.values()) * 1e8), {name: round(1e6 * ms) for name, ms in seen.items()})
    after = learned(profile, levels, twice, 1e8, profile.overhead_ms + sum(seen.values()))
    for old, new in zip(profile.layers, after.layers, strict=True):
        if old.table is not None and len(old.table.variables) == 2:
            factor = new.table.array / old.table.array
            assert factor[0, 0] == pytest.approx(factor.max())
            assert factor[-1, -1] == pytest.approx(factor.min())
            assert 1.5 < factor[0, 0] < 2.5
            assert 1.0 < factor[-1, -1] < 1.4
