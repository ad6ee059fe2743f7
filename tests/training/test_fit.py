import copy
import json
import time

import numpy as np
import pytest
import torch
from blobs import blobs, small_network
from torch import nn
from torch.nn import functional

from silicut.records import BadFile, ConfigError, OutcomeError
from silicut.training import (
    Accuracy,
    Recipe,
    batch_loss,
    distillation_loss,
    evaluate,
    fit,
    label_loss,
    optimizer_for,
    top1,
)
from silicut.training.precision import chosen_precision

RECIPE = Recipe(epochs=4, batch_size=20, learning_rate=0.2, warmup_epochs=0.5, precision="fp32")


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_small_network_learns():
    module, data = small_network(), blobs()
    results = fit(module, data, RECIPE)
    assert [result.epoch for result in results] == [1, 2, 3, 4]
    assert results[-1].loss < results[0].loss
    assert evaluate(module, data).accuracy_frac > 0.9
    assert module.training


def test_the_same_seed_gives_the_same_weights_and_global_state_is_kept():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, other, third = small_network(), small_network(), small_network()
    fit(one, blobs(), RECIPE)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    fit(other, blobs(), RECIPE)
    fit(third, blobs(), Recipe(**{**vars(RECIPE), "seed": 1}))
    assert same(one, other)
    assert not same(one, third)


def test_training_ends_with_averaged_weights():
    """Against the averages written out, with weights watched from outside."""
    module, data = small_network(), blobs()
    recipe = Recipe(**{**vars(RECIPE), "epochs": 1, "ema_decay": 0.3})
    seen = [copy.deepcopy(module)]
    fit(module, data, recipe, progress=lambda event: seen.append(copy.deepcopy(module)) if event.n_done else None)
    plain = small_network()
    fit(plain, data, Recipe(**{**vars(RECIPE), "epochs": 1}))
    assert same(seen[-1], plain)
    for name in ("0.weight", "1.running_var"):
        average = seen[0].state_dict()[name]
        for n, each in enumerate(seen[1:], 1):
            decay = min(0.3, (1 + n) / (10 + n))
            average = decay * average + (1 - decay) * each.state_dict()[name]
        torch.testing.assert_close(module.state_dict()[name], average)
    assert module.state_dict()["1.num_batches_tracked"] == 5


class Killed(Exception):
    pass


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_resuming_equals_not_having_stopped(tmp_path, ema_decay):
    recipe = Recipe(**{**vars(RECIPE), "ema_decay": ema_decay})

    def kill_in_epoch_3(event):
        if event.stage == "epoch 3/4" and event.n_done == 2:
            raise Killed

    whole, resumed = small_network(), small_network()
    fit(whole, blobs(), recipe)
    with pytest.raises(Killed):
        fit(resumed, blobs(), recipe, folder=tmp_path, progress=kill_in_epoch_3)
    fresh, seen = small_network(), []
    results = fit(fresh, blobs(), recipe, folder=tmp_path, on_epoch=seen.append)
    assert [result.epoch for result in seen] == [3, 4]
    assert [result.epoch for result in results] == [1, 2, 3, 4]
    assert same(fresh, whole)
    again = small_network(seed=9)
    assert fit(again, blobs(), recipe, folder=tmp_path) == results
    assert same(again, whole)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_of_another_training_is_refused(tmp_path):
    fit(small_network(), blobs(), RECIPE, folder=tmp_path)
    with pytest.raises(BadFile, match="another recipe, network or data set; choose another folder"):
        fit(small_network(), blobs(), Recipe(**{**vars(RECIPE), "learning_rate": 0.1}), folder=tmp_path)
    with pytest.raises(BadFile, match="the training of another network"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(72, 3)), blobs(), RECIPE, folder=tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    fit(small_network(), blobs(), RECIPE, folder=tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadFile, match="cut off"):
        fit(small_network(), blobs(), RECIPE, folder=tmp_path)
    pointer = tmp_path / "training.json"
    pointer.write_text(json.dumps({"key": json.loads(pointer.read_text())["key"]}))
    with pytest.raises(BadFile, match="not a training checkpoint; delete"):
        fit(small_network(), blobs(), RECIPE, folder=tmp_path)


def test_diverged_training_is_an_error_with_a_way_out():
    def loss(logits, labels):
        return functional.cross_entropy(logits, labels) * float("inf")

    with pytest.raises(OutcomeError, match=r"the loss became inf in step 1 of epoch 1 .* use a smaller learning_rate"):
        fit(small_network(), blobs(), RECIPE, loss=loss)


def test_progress_counts_the_steps():
    events = []
    fit(small_network(), blobs(), RECIPE, progress=events.append)
    assert [(event.n_done, event.n_total) for event in events if event.stage == "epoch 1/4"] == [(i, 5) for i in range(6)]


def test_vectors_are_not_decayed():
    module = small_network()
    decayed, spared = optimizer_for(module, RECIPE).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (5e-4, 0)
    assert {id(p) for p in decayed["params"]} == {id(module[0].weight), id(module[6].weight)}
    assert len(spared["params"]) == 4


