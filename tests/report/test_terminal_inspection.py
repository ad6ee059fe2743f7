"""What an inspection looks like on a terminal, and what the page says about latency that is left."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from run_summaries import run_summary

from silicut.report import (
    Explanation,
    Finding,
    Inspection,
    LatencyParts,
    RunSummary,
    explanation_view,
    findings_view,
    inspection_view,
    render_page,
    wording,
)
from silicut.report.inspection import BlockInspection, FrozenInspection, GroupInspection, GroupTiming, Place, Role, Tie
from silicut.targets import EngineSettings

STEM, CONV = Place(name="stem", kind="conv2d", source="net.py:3"), Place(name="conv", kind="conv2d", source="net.py:5")
ADD, HEAD = Place(name="add", kind="add", source="net.py:6"), Place(name="head", kind="linear")
PARTS = LatencyParts(overhead_ms=0.1, frozen_ms=0.2, untouched_ms=0.0, least_ms=0.3, narrowing_ms=0.4, removal_ms=0.1)
FINDING = Finding(cause="launch-bound", frac=0.42, sentence="It starts a lot.", advice="Start less.")


def text_of(renderable, width=110):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue().replace("\u00a0", " ")


def inspection(**changes):
    timing = GroupTiming(ms=0.25, step=16, cliffs=(31,), widths=tuple(range(4, 65, 4)))
    group = GroupInspection(
        name="stem",
        n_channels=64,
        producers=(STEM, CONV),
        ties=(ADD,),
        consumers=(CONV, HEAD),
        followers=(),
        neighbours=("other[a]",),
        n_parameters=1234,
        n_macs=5_600_000,
        timing=timing,
    )
    fields = {
        "network_hash": "0",
        "n_parameters": 2000,
        "n_macs": 7_000_000,
        "groups": (group,),
        "blocks": (
            BlockInspection(name="b", addition=ADD, layers=(CONV,), groups=("conv",), n_parameters=9, n_macs=8, ms=0.125),
        ),
        "frozen": (FrozenInspection(layers=(HEAD,), n_channels=10, reason="it is an output of the network", ms=0.05),),
        "settings": EngineSettings(engine="onnxruntime"),
        "cpu": "Some CPU",
        "dense_ms": 1.0,
        "parts": PARTS,
        "findings": (FINDING,),
    }
    return Inspection(**(fields | changes))


def test_groups_blocks_and_frozen_channels_are_listed():
    lines = [" ".join(line.split()) for line in text_of(inspection_view(inspection())).splitlines()]
    for line in (
        "1 group of channels may be narrowed, 1 residual block may go, 10 channels must stay: 2.00 k parameters, 7.00 M",
        "stem (net.py:3) 64 1.23 k 5.60 M 0.250 16 4 8 12 ... 56 60 64",
        "tied to conv",
        "by add (net.py:6)",
        "read by conv and 1 more",
        "beside other[a]",
        "b 1 add (net.py:6) 9 8 0.125",
        "head 10 it is an output of the network; takes 0.0500 ms whatever is pruned",
        "Latency, as profiled: onnxruntime, 1 thread, batch 1 on Some CPU",
        "launch-bound, 42 % of the latency: It starts a lot. Start less.",
    ):
        assert line in lines, line


def test_without_a_profile_there_are_no_milliseconds():
    timed = inspection()
    untimed = {name: tuple(replace(entry, ms=None) for entry in getattr(timed, name)) for name in ("blocks", "frozen")}
    text = text_of(inspection_view(inspection(parts=None, findings=(), settings=None, **untimed)))
    assert not {"ms", "step"} & set(text.split())
    assert "Latency" not in text


def test_a_network_of_which_nothing_can_be_pruned_has_only_its_reasons():
    text = text_of(inspection_view(inspection(groups=(), blocks=())))
    assert text.startswith("0 groups of channels may be narrowed, 0 residual blocks may go, 10 channels must stay")
    assert "may be removed" not in text
    assert "it is an output of the network" in text


def test_latency_is_taken_apart_in_a_sentence():
    assert wording.parts_sentence(PARTS).replace("\u00a0", " ") == (
        "Of 1.00 ms, widths can change 0.40 ms (40 %); the rest is 0.30 ms in layers at their smallest widths, "
        "0.10 ms in calls, input and output and 0.20 ms in layers whose channels must stay."
    )
    all_of_it = LatencyParts(overhead_ms=0, frozen_ms=0, untouched_ms=0, least_ms=0, narrowing_ms=2, removal_ms=0)
    assert wording.parts_sentence(all_of_it).replace("\u00a0", " ") == "Of 2.00 ms, widths can change 2.00 ms (100 %)."
    assert "None of the known causes" in "".join(map(text_of, findings_view(all_of_it, ())))


def test_an_explanation_names_ties_readers_reasons_and_the_block():
    role = Role(group="stem", n_channels=64, verb="makes", ties=(Tie(layer=STEM, by=(ADD,)),), consumers=(HEAD,))
    frozen = FrozenInspection(layers=(CONV,), n_channels=3, reason="cumsum (net.py:9): no rule is known")
    text = text_of(explanation_view(Explanation(place=CONV, roles=(role,), frozen=(frozen,), block="b")))
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "conv: conv2d, net.py:5",
        "3 channels it makes must stay: cumsum (net.py:9): no rule is known.",
        "It makes 64 channels of group stem, which can be pruned.",
        "A channel goes from all of these at once:",
        "stem (net.py:3) tied by add (net.py:6)",
        "Read by head.",
        "It goes when the residual block b is removed.",
    ]
    passed = text_of(explanation_view(Explanation(place=ADD, roles=(), frozen=(frozen,))))
    assert "It passes on 3 channels of conv (net.py:5), which must stay: cumsum" in passed
    assert "It touches no channels" in text_of(explanation_view(Explanation(place=CONV, roles=(), frozen=())))


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        ("makes", "It makes its 8 channels, which can be pruned."),
        ("reads", "It reads its 8 channels: its inputs shrink with them."),
        ("follows", "It has parameters on its 8 channels: they shrink with them."),
        ("passes", "It passes its 8 channels on."),
    ],
)
def test_each_role_has_its_sentence(verb, sentence):
    view = explanation_view(Explanation(place=CONV, roles=(Role(group="conv", n_channels=8, verb=verb),), frozen=()))
    assert text_of(view).splitlines()[1] == sentence


def test_the_page_says_what_could_make_the_network_faster():
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    page = render_page(run_summary(parts=PARTS, findings=(FINDING,))).replace("\u00a0", " ")
    assert "<h2>What could make it faster still</h2>" in page
    assert "Of 1.000 ms, widths can change 0.400 ms (40 %)" in page or "widths can change 0.40 ms (40 %)" in page
    assert "<b>launch-bound</b>, 42 % of the latency: It starts a lot. Start less." in page
    assert "None of the known causes" in render_page(run_summary(parts=PARTS))
    assert "faster still" not in render_page(run_summary())


def test_summaries_with_findings_are_saved_and_loaded(tmp_path):
    summary = run_summary(parts=PARTS, findings=(FINDING,))
    summary.save(tmp_path / "summary.json")
    assert RunSummary.load(tmp_path / "summary.json") == summary
