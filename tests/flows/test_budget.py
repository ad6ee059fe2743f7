"""Budgets as people write them."""

import pytest

from silicut.flows.budget import Budget
from silicut.records import ConfigError


@pytest.mark.parametrize(
    ("text", "frac"),
    [("50%", 0.5), (" 12.5 % ", 0.125), ("3ms", 0.5), ("3 MS", 0.5), ("300us", 0.05), (".003s", 0.5), ("3.ms", 0.5)],
)
def test_fraction_of_a_dense_latency_of_6_ms(text, frac):
    assert Budget.parse(text).limit_frac(6.0) == pytest.approx(frac)


@pytest.mark.parametrize("text", ["", "fast", "50", "%", "-3ms", "3 m", "3ms!", "1e1ms", "nan%", "50 %%"])
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError) as caught:
        Budget.parse(text)
    assert str(caught.value) == f"latency must be like 50% or 3ms, not {text!r}"


@pytest.mark.parametrize("text", ["0%", "0ms", "100%", "250%", "0.0 s"])
def test_budgets_that_mean_nothing_are_refused(text):
    with pytest.raises(ConfigError) as caught:
        Budget.parse(text)
    assert str(caught.value) == f"latency must be above 0 and, in per cent, below 100, not {text!r}"


@pytest.mark.parametrize("text", ["50%", "3 ms", "0.3 ms", "33.3%"])
def test_in_words_it_reads_as_it_was_written(text):
    assert str(Budget.parse(text)) == text
    assert Budget.parse(str(Budget.parse(text))) == Budget.parse(text)
