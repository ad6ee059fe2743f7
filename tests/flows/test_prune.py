"""What `silicut.prune` takes and refuses; the walk through it is tests/test_tiny.py."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch import nn

import silicut
from silicut.flows.verify import Outcome
from silicut.graph.counting import n_macs
from silicut.records import Cache, ConfigError, DoesNotFit, Journal, NothingToPrune, TooNoisy, UnsupportedModel

pytestmark = pytest.mark.needs_ort

# A network of some 20 us on a machine that runs other tests: how sure its latency is does not matter here.
MEASURING = silicut.MeasureOptions(n_rounds=10, max_rounds=20, refuse_frac=10.0, refuse_bias_frac=10.0)
PLAN_ONLY = silicut.PruneOptions(recipe=None, is_dry_run=True, measuring=MEASURING)


class Named(nn.Module):
    """Takes two inputs, returns its logits by name, and holds constants that no state dict knows."""

    def __init__(self):
        super().__init__()
        self.tiny = tiny.build()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5), persistent=False)

    def forward(self, x, y):
        return {"logits": self.tiny(x + y - self.mean)}


def pruned(module, inputs, cache, **more):
    return silicut.prune(module, inputs, **{"budget": "60%", "options": PLAN_ONLY, **more}, cache=Cache(cache))


def test_loaders_are_data(tiny_run, tiny_cache):
    result = pruned(tiny.build(), tiny.example(), tiny_cache, data=tiny.loaders())
    assert [(stage.name, stage.n) for stage in result.stages] == [("dense", 64)]


def test_the_users_own_figure_is_the_quality(tiny_run, tiny_cache):
    result = pruned(tiny.build(), tiny.example(), tiny_cache, evaluate=lambda module: module.head.out_features)
    assert [(stage.name, stage.score, stage.n) for stage in result.stages] == [("dense", 4.0, None)]


def test_without_data_the_network_comes_back_pruned(tiny_run, tiny_cache):
    options = silicut.PruneOptions(measuring=MEASURING)
    module = tiny.build()
    result = pruned(module, tiny.example(), tiny_cache, options=options)
    assert result.stages == result.epochs == ()
    assert result.agreement.is_close
    kept = list(result.plan.kept["block.conv1"])
    assert torch.equal(result.module.block.conv1.bias, module.block.conv1.bias[kept])


def test_several_inputs_named_outputs_and_constants(tmp_path, tiny_cache):
    inputs = [tiny.example(), tiny.example()]
    result = pruned(Named().eval(), inputs, tiny_cache, options=silicut.PruneOptions(measuring=MEASURING))
    result.save(tmp_path / "saved")
    again, expected = silicut.load(tmp_path / "saved")(*inputs), result.module(*inputs)
    assert list(again) == list(expected) == ["logits"]
    assert torch.allclose(again["logits"], expected["logits"], atol=1e-5)


def too_slow(monkeypatch):
    """Let every plan seem to measure 5 % above its budget."""
    from silicut.flows import verify

    run = verify.Verifier.run

    def slower(self, budget):
        outcome = run(self, budget)
        ratio = 1.05 * outcome.limit_frac
        rounds = tuple(replace(r, ratio=ratio) if r.levels == outcome.levels else r for r in outcome.rounds)
        return replace(outcome, is_met=False, rounds=rounds)

    monkeypatch.setattr(verify.Verifier, "run", slower)


def test_a_plan_above_its_budget_stops_the_run_unless_it_is_accepted(tiny_run, tiny_cache, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        too_slow(patch)
        with pytest.raises(DoesNotFit) as caught:
            pruned(tiny.build(), tiny.example(), tiny_cache, folder=folder)
    n_rounds = len(Outcome.from_json(step(folder, "plan")).rounds)
    assert str(caught.value) == (
        f"no plan was found that measures within 60% in {n_rounds} rounds: the nearest takes 63.0 % of the dense latency; "
        "ask for at least that, or accept it (--accept-nearest, accepts_nearest=True)"
    )
    accepting = replace(PLAN_ONLY, accepts_nearest=True)
    result = pruned(tiny.build(), tiny.example(), tiny_cache, folder=folder, resumes=True, options=accepting)
    assert result.outcome.chosen.ratio == pytest.approx(0.63)
    assert not result.outcome.is_within


def step(folder, name):
    return next(event["result"] for event in Journal(folder / "metrics.jsonl") if event["step"] == name)


def test_a_final_measurement_that_is_too_noisy_loses_nothing(tiny_run, tiny_cache, tmp_path, monkeypatch):
    def noisy(*_, **__):
        raise TooNoisy("the machine is busy")

    options, folder = replace(PLAN_ONLY, is_dry_run=False), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("silicut.flows.run.Run._final_measurement", noisy)
        with pytest.raises(TooNoisy) as caught:
            pruned(tiny.build(), tiny.example(), tiny_cache, folder=folder, options=options)
    assert str(caught.value) == (
        f"the machine is busy. The pruned network is finished and lies in {folder}; only its final measurement is missing: "
        "the same command with --resume (resumes=True) measures again"
    )
    assert (folder / "model.onnx").is_file()
    result = pruned(tiny.build(), tiny.example(), tiny_cache, folder=folder, options=options, resumes=True)
    assert result.measurement.timings["pruned"].ratio > 0


def test_limits_of_sizes_hold(tiny_run, tiny_cache):
    options = replace(PLAN_ONLY, max_parameters="40%", max_macs="0.6M", solver="lagrangian")
    result = pruned(tiny.build(), tiny.example(), tiny_cache, options=options)
    assert result.network.n_parameters() <= 0.4 * result.dense.n_parameters()
    assert n_macs(result.network) <= 0.6e6


def test_the_fastest_network_within_a_drop(tiny_run, tiny_cache, tmp_path):
    """The quality is the share of parameters that are left."""

    def share(module):
        return sum(p.numel() for p in module.parameters()) / sum(p.numel() for p in tiny.build().parameters())

    folder = tmp_path / "run"
    result = pruned(tiny.build(), tiny.example(), tiny_cache, budget=None, max_drop=0.7, evaluate=share, folder=folder)
    assert result.outcome.limit_frac == min(drop.limit_frac for drop in result.drops if drop.is_allowed)
    assert len(result.drops) == 5
    assert all(drop.is_allowed == (drop.drop <= 0.7) for drop in result.drops)
    again = pruned(
        tiny.build(), tiny.example(), tiny_cache, budget=None, max_drop=0.7, evaluate=share, folder=folder, resumes=True
    )
    assert again.drops == result.drops


REFUSED = [
    ({"max_drop": 1.0}, ConfigError, "latency must be left out where a drop is given, not '60%'$"),
    ({"budget": None, "max_drop": -1.0}, ConfigError, "max_drop must be 0 or more, not -1.0$"),
    (
        {"budget": None, "max_drop": 1.0},
        ConfigError,
        r"max_drop must come with data \(or a function that evaluates\), not without$",
    ),
    ({"budget": 50}, ConfigError, "latency must be like 50% or 3ms, not 50$"),
    (
        {"data": [tiny.example()]},
        ConfigError,
        r"data must be a TrainingData or \(training loader, evaluation loader\), not list$",
    ),
    ({"evaluate": lambda _: float("nan")}, ConfigError, "evaluate must return a finite number, not nan$"),
    ({"engine": "tvm"}, ConfigError, "engine must be 'onnxruntime' or .* not 'tvm'$"),
    (
        {"options": silicut.PruneOptions(value="taylor")},
        ConfigError,
        "value 'taylor' must come with training data, not without; give data or choose 'sp-lamp'$",
    ),
    (
        {"options": silicut.PruneOptions(restrictions=silicut.Restrictions(freeze=("heda",)))},
        ConfigError,
        "freeze pattern 'heda' must match a layer, such as 'block.conv1'$",
    ),
    (
        {"options": silicut.PruneOptions(restrictions=silicut.Restrictions(freeze=("*",)))},
        NothingToPrune,
        "the freeze patterns leave no channel and no residual block to remove; freeze fewer layers$",
    ),
]


@pytest.mark.parametrize(("more", "error", "message"), REFUSED)
def test_what_is_refused_before_anything_is_measured(more, error, message, tmp_path):
    with pytest.raises(error, match=message):
        pruned(tiny.build(), tiny.example(), tmp_path / "cache", folder=tmp_path / "run", **more)
    assert list(tmp_path.iterdir()) == []


def test_networks_that_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"inputs must be float32, not float64; convert them and the network with \.float"):
        pruned(tiny.build().double(), tiny.example().double(), tmp_path)
    with pytest.raises(ConfigError, match="must return one tensor to be trained and evaluated on data, not a dict; wrap it"):
        pruned(Named().eval(), [tiny.example(), tiny.example()], tmp_path, data=tiny.loaders())
    with pytest.raises(UnsupportedModel, match=r"torch\.export cannot trace the network"):
        pruned(tiny.build(), torch.zeros(1, 1, 8, 8), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_options_are_all_named():
    with pytest.raises(
        ConfigError,
        match=r"value must be one of .*; solver must be one of .*; time_limit_s must be above 0.*; max-macs must",
    ):
        silicut.PruneOptions(value="size", solver="luck", time_limit_s=0, max_macs="few")
