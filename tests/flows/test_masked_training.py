"""Training before channels are removed: when it plans, on which weights, and what becomes of it in a run."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

import silicut
from silicut.compress import pruned
from silicut.flows import masked_training
from silicut.flows.masked_training import MaskedTraining, MaskSchedule, train_masked
from silicut.flows.pruning_problem import Subject
from silicut.graph import capture, to_module
from silicut.records import Cache, ConfigError, DoesNotFit, Journal
from silicut.training import RECOVERY, Recipe
from silicut.zoo.data.loaders import LoaderData

RECIPE = Recipe(epochs=2, batch_size=32, learning_rate=0.05, distil_weight=0.5, precision="fp32")
STEPS = 8  # of an epoch of 256 images


@given(
    epochs=st.integers(1, 40),
    milestones=st.integers(1, 12),
    soft_epochs=st.integers(0, 9),
    soft_steps=st.integers(1, 50),
    limit=st.floats(0.05, 0.95),
)
def test_a_schedule_uses_its_epochs_and_ends_at_the_budget(epochs, milestones, soft_epochs, soft_steps, limit):
    milestones = min(milestones, epochs)
    schedule = MaskSchedule(epochs=epochs, milestones=milestones, soft_epochs=soft_epochs, soft_steps=soft_steps)
    assert schedule.n_masked + schedule.n_final == epochs + soft_epochs
    assert schedule.n_final >= 1
    plans = schedule.plans(10, limit)
    assert bool(plans) == bool(schedule.n_masked)
    steps, fracs = list(plans), np.array(list(plans.values()))
    assert steps == sorted(steps)
    assert all(0 <= step < 10 * schedule.n_masked for step in steps)
    assert not steps or steps[0] == 0
    assert (np.diff(fracs) <= 0).all()
    assert all(limit <= frac < 1 for frac in fracs)
    before = fracs[: milestones - 1]
    np.testing.assert_allclose(np.log(before), np.log(limit) * np.arange(1, milestones) / milestones)
    assert (fracs[milestones - 1 :] == limit).all()
    assert len(fracs) == milestones - 1 + -(-10 * soft_epochs // soft_steps)


def test_wrong_schedules_are_all_named():
    wrong = {"milestones": 9, "soft_epochs": -1, "soft_steps": 0}
    with pytest.raises(ConfigError) as error:
        silicut.PruneOptions(recipe=RECOVERY, **wrong)
    assert error.value.problems == (
        "milestones must be from 1 to the number of epochs (8), not 9",
        "soft_epochs must be 0 or more, not -1",
        "soft_steps must be 1 or more, not 0",
    )
    with pytest.raises(ConfigError, match=r"^milestones and soft_epochs must come with a recipe and its epochs, not"):
        silicut.PruneOptions(recipe=None, soft_epochs=1)


@pytest.fixture(scope="module")
def data():
    return LoaderData("tiny", *tiny.loaders())


def how(plan, data, **more):
    schedule = MaskSchedule(epochs=2, milestones=2, soft_epochs=1, soft_steps=5)
    return MaskedTraining(schedule=schedule, limit_frac=0.25, plan=plan, recipe=RECIPE, data=data, **more)


def test_plans_are_made_on_the_weights_trained_so_far(data):
    model = tiny.build()
    before, subject, asked = copy.deepcopy(model), Subject.of(capture(model, tiny.example())), []
    kept = [{"stem": (0, 1, 2)}, {"stem": (5,), "block.conv1": (0, 7)}, {"block.conv1": (1, 2)}]

    def plan(now, limit_frac):
        asked.append((now.network.weights_hash, now.folded.weights_hash, limit_frac))
        return kept[len(asked) - 1], ("block",) if len(asked) == 3 else ()

    trained, masked, results = train_masked(model, subject, how(plan, data, teacher=model))
    assert [frac for _, _, frac in asked] == [0.5, 0.25, 0.25]
    assert asked[0][:2] == (subject.network.weights_hash, subject.folded.weights_hash)
    assert len({weights for weights, _, _ in asked} | {trained.network.weights_hash}) == 4
    assert len(results) == 2
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True))
    assert (trained.channels, trained.blocks) == (subject.channels, subject.blocks)
    x, _ = tiny.images(8, 3)
    last = to_module(pruned(trained.network, kept[2] | {"block.conv1": range(32)}, ("block",)))
    torch.testing.assert_close(masked.eval()(x), last(x), rtol=1e-4, atol=1e-4)
    assert (trained.network.parameters["head.weight"] != subject.network.parameters["head.weight"]).all()


def test_masks_that_do_not_act_as_removal_are_refused(data, monkeypatch):
    monkeypatch.setattr(masked_training, "reader_masks", lambda *_: {})
    model = tiny.build()
    with pytest.raises(ConfigError, match=r"^milestones and soft_epochs must be left out for this network, whose layers"):
        train_masked(
            model, Subject.of(capture(model, tiny.example())), how(lambda *_: ({"stem": (0,)}, ()), data, teacher=model)
        )


MEASURING = silicut.MeasureOptions(n_rounds=10, max_rounds=20, refuse_frac=10.0, refuse_bias_frac=10.0)
OPTIONS = silicut.PruneOptions(
    value="log-energy", recipe=RECIPE, milestones=2, soft_epochs=1, soft_steps=5, is_dry_run=True, measuring=MEASURING
)


def prune(cache, folder, **more):
    more = {"budget": "60%", "options": OPTIONS, "data": tiny.loaders(), **more}
    return silicut.prune(tiny.build(), tiny.example(), folder=folder, cache=Cache(cache), **more)


@pytest.mark.needs_ort
def test_a_run_trains_with_masks_before_its_plan(tiny_run, tiny_cache, tmp_path):
    first = prune(tiny_cache, tmp_path / "run")
    steps = [event["step"] for event in Journal(tmp_path / "run" / "metrics.jsonl")]
    assert steps == ["works on", "quality: dense", "masked epoch 1", "masked epoch 2", "quality: masked", "plan", "values"]
    assert [result.epoch for result in first.masked_epochs] == [1, 2]
    assert [stage.name for stage in first.stages] == ["dense", "masked"]
    assert first.stages[1].n_correct > first.stages[0].n_correct
    assert first.plan.hashes["weights"] != first.dense.weights_hash
    trained = first.network.parameters["head.bias"]
    assert (trained != first.dense.parameters["head.bias"]).all()

    whole = prune(tiny_cache, tmp_path / "run", options=replace(OPTIONS, is_dry_run=False), resumes=True)
    assert whole.plan == first.plan
    assert whole.masked_epochs == first.masked_epochs
    assert [result.epoch for result in whole.epochs] == [1]
    checkpoint = json.loads((tmp_path / "run" / "checkpoint" / "training.json").read_text())
    assert len(checkpoint["results"]) == 1


@pytest.mark.needs_ort
def test_a_budget_out_of_reach_is_refused_before_training(tiny_run, tiny_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(masked_training, "fit", pytest.fail)
    with pytest.raises(DoesNotFit):
        prune(tiny_cache, tmp_path / "run", budget="0.1%")
    assert not (tmp_path / "run").exists()


@pytest.mark.needs_ort
def test_masks_need_data(tiny_run, tiny_cache, tmp_path):
    with pytest.raises(ConfigError, match=r"^milestones and soft_epochs must come with data, not without$"):
        prune(tiny_cache, tmp_path / "run", data=None)
