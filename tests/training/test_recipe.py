import math

import pytest

from silicut.records import BadFile, ConfigError
from silicut.training import RECOVERY, Recipe


def test_every_problem_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        Recipe(epochs=0, batch_size=1, learning_rate=math.nan, momentum=1, precision="int8")  # type: ignore[arg-type]
    assert caught.value.problems == (
        "epochs must be 1 or more, not 0",
        "batch_size must be 2 or more, not 1",
        "learning_rate must be above 0 and finite, not nan",
        "momentum must be from 0 to less than 1, not 1",
        "precision must be auto, bf16, fp16 or fp32, not 'int8'",
    )


@pytest.mark.parametrize("warmup_epochs", [-1, 3, math.nan])
def test_warmup_ends_before_training_does(warmup_epochs):
    with pytest.raises(ConfigError, match="warmup_epochs must be 0 or more and less than epochs"):
        Recipe(epochs=3, warmup_epochs=warmup_epochs)


def test_recipes_are_saved_and_loaded(tmp_path):
    recipe = Recipe(epochs=3, precision="bf16")
    assert Recipe.load(recipe.save(tmp_path / "recipe.json")) == recipe
    (tmp_path / "recipe.json").write_text('{"schema": "recipe/1", "epochs": 3, "lr": 1}')
    with pytest.raises(BadFile, match="lr"):
        Recipe.load(tmp_path / "recipe.json")


def test_the_learning_rate_rises_then_falls_to_zero():
    recipe = Recipe(epochs=8, learning_rate=0.4, warmup_epochs=2)
    rates = [recipe.learning_rate_at(epoch / 10) for epoch in range(81)]
    assert rates[:21] == pytest.approx([0.02 * i for i in range(21)])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert recipe.learning_rate_at(8) == pytest.approx(0)
    assert recipe.learning_rate_at(8.5) == pytest.approx(0)


def test_recovery_distils_at_a_small_rate():
    assert RECOVERY.distil_weight > 0
    assert 0.02 <= RECOVERY.learning_rate <= 0.05
