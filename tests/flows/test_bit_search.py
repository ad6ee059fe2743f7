"""Bits searched within a budget, as a flow."""

import re

import pytest
import tiny
import torch

from silicut.compress.quantisation import BitPlan, LayerBits, find_sites, quantisable
from silicut.compress.quantisation.bit_search import bit_operations, weight_bits
from silicut.compress.quantisation.bits import BitBudget
from silicut.compress.quantisation.post_training import Methods
from silicut.flows.bit_search import measured_sensitivity, searched_bits
from silicut.flows.quantise import QuantiseOptions, quantise
from silicut.graph import capture
from silicut.records import ConfigError, DoesNotFit


@pytest.fixture(scope="module")
def sites():
    return find_sites(quantisable(capture(tiny.build(), tiny.example())))


@pytest.fixture(scope="module")
def sensitivity(sites):
    return measured_sensitivity(sites, list(tiny.images(300, 3)[0].split(64)), Methods(ranges="mse"))


def test_no_more_than_256_images_are_taken(sensitivity):
    assert sensitivity.n_images == 256
    assert sensitivity.bits == (2, 3, 4, 5, 6, 7, 8)


def test_weights_lose_less_where_they_are_rounded_adaptively(sites, sensitivity):
    """As they will be: tensors lose the same, weights of few bits less in all, those of many bits the same."""
    images = list(tiny.images(300, 3)[0].split(64))
    found = measured_sensitivity(sites, images, Methods(rounding="adaptive"))
    assert found.activations == sensitivity.activations
    narrow, wide = ([sum(loss[i] for loss in s.weights.values()) for s in (found, sensitivity)] for i in (1, 6))
    assert narrow[0] < 0.8 * narrow[1]
    assert wide[0] == wide[1]


@pytest.mark.parametrize("text", ["bops:4/4", "bops:3/6", "bops:20%", "size:40%", "size:3/8"])
@pytest.mark.parametrize("edge_bits", [None, 8])
def test_the_plan_is_within_its_budget(sites, sensitivity, text, edge_bits):
    budget = BitBudget.parse(text)
    cost = bit_operations if budget.resource == "bops" else weight_bits
    found = searched_bits(sites, sensitivity, budget, edge_bits)
    edges = {} if edge_bits is None else dict.fromkeys(("stem", "head"), LayerBits(8, 8))
    whole = BitPlan(default=budget.uniform, layers=edges)
    assert cost(sites, found.plan) <= budget.frac * cost(sites, whole) * (1 + 1e-9)
    if edge_bits:
        assert str(found.plan.of("stem")) == str(found.plan.of("head")) == "8/8"


def test_a_searched_plan_loses_no_more_than_the_uniform_one_by_its_own_measure(sites, sensitivity):
    found = searched_bits(sites, sensitivity, BitBudget.parse("bops:4/4"))
    at = sensitivity.bits.index(4)
    uniform = sum(loss[at] for losses in (sensitivity.weights, sensitivity.activations) for loss in losses.values())
    assert -found.solution.value <= uniform


def test_a_budget_that_is_too_small_names_the_smallest(sites, sensitivity):
    with pytest.raises(DoesNotFit, match=r"the smallest reachable cost is size:25.0%, above its budget; raise it to that"):
        searched_bits(sites, sensitivity, BitBudget("size", frac=0.2))
    searched_bits(sites, sensitivity, BitBudget.parse("size:25.0%"))


@pytest.mark.parametrize("resource", ["bops", "size"])
@pytest.mark.parametrize("edge_bits", [None, 8, 5, 2])
def test_the_budget_that_a_refusal_names_is_enough(sites, sensitivity, resource, edge_bits):
    with pytest.raises(DoesNotFit) as caught:
        searched_bits(sites, sensitivity, BitBudget(resource, frac=0.01), edge_bits)
    (named,) = re.findall(rf"{resource}:[\d.]+%", str(caught.value))
    searched_bits(sites, sensitivity, BitBudget.parse(named), edge_bits)


def test_quantise_takes_a_budget():
    images = tiny.images(64, 5)[0]
    options = QuantiseOptions(methods=Methods(ranges="mse", equalises=True, corrects_biases=True))
    result = quantise(tiny.build(), images, BitBudget("size", frac=0.5), options=options)
    assert result.search is not None
    assert result.plan == result.search.plan
    with torch.no_grad():
        assert result.module(images).shape == (64, 4)
    assert quantise(tiny.build(), images, "8/8").search is None


def test_wrong_budgets_are_refused():
    with pytest.raises(ConfigError) as caught:
        BitBudget("power", frac=0.0)
    assert caught.value.problems == (
        "the resource of a budget must be bops or size, not 'power'",
        "a budget must be above 0 % and at most 100 % of 8/8, not 0%",
    )
