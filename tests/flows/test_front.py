"""Several latencies on one profile: a network for each, one that cannot be had among them, and the front they lie on."""

import csv
import html
import importlib
import io
import json
import re
from dataclasses import replace

import pytest
import tiny

from silicut.cli.app import run
from silicut.flows.front import folder_name
from silicut.records import Journal
from silicut.report.front import FRONT_COLUMNS, FrontSummary, front_csv, front_table

pytestmark = pytest.mark.needs_ort


def arguments(out, cache, *more):
    return tiny.arguments(out, cache, "--epochs", "1", *more)


@pytest.fixture(scope="module")
def finished(tiny_run, tiny_cache, tmp_path_factory):
    """The folder of a front of three latencies, the smallest of which cannot be reached."""
    out = tmp_path_factory.mktemp("front") / "run"
    latencies = ("--latency", "1%", "--latency", "70%", "--latency", "50%")
    assert run(arguments(out, tiny_cache, *latencies)) == 0
    return out


def test_each_latency_has_its_folder(finished):
    front = FrontSummary.load(finished / "front.json")
    assert [point.budget for point in front.points] == ["70%", "50%", "1%"]
    assert [point.folder for point in front.points] == ["latency-70%", "latency-50%", ""]
    for point in front.points[:2]:
        assert (finished / point.folder / "model.onnx").is_file()
        assert json.loads((finished / point.folder / "summary.json").read_text())["ratio"]["ratio"] == point.ratio.ratio
    assert not (finished / folder_name("1%")).exists()
    assert front.points[2].sentence.startswith("a latency of 1% cannot be reached: the smallest plan is predicted to take ")


def test_points_carry_value_bound_ratio_and_accuracy(finished):
    front = FrontSummary.load(finished / "front.json")
    large, small, _ = front.points
    assert large.ratio.ratio > small.ratio.ratio
    for point in (large, small):
        assert point.value <= point.bound
        assert [stage.name for stage in point.stages] == ["dense", "pruned", "batch norm recalibrated", "fine-tuned"]
        assert point.size.n_parameters < front.dense_size.n_parameters
    curves = {curve.value_function: curve for curve in front.curves}
    assert set(curves) == {large.value_function, small.value_function}
    for curve in curves.values():
        assert list(curve.fracs) == sorted(curve.fracs)
        assert list(curve.values) == sorted(curve.values)
        assert curve.fracs[-1] == pytest.approx(1.0, rel=0.05)


def test_what_is_measured_once_serves_all(finished):
    profiles = {(finished / folder_name(text) / "profile.json").read_bytes() for text in ("70%", "50%")}
    assert len(profiles) == 1
    plans = [event["plan"] for event in Journal(finished / "divergences.jsonl")]
    assert plans
    assert len(plans) == len(set(plans))
    assert not (finished / folder_name("50%") / "divergences.jsonl").exists()


def test_a_finished_front_is_only_read(finished, tiny_cache, capsys, monkeypatch):
    def fails(*_, **__):
        raise AssertionError("this was done already")

    monkeypatch.setattr(importlib.import_module("silicut.training.fit")._Trainer, "epoch", fails)
    monkeypatch.setattr("silicut.flows.platform.measure", fails)
    before = FrontSummary.load(finished / "front.json")
    latencies = ("--latency", "1%", "--latency", "70%", "--latency", "50%", "--resume", "--json")
    assert run(arguments(finished, tiny_cache, *latencies)) == 0
    again = FrontSummary.from_json(json.loads(capsys.readouterr().out))
    assert again.points == before.points


def test_a_front_of_nothing_leaves_its_folder_free(tiny_run, tiny_cache, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(arguments(out, tiny_cache, "--latency", "1%", "--latency", "2%")) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("silicut: a latency of 2% cannot be reached: ")
    assert not out.exists()


def test_the_page_holds_everything_and_loads_nothing(finished):
    page = (finished / "front.html").read_text()
    front = FrontSummary.load(finished / "front.json")
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    for point in front.points:
        assert html.escape(point.sentence, quote=False) in page
    assert page.count("<svg") == 1 + len(front.curves)
    assert "prefers-color-scheme: dark" in page


def test_table_and_csv_say_the_same(finished):
    from rich.console import Console

    front = FrontSummary.load(finished / "front.json")
    console = Console(width=200, file=io.StringIO(), highlight=False)
    console.print(front_table(front))
    text = console.file.getvalue().replace("\xa0", " ")
    rows = list(csv.DictReader(io.StringIO(front_csv(front))))
    assert list(rows[0])[: len(FRONT_COLUMNS)] == list(FRONT_COLUMNS)
    for point, row in zip(front.points, rows, strict=True):
        assert row["budget"] == point.budget
        assert row["sentence"] == point.sentence
        assert f"{point.budget}: {point.sentence}" in text
        if point.ratio is not None:
            assert float(row["ratio"]) == point.ratio.ratio
            assert f"{100 * point.ratio.ratio:.1f} %" in text
            assert float(row["accuracy_frac fine-tuned"]) == point.stages[-1].accuracy_frac


def test_a_front_for_another_device_says_predicted(finished):
    from rich.console import Console

    from silicut.report.front_page import render_front

    front = FrontSummary.load(finished / "front.json")
    points = tuple(replace(point, sentence="") for point in front.points)  # these come from a front that was measured
    elsewhere = replace(front, settings=replace(front.settings, is_predicted=True), points=points)
    console = Console(width=200, file=io.StringIO(), highlight=False)
    console.print(front_table(elsewhere))
    for text in (console.file.getvalue(), re.sub(r"<style>.*?</style>", "", render_front(elsewhere), flags=re.DOTALL)):
        assert "predicted" in text
        assert "measured" not in text
