"""The page of a quantisation: whole, alone, and true to its record."""

import re
from dataclasses import replace

import pytest
from test_report_page import parsed

from silicut.report import QuantisationSummary, QuantisedLayer, Stage, render_quantisation
from silicut.report.quantisation import accuracy_text, headline, quantisation_view, weight_bits_text

pytest.importorskip("jinja2")

CONV = QuantisedLayer(
    name="conv<1>", kind="conv2d", n_weights=1000, weight_bits=4, n_weight_bits=4000, activation_bits=8, low=-1.5, high=2.5,
    read_low=-2.0, read_high=3.0, counts=(1, 90, 9, 0), noise_db=21.25,
)  # fmt: skip
FC = replace(CONV, name="fc", kind="linear", weight_bits=8, n_weight_bits=6000, noise_db=None)
SUMMARY = QuantisationSummary(
    network="net-1",
    command="silicut quantise --network net-1",
    created="2026-01-01T00:00:00",
    versions={"silicut": "0"},
    hashes={"bits": "abc"},
    methods={"ranges": "mse"},
    n_calibration=1234,
    stages=(
        Stage(name="float", n=1000, n_correct=900),
        Stage(name="integer", n=1000, n_correct=850, n_lost=60, n_gained=10),
    ),
    layers=(CONV, FC),
    output_noise_db=18.04,
)


def test_the_page_is_balanced_and_loads_nothing():
    page = render_quantisation(SUMMARY)
    found = parsed(page)
    assert (found.loaded, found.events) == ([], [])
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    assert page == render_quantisation(SUMMARY)


def test_the_page_says_what_the_record_says():
    page = render_quantisation(SUMMARY)
    for text in (
        "90.00",
        "85.00",
        "1,234 images",
        "conv&lt;1&gt;",
        "21.2 dB",
        "exact",
        "18.0",
        "\u22121.5 to 2.5",
        ">6.00<",
    ):
        assert text in page, text
    reach = re.search(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', page)
    assert [float(number) for number in reach.groups()] == [15.0, 120.0]  # of 150 pixels for -2..3


def test_sizes_and_accuracy_in_words():
    assert (SUMMARY.weight_bytes, SUMMARY.float_weight_bytes) == (1250.0, 8000.0)
    assert headline(SUMMARY) == "net-1 in integers: weights of 8.00\u00a0kB became 1.25\u00a0kB."
    assert accuracy_text(SUMMARY).startswith("Accuracy went from 90.00\u00a0% to 85.00\u00a0%: 5.00 points lost (95")
    same = replace(SUMMARY.stages[1], n_correct=899, n_lost=8, n_gained=7)
    assert "show no difference" in accuracy_text(replace(SUMMARY, stages=(SUMMARY.stages[0], same)))
    assert accuracy_text(replace(SUMMARY, stages=())) == "Accuracy was not counted."
    assert (weight_bits_text(CONV), weight_bits_text(FC)) == ("4", "6.00")
    assert parsed(render_quantisation(replace(SUMMARY, stages=(), output_noise_db=None)))
    assert quantisation_view(SUMMARY).renderables


def test_a_record_survives_its_file(tmp_path):
    assert QuantisationSummary.load(SUMMARY.save(tmp_path / "summary.json")) == SUMMARY
