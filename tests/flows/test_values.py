"""Values by name, what each is worth for this network, and which one is chosen."""

from dataclasses import replace

import pytest
import tiny

from silicut.compress import Restrictions, value_of
from silicut.flows.planning import Planner
from silicut.flows.pruning_problem import Subject
from silicut.flows.values import MEASURED, QUICK, VALUES, ValueOptions, Values, compare_values
from silicut.graph import capture
from silicut.records import ConfigError, Journal, silent
from silicut.search import Variable
from silicut.zoo import open_data

VARIABLES = tuple(Variable(name, (4, 8, 16, 24, 32)) for name in ("stem", "block.conv1"))


@pytest.fixture(scope="module")
def subject():
    return Subject.of(capture(tiny.build(), tiny.example()))


@pytest.fixture(scope="module")
def data():
    return open_data(tiny.DATA)


@pytest.fixture
def values(subject, data, tmp_path):
    def made(**more):
        arguments = {"data": data, "options": ValueOptions(), "loss": None, "file": tmp_path / "d.jsonl", **more}
        return Values(Planner(subject, Restrictions()), VARIABLES, progress=silent, **arguments)

    return made


def test_every_value_scores_every_group(values, subject):
    made = values()
    for name in VALUES:
        scores = made.scores(name)
        assert set(scores) == {group.name for group in subject.channels.groups}
        assert made.scores(name) is scores
    assert set(QUICK) | set(MEASURED) == set(VALUES)


def test_unknown_values_and_values_that_need_data(values):
    with pytest.raises(
        ConfigError, match=r"^value must be one of sp-lamp, log-energy, taylor, learned, sensitivity, not 'l1'$"
    ):
        values().scores("l1")
    for name in ("taylor", *MEASURED):
        with pytest.raises(ConfigError, match=f"^value '{name}' must come with training data, not without; give data or "):
            values(data=None).scores(name)
    assert set(values(data=None).scores("sp-lamp"))


def test_sensitivity_is_what_was_measured(values, subject):
    made = values()
    scores = made.scores("sensitivity")
    dense = {v.name: v.levels[-1] for v in VARIABLES}
    half = dense | {"stem": 16}
    assert value_of(scores, half) == pytest.approx(-made._divergence("taylor", half))
    assert value_of(scores, dense) == 0.0
    removed = dense | {"block.conv1": 0}
    assert value_of(scores, removed) <= -made._divergence("taylor", removed) + 1e-12


def test_measured_values_take_the_order_of_their_base(values):
    made = values(options=ValueOptions(base="sp-lamp"))
    for name in MEASURED:
        for group, score in made.scores(name).items():
            assert list(score.order) == list(made.scores("sp-lamp")[group].order)


def test_nothing_is_measured_twice_not_even_after_an_interruption(values, tmp_path):
    first = values()
    first.scores("sensitivity")
    lines = list(Journal(tmp_path / "d.jsonl"))
    assert lines
    again = values()
    again.__dict__["_divergence_of"] = None  # whatever is measured now fails
    assert all(
        (again.scores("sensitivity")[name].values == score.values).all()
        for name, score in first.scores("sensitivity").items()
    )
    assert list(Journal(tmp_path / "d.jsonl")) == lines


def test_rank_correlations_lie_between_minus_1_and_1(values):
    made = values()
    found = {name: made.rank_correlation(name) for name in VALUES}
    assert all(-1 <= each <= 1 for each in found.values())
    assert found["sensitivity"] > 0.5  # it was measured on the very network


def test_all_values_are_compared_and_the_slow_ones_left_out_in_time(values):
    levels = {"stem": 16, "block.conv1": 16}
    asked = []
    found = compare_values(values(), lambda name: asked.append(name) or levels, None, silent)
    assert list(found["accuracy_frac"]) == list(found["rank_correlation"]) == asked == list(VALUES)
    events = []
    hurried = values(options=replace(ValueOptions(), limit_s=0.0), file=None)
    found = compare_values(hurried, lambda _: levels, None, events.append)
    assert list(found["accuracy_frac"]) == list(QUICK)
    assert found["rank_correlation"] == {}
    assert [e.note.split(":")[1].split(",")[0] for e in events if "left out" in e.note] == [" left out"] * 2
