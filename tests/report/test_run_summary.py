import json
from dataclasses import replace

import pytest
from run_summaries import minimal, run_summary

from silicut.records import BadFile, ConfigError
from silicut.report import RunSummary, Stage
from silicut.report.sections import MAX_SECTIONS, blocks_of, sections_of
from silicut.report.wording import accuracy_loss, accuracy_sentence, headline, wilson_interval


@pytest.mark.parametrize("summary", [run_summary(), minimal()], ids=["full", "minimal"])
def test_summaries_are_saved_and_loaded(summary, tmp_path):
    assert RunSummary.load(summary.save(tmp_path / "summary.json")) == summary


def test_unknown_keys_deep_inside_are_refused(tmp_path):
    data = run_summary().to_json()
    data["layers"][0]["milliseconds"] = 1
    (tmp_path / "summary.json").write_text(json.dumps(data))
    with pytest.raises(BadFile, match=r"layers\.0\.milliseconds"):
        RunSummary.load(tmp_path / "summary.json")


def test_every_problem_is_named_at_once():
    group = replace(run_summary().groups[0], costs_ms=(1.0,))
    with pytest.raises(ConfigError) as caught:
        run_summary(target_ms=0.0, layers=(), groups=(group,), stages=(Stage(name="dense", n=0, n_correct=0),))
    assert caught.value.problems == (
        "target_ms must be above 0 and finite, not 0.0",
        "stages 'dense' n must be above 0 and finite, not 0",
        "layers must hold at least one entry, not none",
        "groups 'layer1.0.conv1' costs_ms must hold one number for each of widths, not 1 for 4",
    )


def test_sections_follow_the_paths_and_join_single_layers():
    names = [section.name for section in sections_of(run_summary().layers)]
    assert names == ["conv1", "layer1", "layer2", "layer3", "flatten \u2013 linear"]


@pytest.mark.parametrize("pattern", ["features.{}.conv", "op{}", "a.b.c{}", "stage{}.x"])
def test_sections_are_few_and_hold_every_layer(pattern):
    layer = run_summary().layers[1]
    layers = [replace(layer, name=pattern.format(i)) for i in range(60)]
    sections = sections_of(layers)
    assert 2 <= len(sections) <= MAX_SECTIONS
    assert [x for section in sections for x in section.layers] == layers


def test_blocks_part_where_layers_are_removed():
    section = sections_of(run_summary(n_blocks=2, removed=("layer2.1",)).layers)[2]
    assert [(len(block), block[0].is_removed) for block in blocks_of(section)] == [(3, False), (3, True)]


def test_wilson_interval_equals_the_published_example():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263 gives 0.2553 to 0.3662.
    low, high = wilson_interval(Stage(name="", n=263, n_correct=81))
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_paired_comparison_is_narrower_and_decides_the_words():
    dense = Stage(name="dense", n=1000, n_correct=900)
    paired = accuracy_loss([dense, Stage(name="pruned", n=1000, n_correct=885, n_lost=16, n_gained=1)])
    apart = accuracy_loss([dense, Stage(name="pruned", n=1000, n_correct=885)])
    assert paired is not None
    assert apart is not None
    assert paired.points == apart.points == pytest.approx(1.5)
    assert paired.is_seen
    assert not apart.is_seen
    assert accuracy_sentence(paired).startswith(
        "Accuracy went from 90.00\u00a0% to 88.50\u00a0%: 1.50 points lost (95\u00a0%: 0."
    )
    assert accuracy_sentence(apart).startswith("1,000 images show no difference in accuracy")


def test_the_last_stage_on_as_many_images_is_compared():
    stages = [Stage(name=n, n=k, n_correct=k // 2) for n, k in (("dense", 1000), ("fine-tuned", 1000), ("onnx", 100))]
    loss = accuracy_loss(stages)
    assert loss is not None
    assert loss.last.name == "fine-tuned"
    assert accuracy_loss(stages[:1]) is accuracy_loss([]) is None


@pytest.mark.parametrize(
    ("factor", "words"), [(0.5, "now runs 2.00 times as fast"), (1.0, "runs no faster"), (2.0, "now runs slower")]
)
def test_headline_says_what_the_interval_allows(factor, words):
    ratio = replace(run_summary().ratio, ratio=factor, low=0.98 * factor, high=1.02 * factor)
    assert words in headline(run_summary(ratio=ratio))
