"""The page of a simulation: whole, alone, and true to its record."""

import re
from dataclasses import replace

import pytest
from test_report_page import parsed

from silicut.report.compilation import AssignedOperator
from silicut.report.estimate import PartEstimate, ResourceEstimate
from silicut.report.figures.stages import section_numbers
from silicut.report.published import PUBLISHED, published_for
from silicut.report.simulation import STAGES, SimulatedLayer, SimulationSummary, Span, StageUse
from silicut.report.simulation_page import render_simulation
from silicut.report.terminal_compilation import partition_view
from silicut.report.terminal_simulation import headline, simulation_view

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

CONV = SimulatedLayer(
    name="conv<1>", kind="product", w_bits=4, a_bits=8, n_lut=24, n_dsp=8, n_macs=64_000, start=0, end=900, added=900,
    array_cycles=800, busy={"lut.execute": 700, "dsp.execute": 650, "memory": 100}, n_bytes={"weights": 400, "rows": 1200},
    peak_ops=320.0,
)  # fmt: skip
POOL = SimulatedLayer(
    name="pool", kind="vector", a_bits=8, start=500, end=1000, added=100, busy={"post": 90}, n_bytes={"rows": 64}
)
SUMMARY = SimulationSummary(
    network="runs/net<1>",
    command="silicut simulate prog",
    created="2026-01-01T00:00:00",
    versions={"silicut": "0"},
    hashes={"program": "abc"},
    accelerator="own&fast",
    clock_hz=50e6,
    bytes_per_cycle=16,
    cycles=1000,
    n_images=8,
    n_correct=7,
    layers=(CONV, POOL),
    stages=tuple(
        StageUse(name=name, run=700 if name == "lut.execute" else 0, receive={"lut.stripe.filled": 200}, idle=100)
        for name in STAGES
    ),
    spans=(
        Span(stage="lut.execute", layer=0, start=100, end=900, busy=700),
        Span(stage="post", layer=1, start=900, end=1000, busy=90),
    ),
    occupancy={"lut.lhs": 0.375, "dsp.rhs": 0.0},
    on_host=("softmax (softmax)",),
    resources=(
        ResourceEstimate(name="LUT core", group="arrays", n_luts=30_000, n_ffs=100, n_dsps=0, n_bram36=20),
        ResourceEstimate(name="queues", group="glue", n_luts=12_345, n_ffs=100, n_dsps=9, n_bram36=0),
    ),
    resource_model="BISMO v2",
    part=PartEstimate(name="xc7z010", n_luts=17_600, n_ffs=35_200, n_dsps=80, n_bram36=60, is_recalled=True),
    exceeded=("LUTs: 42,345 needed, xc7z010 allows 14,960",),
    published=PUBLISHED["resnet20"],
)


def test_the_page_is_balanced_and_loads_nothing():
    page = render_simulation(SUMMARY)
    found = parsed(page)
    assert (found.loaded, found.events) == ([], [])
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    assert page == render_simulation(SUMMARY)
    assert "<1>" not in page


def test_the_page_says_what_the_record_says():
    page = render_simulation(SUMMARY)
    for text in (
        "net&lt;1&gt; takes 0.0200\u00a0ms on own&amp;fast: 1,000 cycles.",
        "clock of 50&nbsp;MHz",
        "6.40<",  # GOPS: 128,000 operations in 0.02 ms
        "4/8",
        "24+8",
        "LUT array",
        "50\u00a0%",  # of 320 * 800 operations
        '7<span class="unit">of 8',
        "softmax (softmax)",
        "rows of the matrix to come",
        "42,345",
        "of 17,600",
        "recalled",
        "nn2fpga",
        "ResNet-20, 32 px",
        "lut.lhs",
    ):
        assert text in page, text
    assert "dsp.rhs" not in page
    assert "Tensil" in page


def test_every_figure_has_its_label():
    page = render_simulation(SUMMARY)
    published = page[page.index("Beside published systems") :]
    assert published.count('<span class="tag">recalled</span>') == len(SUMMARY.published)
    assert '<span class="tag measured">simulated</span>' in published
    assert {system.label for systems in PUBLISHED.values() for system in systems} <= {"paper", "recalled", "modelled"}


def test_what_is_not_known_is_left_out():
    bare = replace(CONV, kind="", w_bits=0, a_bits=0, n_lut=0, n_dsp=0)
    page = render_simulation(
        replace(
            SUMMARY, layers=(bare,), n_images=0, n_correct=None, occupancy={}, on_host=(), exceeded=(), published=(),
            spans=SUMMARY.spans[:1],
        )
    )  # fmt: skip
    for text in ("Memories of the chip", "On the host", "Beside published", "images right", "24+8"):
        assert text not in page, text
    assert "Only times were simulated" in page
    assert "It fits xc7z010" in page


def test_a_run_of_nothing_is_a_page_too():
    nothing = replace(SUMMARY, layers=(), spans=(), cycles=0, stages=(), published=())
    assert "0 cycles" in render_simulation(nothing)
    assert "0 cycles" in headline(nothing)


def test_each_layer_and_stage_is_in_the_timeline():
    page = render_simulation(SUMMARY)
    assert "conv&lt;1&gt;: LUT array, 0.00200\u00a0ms to 0.0180\u00a0ms, at work 88\u00a0%" in page
    assert "pool: vector unit" in page


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["stem", "layer1.0", "layer1.1", "layer2.0", "pool", "fc"], [0, 1, 1, 2, 3, 3]),
        (["a.0", "b.0", "a.0"], [0, 1, 2]),
        (["one"], [0]),
        ([f"part{i}.x" for i in range(9)], [0, 1, 2, 3, 4, 5, 6, 7, 0]),
        ([], []),
    ],
)
def test_parts_of_a_network_have_numbers(names, numbers):
    assert section_numbers([SimulatedLayer(name=name) for name in names]) == numbers


def test_published_systems_are_of_the_very_network():
    assert len(published_for("resnet18", 1_814_073_344)) == len(PUBLISHED["resnet18"])
    assert published_for("resnet18-cifar", 555_000_000) == ()
    assert published_for("resnet18", 900_000_000) == ()
    assert published_for("resnet18-after-resnet20", 1_814_073_344) == PUBLISHED["resnet18"]
    for systems in PUBLISHED.values():
        assert all(system.ms and system.label != "simulated" for system in systems)


def text_of(view):
    from io import StringIO

    from rich.console import Console

    stream = StringIO()
    Console(file=stream, width=150, highlight=False).print(view)
    return stream.getvalue()


def test_the_terminal_says_the_same():
    shown = text_of(simulation_view(SUMMARY))
    for text in (
        "1,000 cycles, 0.0200\u00a0ms at 50 MHz",
        "24+8",
        "7 of 8 images right",
        "Cycles are simulated, with data of 8 images; the clock of 50 MHz is assumed",
        "LUTs: 42,345 needed",
        "rows of the matrix to come, 200 cycles",
    ):
        assert text in " ".join(shown.split(" ")), text


def test_the_partition_is_counted_and_reasons_are_given():
    rows = [
        AssignedOperator(operator="conv", kind="conv2d", where="cores", layer="conv"),
        AssignedOperator(operator="join", kind="concatenate", where="layout"),
        AssignedOperator(operator="mul", kind="multiply", where="host", reason="it cannot"),
    ]
    shown = text_of(partition_view(rows))
    assert "3 operators: 1 on the cores, 1 by where numbers lie, at no cost and 1 on the host" in shown
    assert re.search(r"mul +multiply +it cannot", shown)
    assert "it cannot" not in text_of(partition_view(rows[:2]))
