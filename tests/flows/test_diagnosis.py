"""Causes of slowness, on engines made to have them, and absent on engines that do not."""

import math
from functools import cache

import numpy as np
import pytest
import small_networks as nets
import torch
from synthetic_engine import Formula, SyntheticEngine
from torch import nn

from silicut.compress import pruned
from silicut.flows.diagnosis import Diagnosis
from silicut.flows.pruning_problem import Subject
from silicut.graph import capture, fold_batch_norm
from silicut.records import Cache
from silicut.targets.profile import ProfileOptions, profile_network

OPTIONS = ProfileOptions(n_samples=8, n_samples_max=16, n_validation=2)
SMOOTH = Formula(call_us=0.0, node_us=0.0, element_us=1e-9, block_in=1, block_out=1, cliff=1.0)


class Stuck(nn.Module):
    """The first convolution's channels are normalised over, so they must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 64, 3), nn.Conv2d(64, 8, 1), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(torch.relu(self.second(self.first(x).softmax(1))).mean((2, 3)))


class Pooled(nn.Module):
    """Time is spent in a pool of the image, which has no channels to prune."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 16, 3), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(torch.relu(self.conv(nn.functional.max_pool2d(x, 4))).mean((2, 3)))


@cache
def network_of(build):
    return (
        nets.network(build) if build in (nets.projected, nets.Chain) else capture(build().eval(), torch.zeros(1, 3, 32, 32))
    )


@pytest.fixture(scope="module")
def diagnosed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")

    def diagnosis(build, formula, widths=None):
        network = network_of(build)
        profile = profile_network(
            network, SyntheticEngine(formula), cache=Cache(folder / str(hash(formula))), options=OPTIONS
        )
        subject = Subject.of(network)
        if widths is None:
            return Diagnosis.of_dense(subject, profile)
        dense = {v.name: v.levels[-1] for v in profile.variables}
        kept = {n: tuple(range(w)) for n, w in widths(profile).items() if 0 < w < dense[n]}
        blocks = [b.name for b in subject.blocks if all(widths(profile)[g] == 0 for g in b.inner_groups)]
        smaller = fold_batch_norm(pruned(network, kept, blocks))
        return Diagnosis(subject, profile, widths(profile), smaller)

    return diagnosis


def causes(diagnosis):
    return {finding.cause: finding for finding in diagnosis.findings()}


def random_widths(seed):
    def widths(profile):
        rng = np.random.default_rng(seed)
        chosen = {v.name: int(rng.choice(v.levels)) for v in profile.variables}
        return chosen | {"layer2.1.conv1": 0}

    return widths


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_the_parts_sum_up_to_the_prediction(diagnosed, seed):
    diagnosis = diagnosed(nets.projected, Formula(), None if seed is None else random_widths(seed))
    profile, parts = diagnosis.profile, diagnosis.parts
    kept = {name: width or profile.levels[name][0] for name, width in diagnosis.widths.items()}
    costs = {n: ms for n, ms in profile.layer_ms(kept).items() if seed is None or not n.startswith("layer2.1.")}
    assert parts.total_ms == pytest.approx(profile.overhead_ms + sum(costs.values()))
    least = {v.name: v.levels[0] for v in profile.variables}
    smallest = sum(ms for n, ms in profile.layer_ms(least).items() if n in costs)
    assert parts.fixed_ms == pytest.approx(profile.overhead_ms + smallest, rel=0.02)
    assert 0 < parts.removal_ms < parts.fixed_ms
    assert all(finding.frac <= 1 + 1e-9 for finding in diagnosis.findings())


def test_an_engine_without_steps_has_no_cause(diagnosed):
    assert causes(diagnosed(nets.Chain, SMOOTH)) == {}


def test_launch_bound(diagnosed):
    formula = Formula(call_us=50.0, node_us=20.0, mac_us=1e-6)
    found = causes(diagnosed(nets.projected, formula))["launch-bound"]
    parts = diagnosed(nets.projected, formula).parts
    assert found.frac == parts.launch_frac > 0.9
    assert "where little but starting operators is done" in found.sentence
    assert "layer1.0" in found.advice
    assert "larger batch" in found.advice
    assert "launch-bound" not in causes(diagnosed(nets.projected, Formula(call_us=1.0, node_us=0.01, mac_us=1e-3)))


def test_blocks_that_are_gone_are_not_offered_again(diagnosed):
    formula = Formula(call_us=50.0, node_us=20.0, mac_us=1e-6)
    groups = {block: f"{block}.conv1" for block in ("layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1")}

    def without_any(profile):
        return {v.name: 0 if v.name in groups.values() else v.levels[-1] for v in profile.variables}

    diagnosis = diagnosed(nets.projected, formula, without_any)
    assert diagnosis.parts.removal_ms == 0
    assert causes(diagnosis)["launch-bound"].advice.startswith("Narrowing saves little: run a larger batch")


def test_steps_and_cliffs(diagnosed):
    coarse = Formula(call_us=0.0, node_us=0.0, mac_us=1e-3, block_in=32, block_out=32, cliff=2.0)
    found = causes(diagnosed(nets.Chain, coarse))
    assert found["coarse steps"].sentence.startswith("In 3 of 3 groups nothing is saved before 25")
    assert "the next width of conv1 that pays is" in found["coarse steps"].sentence
    assert "times as long as at" in found["cliffs"].sentence
    height = float(found["cliffs"].sentence.split("takes ")[1].split()[0])
    assert 1.2 < height < 2.0


def test_frozen_channels_take_their_share(diagnosed):
    diagnosis = diagnosed(Stuck, SMOOTH)
    found = causes(diagnosis)["frozen channels"]
    first, second = 27 * 64, 64 * 8
    assert found.frac == pytest.approx(first / (first + second), abs=0.02)
    assert found.sentence.endswith("are in layers whose channels must stay: first.")
    assert diagnosis.parts.frozen_ms == pytest.approx(found.frac * diagnosis.parts.total_ms)
    assert "untouched layers" not in causes(diagnosis)


def test_layers_on_no_group_take_their_share(diagnosed):
    found = causes(diagnosed(Pooled, Formula(call_us=0.0, node_us=0.0, element_us=1e-2, mac_us=1e-6)))
    assert found["untouched layers"].frac > 0.5
    assert "max_pool2d" in found["untouched layers"].sentence
    assert "frozen channels" not in found


def test_layers_with_little_arithmetic_wait_for_memory(diagnosed):
    formula = Formula(call_us=0.0, node_us=0.0, element_us=1e-2, mac_us=1e-6)
    found = causes(diagnosed(Pooled, formula))["memory-bound"]
    assert found.sentence.split(" layers do fewer than 4 ")[0].isdigit()
    assert found.frac > 0.5
    assert "memory-bound" not in causes(diagnosed(nets.Chain, SMOOTH))


def test_milliseconds_are_scaled(diagnosed):
    diagnosis = diagnosed(nets.projected, Formula())
    scaled = Diagnosis(diagnosis.subject, diagnosis.profile, diagnosis.widths, diagnosis.network, 2.0)
    assert scaled.parts.total_ms == pytest.approx(2 * diagnosis.parts.total_ms)
    assert [f.frac for f in scaled.findings()] == pytest.approx([f.frac for f in diagnosis.findings()])
    assert not math.isnan(scaled.parts.fixed_frac)
