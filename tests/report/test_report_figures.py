import builtins
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from run_summaries import minimal, run_summary

from silicut.records import ToolMissing
from silicut.report import stacked_png, stacked_svg_file
from silicut.report.figures.charts import epochs_svg, validation_svg
from silicut.report.figures.stacked import stacked_svg
from silicut.report.figures.staircases import panels_of, staircase_svg, staircase_svg_file
from silicut.report.theme import DARK, LIGHT, SENTINELS

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("is_narrow", [False, True])
@pytest.mark.parametrize("n_blocks", [1, 12])
def test_the_figure_has_a_segment_for_every_layer_and_themed_colours(n_blocks, is_narrow):
    summary = run_summary(n_blocks, removed=("layer1.0",))
    svg = stacked_svg(summary, is_narrow=is_narrow)
    tips = [element.text for element in ElementTree.fromstring(svg).iter("title")]
    for layer in summary.layers:
        n_bars = 1 if layer.is_removed else 2
        assert sum(tip.startswith(f"{layer.name} (") for tip in tips) == n_bars
    assert sum(tip.endswith("\u2192 removed") for tip in tips) == 4  # three layers and their ribbon
    assert not re.search(r"#[0-9a-f]{6}\b", svg)
    assert {"var(--budget)", "var(--removed)", "var(--section1)"} <= set(re.findall(r"var\(--\w+\)", svg))


def test_removed_blocks_run_out_to_nothing():
    svg = stacked_svg(run_summary())
    ribbon = re.search(r"<title>layer2\.1: [^<]*removed</title>\s*<path d=\"([^\"]*)\"", svg)
    assert ribbon is not None
    x = [
        float(number)
        for number in re.findall(r"[ML] ([\d.]+) |C(?: [\d.]+){4} ([\d.]+) ", ribbon[1])
        for number in number
        if number
    ]
    top_left, top_right, bottom_right, bottom_left = x[:4]
    assert top_right - top_left > 20
    assert bottom_right == bottom_left


def test_figures_are_the_same_every_time_and_keep_text_as_text():
    svg = stacked_svg(run_summary())
    assert svg == stacked_svg(run_summary())
    assert ">budget" in svg


def test_the_users_matplotlib_settings_change_nothing_and_are_kept():
    import matplotlib as mpl

    before = stacked_svg(run_summary())
    with mpl.rc_context({"lines.linewidth": 9.0, "font.size": 40, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert stacked_svg(run_summary()) == before
        assert mpl.rcParams["lines.linewidth"] == 9.0


def test_names_that_are_markup_or_mathematics_stay_text():
    hostile = "</svg><script>alert('$x$')</script>\u8d85"
    layers = tuple(replace(layer, name=f"{hostile}.{layer.name}") for layer in run_summary().layers)
    svg = stacked_svg(run_summary(network=hostile, layers=layers))
    assert "<script" not in svg
    ElementTree.fromstring(svg)


def test_ids_are_unique_between_figures_and_all_references_hold():
    summary = run_summary()
    figures = [stacked_svg(summary), stacked_svg(summary, is_narrow=True), validation_svg(summary.validation)]
    figures += [staircase_svg(panel, number) for number, panel in enumerate(panels_of(summary.groups))]
    ids = [i for svg in figures for i in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in figures:
        assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg)) <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_equal_staircases_share_a_panel():
    summary = run_summary(n_blocks=3, removed=("layer2.1",))
    panels = panels_of(summary.groups)
    assert [len(panel.groups) for panel in panels] == [3, 3, 3]
    assert panels[1].chosen == {0: 1, 16: 2}
    assert panels[1].title == "layer2.0.conv1 and 2 more"
    odd = replace(summary.groups[0], name="odd", costs_ms=tuple(1.05 * c for c in summary.groups[0].costs_ms))
    assert len(panels_of((*summary.groups, odd))) == 4


def test_groups_that_share_a_panel_keep_their_own_legal_widths():
    group = run_summary().groups[0]
    other = replace(group, name="other", step=4, levels=(6, 16), level_costs_ms=(0.025, 0.051), chosen_width=6)
    (panel,) = panels_of((group, other))
    assert panel.steps == (4, 8)
    assert panel.levels == {0: 0.0, 4: 0.02, 6: 0.025, 8: 0.03, 16: 0.05}
    assert panel.chosen == {6: 1, 8: 1}


def test_a_panel_says_how_many_groups_chose_each_width():
    panel = panels_of(run_summary(n_blocks=3).groups)[1]
    svg = staircase_svg(panel, 0)
    assert ">\u00d72<" in svg
    assert ">\u00d71<" in svg
    assert "var(--budget)" in svg


def test_epochs_without_accuracy_have_no_row_for_it():
    epochs = run_summary().epochs
    assert ">accuracy, %<" in epochs_svg(epochs)
    assert "accuracy, %" not in epochs_svg([replace(epoch, accuracy_frac=None) for epoch in epochs])


def test_files_have_their_own_colours(tmp_path):
    path = stacked_svg_file(run_summary(), tmp_path / "figure.svg")
    text = path.read_text()
    assert LIGHT["section1"] in text
    assert "var(" not in text
    panel = staircase_svg_file(panels_of(run_summary().groups)[0], tmp_path / "panel.svg").read_text()
    assert LIGHT["accent"] in panel
    assert "var(" not in panel
    assert stacked_png(run_summary(), tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_slower_and_minimal_runs_can_be_drawn():
    ratio = replace(run_summary().ratio, ratio=1.5, low=1.4, high=1.6)
    assert "as fast" not in stacked_svg(minimal(ratio=ratio))


def test_both_themes_name_the_same_roles():
    assert LIGHT.keys() == DARK.keys() == SENTINELS.keys()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        ToolMissing, match=r"^matplotlib is not installed; install it with: pip install 'silicut\[report\]'$"
    ):
        stacked_svg(run_summary())
