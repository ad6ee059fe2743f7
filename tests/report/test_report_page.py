import builtins
import functools
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from run_summaries import compared, minimal, run_summary

from silicut.records import ToolMissing
from silicut.report import FrozenSummary, Stage, render_page
from silicut.report.comparisons import ValueSummary
from silicut.report.theme import DARK, LIGHT, css_variables
from silicut.targets import EngineSettings

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

_VOID = {"meta", "br", "img", "input", "link", "hr"}


class _Balanced(HTMLParser):
    """Checks that every element is closed in order, and collects what is loaded from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.events = [], [], []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]
        self.events += [name for name, _ in attrs if name.startswith("on")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(page):
    parser = _Balanced()
    parser.feed(page)
    assert not parser.open
    return parser


@functools.cache
def full_page():
    return render_page(run_summary())


def test_the_page_is_balanced_and_loads_nothing():
    page = parsed(full_page())
    assert page.loaded == []
    assert page.events == []
    assert not re.search(r"https?://|@import|url\((?!#)", full_page())


def test_every_section_and_figure_is_there():
    headings = re.findall(r"<h2>([^<]*)</h2>", full_page())
    assert headings == [
        "Read with care",
        "Where the milliseconds went",
        "Budget",
        "Accuracy",
        "Size",
        "Layers",
        "Staircases",
        "Can the predictions be trusted?",
        "Channels that had to stay",
        "How to repeat",
    ]
    assert full_page().count("<svg") == 2 + 1 + 1 + 3  # two widths of the figure, epochs, validation, three panels


def test_figures_in_words_are_labelled_and_right():
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", full_page()))
    assert "made_up now runs 2.29 times as fast: 0.645 ms became 0.282 ms." in text
    assert "dense measured 0.645 ms" in text
    assert "pruned predicted 0.277 ms 2.0 % too low" in text
    assert "Summing layers measured alone would have been wrong by" in text
    assert "Accuracy went from 92.60 % to 92.01 %: 0.59 points lost" in text
    assert "32 \u2192 0" in text  # channels of a removed layer
    assert "within 0.355 ms The budget is met. Next better plan: 0.304 ms predicted" in text


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("\u00a0", " ").replace("&nbsp;", " ")


def test_engines_budgets_values_and_drops_are_shown():
    page = render_page(compared())
    parsed(page)
    text = text_of(page)
    for sentence in (
        "onnxruntime, 1 thread, batch 1 0.600 ms 0.300 ms 51.0 % 50.0 to 54.0 1.2 %",
        "openvino, 2 threads, batch 1 1.200 ms 0.600 ms 52.0 % 50.0 to 54.0 2.4 %",
        "parameters 272 k 121 k \u221255.6 % 125 k kept",
        "multiply-accumulates 40.8 M 17.2 M \u221257.8 % ONNX file",
        "ONNX file 1.10 MB 498 kB \u221254.7 % 400 kB exceeded",
        "0.645 ms 0.282 ms \u221256.3 % 0.355 ms kept",
        "sp_lamp 65.1 % 0.71 chosen log-energy 50.0 % \u22120.12 sensitivity 64.1 % \u2013",
        "90.0 % \u22120.0010 little enough 40.0 % 0.0312 too much 55.0 % 0.0081 little enough",
    ):
        assert sentence in text, text


def test_one_value_that_was_asked_for_has_no_column_of_what_was_not_tried():
    value = ValueSummary(name="sp_lamp", accuracy_frac=None, rank_correlation=0.5)
    text = text_of(render_page(compared(values=(value,), engines=(), drops=(), size_budgets=())))
    assert "value function rank correlation measured sp_lamp 0.50 chosen" in text
    for absent in ("On each engine", "Latencies tried", "at most 125", "right untrained"):
        assert absent not in text


def test_a_device_elsewhere_has_measured_nothing():
    settings = EngineSettings(engine="onnxruntime", is_predicted=True)
    rows = text_of(render_page(compared(settings=settings))).partition("On each engine")[2].partition("Latencies tried")[0]
    assert "dense predicted pruned predicted" in rows


def test_a_missed_budget_is_called_so():
    assert ">above 0.100" in render_page(minimal(target_ms=0.1))


def test_both_themes_are_there_and_can_be_chosen():
    assert css_variables(LIGHT) in full_page()
    assert css_variables(DARK) in full_page()
    assert "prefers-color-scheme: dark" in full_page()
    assert 'id="theme"' in full_page()
    used = set(re.findall(r"var\(--(\w+)\)", full_page()))
    assert used <= LIGHT.keys()


def test_the_same_summary_gives_the_same_page():
    assert render_page(run_summary()) == full_page()


def test_a_run_without_data_or_checks_has_no_empty_sections():
    page = render_page(minimal())
    parsed(page)
    assert "Accuracy was not evaluated" in page
    for absent in ("<h2>Accuracy", "Read with care", "trusted", "had to stay"):
        assert absent not in page


def test_hostile_names_are_text():
    hostile = "\"><img src=x onerror=alert(1)><script>alert('$2')</script>"
    summary = compared()
    page = render_page(
        compared(
            network=hostile,
            command=hostile,
            created=hostile,
            layers=tuple(replace(layer, name=f"{hostile}.{layer.name}", shape=hostile) for layer in summary.layers),
            groups=tuple(replace(group, name=f"{hostile}{group.name}") for group in summary.groups),
            removed_blocks=(hostile,),
            frozen=(FrozenSummary(operators=(hostile,), n_channels=1, reason=hostile),),
            stages=tuple(Stage(name=hostile, n=10, n_correct=5) for _ in range(2)),
            hashes={hostile: hostile},
            fingerprint={"cpu": hostile, hostile: [hostile]},
            warnings=(hostile,),
            values=tuple(replace(value, name=hostile) for value in summary.values),
            engines=tuple(replace(e, settings=EngineSettings(engine=hostile)) for e in summary.engines),
            outcome=replace(summary.outcome, sentence=hostile),
        )
    )
    found = parsed(page)
    assert found.loaded == []
    assert found.events == []
    assert page.count("<script>") == 1
    assert "&lt;script&gt;" in page


def test_many_staircases_are_folded_away(monkeypatch):
    monkeypatch.setattr("silicut.report.page._N_PANELS_SHOWN", 2)
    group = run_summary().groups[0]
    groups = [replace(group, name=f"group{i}", costs_ms=tuple((1 + i) * c for c in group.costs_ms)) for i in range(3)]
    page = render_page(minimal(groups=tuple(groups)))
    assert "<summary>1 more</summary>" in page
    assert page.index("<h3>group1<") < page.index("<h3>group2<") < page.index("<details>") < page.index("<h3>group0<")


@pytest.mark.parametrize("tool", ["jinja2", "matplotlib"])
def test_a_missing_extra_is_named(tool, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == tool:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ToolMissing, match=rf"^{tool} is not installed; install it with: pip install 'silicut\[report\]'$"):
        render_page(minimal())
