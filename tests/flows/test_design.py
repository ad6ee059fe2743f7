"""Design searches from end to end on small grids: what is chosen, kept, resumed, refused."""

import dataclasses
import json

import pytest

from silicut.accelerators.gemm.config import GemmConfig
from silicut.accelerators.gemm.cost.resources import exceeded, resources
from silicut.accelerators.gemm.design import GRID
from silicut.compress.quantisation.bits import BitPlan
from silicut.flows import design_steps
from silicut.flows.design import DesignOptions, bit_space, design
from silicut.records import ConfigError, DoesNotFit, OutputExists
from silicut.report.design import DesignSummary
from silicut.search import Parameter, Space
from silicut.targets.parts import device_table
from silicut.zoo.layer_table import known_layers

_LEVELS = {"lut_rows": (4,), "lut_columns": (4, 6), "lut_word_bits": (64, 128), "dsp_inputs": (8,), "dsp_rows": (1, 3),
           "dsp_outputs": (8,), "dsp_passes": (2,), "feature_words": (1024, 2048)}  # fmt: skip


def small(parameter):
    """Return two levels of some parameters, the smallest but one of the others."""
    return Parameter(parameter.name, _LEVELS.get(parameter.name, parameter.levels[:1]))


SMALL = Space(tuple(map(small, GRID.parameters)))
QUICK = DesignOptions(space=SMALL, n_finalists=2, n_refined=3, asks_what_helps=False)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    options = dataclasses.replace(QUICK, solvers=("exact", "random"), n_evaluations=6, asks_what_helps=True)
    return design("lenet5", tmp_path_factory.mktemp("design") / "out", options)


def test_what_is_chosen_is_best_and_fits(found):
    summary = found.summary
    assert summary.gap_frac == 0
    assert summary.least_cycles == summary.bound
    assert summary.simulated_cycles == min(c.simulated for c in summary.contenders)
    assert summary.machine_bound_cycles <= summary.simulated_cycles
    assert not exceeded(resources(found.config), device_table().part("xc7z020"))
    assert summary.exceeded == ()
    assert {step.name for step in summary.steps} >= {"lanes", "DSP core"}


def test_files_say_the_same(found):
    assert GemmConfig.load(found.folder / "config.json") == found.config
    assert BitPlan.load(found.folder / "bits.json") == found.plan
    assert DesignSummary.load(found.folder / "design.json") == found.summary
    assert found.summary.hashes == {"config": found.config.hash, "bits": found.plan.hash}
    assert "<svg" in (found.folder / "report.html").read_text()
    assert str(found.plan.of("fc1")) == "4/4"


def test_searches_beside_are_never_better_than_the_proof(found):
    (curve,) = found.summary.curves
    assert (curve.solver, curve.n_evaluations) == ("random", 6)
    assert curve.best is None or curve.best >= found.summary.least_cycles


def test_more_of_a_limit_never_takes_longer(found):
    base, *helps = found.summary.helps
    assert base.what == "as it is"
    assert [each.what for each in helps] == [
        "10 % more look-up tables", "10 % more DSP slices", "10 % more BRAM36", "twice the bandwidth",
    ]  # fmt: skip
    assert base.cycles == found.summary.least_cycles
    assert all(each.cycles <= base.cycles for each in helps)


def test_a_second_call_searches_and_times_nothing(found, monkeypatch):
    def never(*_args, **_options):
        raise AssertionError("it is known")

    for name in ("branch_and_bound", "compiled_time", "minimise", "float_network"):
        monkeypatch.setattr(design_steps, name, never)
    options = dataclasses.replace(QUICK, solvers=("exact", "random"), n_evaluations=6, asks_what_helps=True)
    again = design("lenet5", found.folder, options)
    assert again.config == found.config
    assert again.summary.contenders == found.summary.contenders


def test_an_interrupted_search_goes_on(tmp_path, monkeypatch):
    timed, real = [], design_steps.compiled_time

    def twice(network, config, n_lut):
        if len(timed) == 2:
            raise KeyboardInterrupt
        timed.append(config.hash)
        return real(network, config, n_lut)

    with monkeypatch.context() as patched:
        patched.setattr(design_steps, "compiled_time", twice)
        with pytest.raises(KeyboardInterrupt):
            design("lenet5", tmp_path / "out", QUICK)
    assert len(timed) == 2
    monkeypatch.setattr(design_steps, "branch_and_bound", None)
    done = []
    monkeypatch.setattr(design_steps, "compiled_time", lambda *args: done.append(args) or real(*args))
    whole = design("lenet5", tmp_path / "out", QUICK)
    assert len(done) == len(whole.summary.contenders) - 2


def test_a_folder_of_something_else_is_left_alone(found, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputExists, match="is not empty and nothing in it was changed"):
        design("lenet5", tmp_path, QUICK)
    with pytest.raises(OutputExists, match=r"holds another search \(design of lenet5 on xc7z020"):
        design("resnet8", found.folder, QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_bits_are_chosen_within_a_loss(tmp_path):
    options = dataclasses.replace(QUICK, weight_bits=(2, 4), like_weight_bits=3.0)
    summary = design("lenet5", tmp_path / "out", options).summary
    assert summary.loss <= bit_space(known_layers("lenet5"), options).loss_like(3.0) * (1 + 1e-9)
    assert (summary.loss_kind, summary.minimised) == ("proxy", "cycles")
    assert 2 <= summary.mean_weight_bits <= 4
    assert summary.bound <= summary.least_cycles
    assert [point.loss for point in summary.front] == sorted(point.loss for point in summary.front)
    assert "proxy" in json.loads((tmp_path / "out" / "design.json").read_text())["loss_kind"]


def test_least_loss_within_a_latency(tmp_path, found):
    options = dataclasses.replace(QUICK, goal="accuracy", weight_bits=(2, 4), max_ms=1.2 * found.summary.total_ms)
    summary = design("lenet5", tmp_path / "out", options).summary
    assert summary.minimised == "loss"
    assert summary.ms(summary.least_cycles) <= options.max_ms
    assert summary.bound <= summary.loss * (1 + 1e-9)


def test_what_cannot_be_had_is_said(tmp_path):
    part = dataclasses.replace(device_table().part("xc7z020"), name="small", n_luts=9000)
    with pytest.raises(DoesNotFit, match="no build of the grid fits small and holds every layer of lenet5"):
        design("lenet5", tmp_path / "out", dataclasses.replace(QUICK, part=part))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"goal": "speed"}, "goal must be one of latency, fps, accuracy, not 'speed'"),
        ({"goal": "accuracy"}, "goal accuracy needs widths to choose from, such as --bits 2..4/4"),
        ({"weight_bits": (2, 4)}, "max-loss must be given where bits are chosen"),
        ({"max_loss": 0.1}, "max-loss must be left out where there are no bits to choose"),
        ({"max_ms": 3.0}, "max-latency must be left out with goal latency, which minimises it"),
        ({"solvers": ("luck",)}, "solver must be one of exact, annealing, ddpg, evolution, random, tabu, tpe, not luck"),
        ({"bandwidth_gb_per_s": 0.0}, "bandwidth must be above 0 GB/s and finite, not 0"),
        ({"memory_efficiency": 1.5}, "memory efficiency must be above 0 % and at most 100 %, not 150 %"),
    ],
)
def test_wrong_options_are_refused(wrong, sentence):
    with pytest.raises(ConfigError) as error:
        DesignOptions(**wrong)
    assert sentence in str(error.value)