def test_one_step_is_nesterov_sgd():
    """Against the update written out: v = g, w -= lr (g + momentum v), on the first step."""
    recipe = Recipe(epochs=1, batch_size=8, learning_rate=0.1, momentum=0.5, weight_decay=0.0, precision="fp32")
    data = blobs(n_training=8, crop_padding=0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
    before = copy.deepcopy(module)
    fit(module, data, recipe)
    ((x, y),) = data.training_batches(0, 8, 0)
    functional.cross_entropy(before(x), y).backward()
    learning_rate = recipe.learning_rate_at(0.5)
    expected = before[1].weight - learning_rate * 1.5 * before[1].weight.grad
    torch.testing.assert_close(module[1].weight, expected)


def test_distillation_is_the_kl_divergence():
    logits, teacher = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    p, q = (np.exp(t.numpy() / 3) / np.exp(t.numpy() / 3).sum(1, keepdims=True) for t in (teacher, logits))
    expected = 9 * (p * np.log(p / q)).sum(1).mean()
    assert float(distillation_loss(logits, teacher, 3.0)) == pytest.approx(expected)


def test_the_loss_is_shared_between_labels_and_teacher():
    module, teacher = small_network().eval(), small_network(seed=1).eval()
    ((x, y),) = blobs().evaluation_batches(64)

    def mixed(weight):
        recipe = Recipe(epochs=1, distil_weight=weight)
        return float(batch_loss(module, x, y, recipe=recipe, loss=label_loss(recipe), teacher=teacher).detach())

    assert mixed(0.25) == pytest.approx(0.75 * mixed(0) + 0.25 * mixed(1), rel=1e-5)
    assert mixed(0) == pytest.approx(float(functional.cross_entropy(module(x), y).detach()))


def test_the_teacher_is_left_as_it_was():
    teacher = small_network(seed=1).train()
    before = copy.deepcopy(teacher)
    student = small_network()
    fit(student, blobs(), Recipe(epochs=1, batch_size=32, distil_weight=1.0, precision="fp32"), teacher=teacher)
    assert same(teacher, before)
    assert teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_student_comes_to_agree_with_its_teacher():
    teacher, student, data = small_network(), small_network(seed=2), blobs()
    fit(teacher, data, RECIPE)
    recipe = Recipe(epochs=20, batch_size=20, learning_rate=0.2, distil_weight=1.0, precision="fp32")
    fit(student, data, recipe, teacher=teacher)
    ((x, _),) = data.evaluation_batches(64)
    teacher.eval(), student.eval()
    assert (student(x).argmax(1) == teacher(x).argmax(1)).float().mean() > 0.9


def test_auto_takes_what_is_measured_faster():
    def fast(quick):
        return lambda precision: time.sleep(0.001 if precision == quick else 0.01)

    cpu = torch.device("cpu")
    assert chosen_precision("auto", cpu, fast("bf16")) == "bf16"
    assert chosen_precision("auto", cpu, fast("fp32")) == "fp32"
    assert chosen_precision("bf16", cpu, pytest.fail) == "bf16"
    assert chosen_precision("fp32", cpu, pytest.fail) == "fp32"


def test_half_precision_is_refused_where_gradients_cannot_be_scaled():
    recipe = Recipe(**{**vars(RECIPE), "precision": "fp16"})
    with pytest.raises(
        ConfigError, match=r"^precision must be auto, bf16 or fp32 on cpu, not 'fp16'; it needs a CUDA device$"
    ):
        fit(small_network(), blobs(), recipe)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="float16 training needs a CUDA device")
def test_half_precision_learns_with_scaled_gradients(tmp_path):
    recipe = Recipe(**{**vars(RECIPE), "precision": "fp16"})
    module, data = small_network().cuda(), blobs()
    assert fit(module, data, recipe, folder=tmp_path)[-1].precision == "fp16"
    assert evaluate(module, data).accuracy_frac > 0.9
    assert json.loads((tmp_path / "training.json").read_text())["scaler"]["scale"] > 0


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_reduced_precision_learns_and_timing_changes_nothing(precision):
    module, data = small_network(), blobs()
    results = fit(module, data, Recipe(**{**vars(RECIPE), "precision": precision}))
    assert evaluate(module, data).accuracy_frac > 0.9
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
    if results[0].precision == "fp32":
        plain = small_network()
        fit(plain, data, RECIPE)
        assert same(module, plain)


def test_evaluation_is_per_image_and_keeps_the_mode():
    module, data = small_network().train(), blobs()
    accuracy = evaluate(module, data, batch_size=10)
    module.eval()
    expected = next(top1(module(x), y) for x, y in data.evaluation_batches(64)).numpy()
    assert np.array_equal(accuracy.is_correct, expected)
    assert (accuracy.n, accuracy.n_correct) == (64, expected.sum())
    module.train()
    evaluate(module, list(data.evaluation_batches(64)))
    assert module.training


def test_evaluation_takes_another_metric_and_refuses_a_wrong_one():
    def top2(logits, labels):
        return (logits.topk(2).indices == labels[:, None]).any(1)

    module, data = small_network(), blobs()
    assert evaluate(module, data, top2).n_correct >= evaluate(module, data).n_correct
    with pytest.raises(ValueError, match="one value an image"):
        evaluate(module, data, lambda logits, labels: top2(logits, labels).float().mean())
    with pytest.raises(ValueError, match="at least one evaluation image"):
        evaluate(module, [])
    assert Accuracy(np.array([True, False])).accuracy_frac == 0.5
