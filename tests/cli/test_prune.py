import json
import shutil

import pytest
import tiny

from silicut.cli.app import run
from silicut.compress import Plan
from silicut.records import Journal, ToolMissing
from silicut.report.summary import RunSummary
from silicut.zoo import load_weights

pytestmark = pytest.mark.needs_ort

FILES = {
    "checkpoint",
    "divergences.jsonl",
    "metrics.jsonl",
    "model.onnx",
    "model.safetensors",
    "network.json",
    "plan.json",
    "profile.json",
    "report.html",
    "run.json",
    "summary.json",
}


def steps(folder):
    return [event["step"] for event in Journal(folder / "metrics.jsonl")]


@pytest.fixture
def copied_run(tiny_run, tmp_path):
    """A finished run that a test may go on with."""
    return shutil.copytree(tiny_run.folder, tmp_path / "run")


def test_a_run_leaves_its_files_and_says_where(tiny_run):
    assert (tiny_run.code, {path.name for path in tiny_run.folder.iterdir()}) == (0, FILES), tiny_run.err
    assert f"results: {tiny_run.folder}   page: {tiny_run.folder / 'report.html'}\n" in tiny_run.out
    assert "probe staircases: " in tiny_run.err
    assert "Traceback" not in tiny_run.err
    assert "<html" in (tiny_run.folder / "report.html").read_text()


def test_the_files_agree_with_each_other(tiny_run):
    summary, plan = RunSummary.load(tiny_run.folder / "summary.json"), Plan.load(tiny_run.folder / "plan.json")
    assert {group.name: group.chosen_width for group in summary.groups} == plan.widths
    assert summary.hashes["plan"] == plan.hash
    assert summary.network == tiny.NETWORK
    assert summary.settings.batch == tiny.BATCH
    assert load_weights(tiny_run.folder / "model.safetensors")["stem.weight"].shape[0] == plan.widths["stem"]
    assert steps(tiny_run.folder) == [
        "works on",
        "quality: dense",
        "values",
        "plan",
        "quality: pruned",
        "quality: batch norm recalibrated",
        "epoch 1",
        "epoch 2",
        "quality: fine-tuned",
        "agreement",
        "measured",
    ]


def test_the_summary_is_printed_as_json(copied_run, tiny_cache, capsys):
    assert run(tiny.arguments(copied_run, tiny_cache, "--resume", "--json")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads((copied_run / "summary.json").read_text())
    assert err == ""


def test_a_dry_run_stops_at_the_plan_and_can_be_gone_on_with(tmp_path, tiny_cache, capsys):
    out = tmp_path / "run"
    assert run(tiny.arguments(out, tiny_cache, "--epochs", "0", "--dry-run")) == 0
    models = {"model.onnx", "model.safetensors", "network.json"}
    assert {path.name for path in out.iterdir()} == FILES - {"checkpoint"} - models
    assert steps(out) == ["works on", "quality: dense", "values", "plan"]
    plan = (out / "plan.json").read_bytes()
    assert run(tiny.arguments(out, tiny_cache, "--epochs", "0", "--resume")) == 0
    assert {path.name for path in out.iterdir()} == FILES - {"checkpoint"}
    assert (out / "plan.json").read_bytes() == plan
    assert steps(out).count("plan") == 1


def test_frozen_layers_and_kept_blocks_stay(tmp_path, tiny_cache):
    dry = ("--dry-run", "--freeze", "block.conv1", "--keep", "block")
    assert run(tiny.arguments(tmp_path / "run", tiny_cache, *dry)) == 0
    plan = Plan.load(tmp_path / "run" / "plan.json")
    assert plan.widths["block.conv1"] == 32
    assert plan.widths["stem"] < 32
    assert plan.removed_blocks == ()


def test_the_papers_method_is_a_preset(tmp_path, tiny_cache):
    assert run(tiny.arguments(tmp_path / "run", tiny_cache, "--dry-run", "--preset", "paper")) == 0
    summary = RunSummary.load(tmp_path / "run" / "summary.json")
    assert (summary.search.solver, summary.search.value_function) == ("knapsack", "sp-lamp")
    assert summary.removed_blocks == ()


def test_the_users_own_loss_and_metric_are_used(tmp_path, tiny_cache):
    own = ("--loss", tiny.LOSS, "--metric", tiny.METRIC, "--value", "taylor", "--epochs", "1")
    assert run(tiny.arguments(tmp_path / "run", tiny_cache, *own)) == 0
    summary = RunSummary.load(tmp_path / "run" / "summary.json")
    assert summary.search.value_function == "taylor"
    assert summary.stages[0].n_correct > 16  # of 64: chance is one half with the two largest outputs, a quarter without
    assert summary.epochs[0].loss < 1.0  # margins; cross-entropy and distillation start at ln 4


def test_a_page_that_cannot_be_made_costs_nothing_else(copied_run, tiny_cache, monkeypatch, capsys):
    def no_page(*_):
        raise ToolMissing("jinja2", "report")

    monkeypatch.setattr("silicut.report.page.render_page", no_page)
    assert run(tiny.arguments(copied_run, tiny_cache, "--resume")) == 0
    sentence = "page: none, jinja2 is not installed; install it with: pip install 'silicut[report]'; then repeat the command"
    assert sentence in capsys.readouterr().out


def test_help_and_version_are_shown(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("silicut ")
    for command in ("prune", "profile", "measure", "doctor"):
        assert run([command, "--help"]) == 0
        assert command in capsys.readouterr().out
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert "prune" in out + err
    assert "silicut:" not in err


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "silicut: interrupted; the same command with --resume goes on where it stopped\n"),
        (
            ZeroDivisionError("by\nnothing"),
            70,
            "silicut: a fault of silicut, please report it: ZeroDivisionError: by nothing (--debug shows where)\n",
        ),
        (OSError(28, "No space left on device", "run/plan.json"), 2, "silicut: run/plan.json: No space left on device\n"),
    ],
)
def test_whatever_happens_is_told_in_one_sentence(error, code, sentence, tmp_path, tiny_cache, monkeypatch, capsys):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("silicut.flows.prune.prune", fails)
    assert run(tiny.arguments(tmp_path / "run", tiny_cache)) == code
    assert capsys.readouterr().err == sentence
    shutil.rmtree(tmp_path / "run")
    run(tiny.arguments(tmp_path / "run", tiny_cache, "--debug"))
    assert ("Traceback" in capsys.readouterr().err) == (code == 70)
