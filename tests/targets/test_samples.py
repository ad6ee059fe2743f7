"""Samples: as many turns as a ratio takes, each with the networks loaded anew; what is known is not measured again."""

import dataclasses

import numpy as np
import pytest
import small_networks as nets
from synthetic_engine import SyntheticEngine

from silicut.records import Cache
from silicut.targets.samples import SURE_FRAC, USUAL_FRAC, Bench


class Restless(SyntheticEngine):
    """An engine on which every load is faster or slower by some per cent, for as long as it lives."""

    spread_frac = 0.0

    def node_times(self, model, n_runs=30, reference=None):
        times = super().node_times(model, n_runs, reference)
        factor = 1 + self.spread_frac * np.random.default_rng(len(self.profiled)).standard_normal()
        return dataclasses.replace(times, run_us=times.run_us * factor, ratio=times.ratio * factor)


def bench(folder, spread_frac):
    engine = Restless()
    engine.spread_frac = spread_frac
    return Bench.open(nets.network(nets.Chain), engine, Cache(folder)), engine


@pytest.fixture
def widths(tmp_path):
    dense = bench(tmp_path / "other", 0.0)[0].dense_widths
    return {name: n // 2 for name, n in dense.items()}


def test_a_quiet_machine_takes_three_turns(tmp_path, widths):
    found, engine = bench(tmp_path, 0.0)
    found.sample(widths)
    assert len(engine.profiled) == 3
    assert len(engine.loaded) == 3  # the dense network, once a turn


def test_an_unsure_ratio_takes_more_turns_up_to_sixteen(tmp_path, widths):
    found, engine = bench(tmp_path, 0.03)
    quiet = bench(tmp_path / "quiet", 0.0)[0].sample(widths)
    sample = found.sample(widths)
    assert 3 < len(engine.profiled) <= 16
    assert sample.ratio == pytest.approx(quiet.ratio, rel=0.04)
    loud, engine = bench(tmp_path / "loud", 0.5)
    loud.sample(widths)
    assert len(engine.profiled) == 16


def test_what_is_known_well_enough_is_not_measured_again(tmp_path, widths):
    first, _ = bench(tmp_path, 0.02)
    sample = first.sample(widths, USUAL_FRAC)
    again, engine = bench(tmp_path, 0.02)
    assert again.sample(widths, USUAL_FRAC) == sample
    assert engine.profiled == []
    surer, engine = bench(tmp_path, 0.02)
    surer.sample(widths, SURE_FRAC / 10)
    assert len(engine.profiled) == 16
    last, engine = bench(tmp_path, 0.02)
    last.sample(widths, SURE_FRAC / 10)
    assert engine.profiled == []  # it was tried as often as may be
