"""The fastest network within a drop of accuracy: bisection on an engine whose times are known."""

import pytest
import small_networks as nets
from synthetic_engine import Formula, SyntheticEngine

from silicut.compress import Restrictions, log_energy
from silicut.flows.budget import Budget
from silicut.flows.latency import Target
from silicut.flows.max_drop import fastest_within
from silicut.flows.planning import Planner
from silicut.flows.platform import OnEngine
from silicut.flows.pruning_problem import LATENCY, Subject
from silicut.flows.verify import SolveOptions, Verifier
from silicut.records import Cache, DoesNotFit
from silicut.search import cheapest, evaluate
from silicut.targets.profile import ProfileOptions, profile_network

OPTIONS = ProfileOptions(n_samples=8, n_samples_max=16, n_validation=2)


@pytest.fixture(scope="module")
def verifier(tmp_path_factory):
    subject, engine = Subject.of(nets.network(nets.projected)), SyntheticEngine(Formula(call_us=1.0))
    profile = profile_network(subject.network, engine, cache=Cache(tmp_path_factory.mktemp("cache")), options=OPTIONS)
    scores = log_energy(subject.folded, subject.channels, subject.blocks)
    return Verifier(Planner(subject, Restrictions()), (Target(OnEngine(engine), profile),), scores, SolveOptions())


def frac_of(verifier, levels):
    """Return the predicted latency of a plan as a fraction of the dense one."""
    problem = verifier.problem(_latencies(verifier), 1.0)
    return evaluate(problem, levels)[1][LATENCY] / verifier.targets[0].profile.dense_ms


def _latencies(verifier):
    return verifier.latencies(Budget(99.0, True))


@pytest.mark.parametrize("allowed", [0.05, 0.2, 0.5])
def test_the_latency_is_found_to_a_thirty_second_of_the_range(verifier, allowed):
    """The drop is 1 - latency, so the truth is known."""
    tried = fastest_within(verifier, allowed, lambda levels: 1.0 - frac_of(verifier, levels))
    best = min(drop.limit_frac for drop in tried if drop.is_allowed)
    least = cheapest(verifier.problem(_latencies(verifier), 1.0), LATENCY).costs[LATENCY]
    step = (1.0 - least / verifier.targets[0].profile.dense_ms) / 32
    assert best == pytest.approx(1.0 - allowed, abs=2 * step + 0.03)  # plans are a little below what they are solved for
    assert len(tried) == 5
    assert all(drop.is_allowed == (drop.drop <= allowed) for drop in tried)


def test_where_nothing_is_lost_the_smallest_latency_is_nearly_reached(verifier):
    tried = fastest_within(verifier, 0.0, lambda _: -0.01)
    assert all(drop.is_allowed for drop in tried)
    fracs = [drop.limit_frac for drop in tried]
    assert fracs == sorted(fracs, reverse=True)


def test_a_drop_that_no_latency_keeps_is_refused(verifier):
    with pytest.raises(
        DoesNotFit,
        match=r"^even at 9\d\.\d % of the dense latency the network loses 0\.5 after its short recovery, above the 0\.01 ",
    ):
        fastest_within(verifier, 0.01, lambda _: 0.5)
