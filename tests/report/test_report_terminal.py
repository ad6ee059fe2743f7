import csv
import io
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import pytest
from rich.console import Console
from run_summaries import minimal, run_summary

from silicut.report import layers_csv, measurement_table, profile_table, summary_table
from silicut.report.terminal import CSV_COLUMNS
from silicut.search.problem import Variable
from silicut.targets import EngineSettings, Measurement, MeasureOptions, Timing
from silicut.targets.profile import Profile, validation
from silicut.targets.staircase import Staircase


def text_of(renderable) -> str:
    console = Console(width=120, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue().replace("\u00a0", " ")


def timing(ms: float, ratio: float) -> Timing:
    interval = {"ratio_low": 0.99 * ratio, "ratio_high": 1.01 * ratio}
    latency = {"latency_ms": ms, "latency_low_ms": 0.99 * ms, "latency_high_ms": 1.01 * ms}
    runs = {
        "p10_ms": ms,
        "median_ms": ms,
        "min_ms": ms,
        "cv_frac": 0.01,
        "n": 80,
        "ratios": (ratio,),
        "ratio_of_minima": 0.9 * ratio,
    }
    return Timing(model_hash="0", ratio=ratio, **latency, **interval, **runs)


def profile() -> SimpleNamespace:
    """Return what the table reads of a profile."""
    read = SimpleNamespace(
        fingerprint={"cpu": "Some CPU"},
        settings=EngineSettings(engine="onnxruntime"),
        dense_ms=2.5,
        variables=(Variable("conv1", (8, 16)),),
        staircases=(Staircase(group="conv1", widths=(4, 8, 15, 16), costs_ms=(1, 1, 3, 2), step=8, cliffs=(15,)),),
        validation=validation([1.0, 2.0], [1.1, 2.0], []),
        n_measured=42,
    )
    assert vars(read).keys() <= {field.name for field in fields(Profile)}
    return read


def test_the_summary_names_before_after_accuracy_and_outcome():
    text = text_of(summary_table(run_summary()))
    for line in (
        "kept",
        "made_up now runs 2.29 times as fast: 0.645 ms became 0.282 ms.",
        "fine-tuned",
        "91.46 to 92.53",
        "9,201 of 10,000",
        "272 k",
        "\u221256.3 %",
        "2.0 % too low",
        "The budget is met.",
        "next better plan: 0.304 ms, predicted",
        "warning: the machine was busy",
        "layer2.1",
    ):
        assert line in text


def test_a_run_without_data_has_no_accuracy_table():
    assert "accuracy" not in text_of(summary_table(minimal()))


def test_names_that_look_like_markup_are_printed_as_they_are():
    assert "[bold]net[/nope] now runs" in text_of(summary_table(run_summary(network="[bold]net[/nope]")))


def test_measurements_are_listed_with_intervals_relative_to_the_reference():
    measurement = Measurement(
        settings=EngineSettings(engine="onnxruntime", n_threads=2),
        fingerprint={},
        options=MeasureOptions(),
        reference="dense",
        timings={"dense": timing(2.0, 1.0), "pruned": timing(1.0, 0.5)},
        n_rounds=20,
        elapsed_s=3.0,
        warnings=("it was noisy",),
    )
    text = text_of(measurement_table(measurement))
    rows = [line.split() for line in text.splitlines()]
    assert ["dense", "2.00", "ms", "1.000", "0.900", "80"] in rows
    assert ["pruned", "1.00", "ms", "0.99", "to", "1.01", "0.500", "0.495", "to", "0.505", "0.450", "80"] in rows
    assert "measured on onnxruntime, 2 threads, batch 1" in text
    assert "relative to dense" in text
    assert "warning: it was noisy" in text


def test_profiles_are_listed_by_group_with_their_own_check():
    text = text_of(profile_table(profile()))
    assert "2.50 ms measured: the dense network, onnxruntime, 1 thread, batch 1 on Some CPU" in text
    assert ["conv1", "16", "8", "15", "8", "16", "2.000"] in [line.split() for line in text.splitlines()]
    assert "wrong by 5.0 % on average and by 10.0 % at most" in text
    assert "measured alone" not in text
    assert "42 networks were measured for it." in text


def test_layers_as_csv():
    summary = run_summary()
    rows = list(csv.DictReader(io.StringIO(layers_csv(summary))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["name"] for row in rows] == [layer.name for layer in summary.layers]
    assert sum(float(row["dense_ms"]) for row in rows) == pytest.approx(summary.layers_dense_ms - 0.01)
    assert sum(row["is_removed"] == "True" for row in rows) == 3


def test_loading_and_printing_a_summary_needs_neither_torch_nor_the_extra(tmp_path):
    path = run_summary().save(tmp_path / "summary.json")
    code = (
        "import sys; from silicut.report import RunSummary, layers_csv, summary_table;"
        f"s = RunSummary.load({str(path)!r}); summary_table(s); layers_csv(s);"
        "print(sorted({'torch', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
