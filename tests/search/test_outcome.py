"""Outcomes and their order."""

import itertools
import math
import re

import pytest

from silicut.records import ConfigError
from silicut.search import Described, Outcome
from silicut.search.reinforcement import reward

BROKEN = ("too large",)
FROM_BEST = [
    Outcome(-3.0), Outcome(0.0), Outcome(8.0), Outcome(1.0, 0.1, BROKEN), Outcome(math.inf, 0.1, BROKEN),
    Outcome(0.5, 0.2, BROKEN),
]  # fmt: skip


def test_limits_count_first_then_cost():
    for better, worse in itertools.combinations(FROM_BEST, 2):
        assert better.is_better_than(worse)
        assert not worse.is_better_than(better)
    assert all(outcome.is_better_than(None) and not outcome.is_better_than(outcome) for outcome in FROM_BEST)


@pytest.mark.parametrize("reference", [Outcome(8.0), Outcome(-3.0), Outcome(0.0), None])
def test_what_is_better_never_earns_less(reference):
    earned = [reward(outcome, reference) for outcome in FROM_BEST]
    assert earned == sorted(earned, reverse=True)
    assert all(number > -math.inf for number in earned)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((math.nan,), "cost must be finite, or infinite where a limit is broken, not nan"),
        ((math.inf,), "cost must be finite, or infinite where a limit is broken, not inf"),
        ((1.0, -0.5, BROKEN), "violation must be a finite number of at least 0, not -0.5"),
        ((1.0, math.inf, BROKEN), "violation must be a finite number of at least 0, not inf"),
        ((1.0, 0.5), "reasons must be given exactly where violation is above 0, not ()"),
        ((1.0, 0.0, BROKEN), "reasons must be given exactly where violation is above 0, not ('too large',)"),
    ],
)
def test_messages(arguments, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        Outcome(*arguments)


def test_features_are_optional():
    class Plain:
        pass

    class WithFeatures:
        features = {"bits": (1.0,)}  # noqa: RUF012

    assert isinstance(WithFeatures(), Described)
    assert not isinstance(Plain(), Described)
