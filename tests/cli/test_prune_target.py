"""`silicut prune --target`: what is written and said, and what is refused."""

import json
from dataclasses import replace

import pytest
import tiny

from silicut.accelerators.gemm.config import TINY, Buffers, GemmConfig
from silicut.cli.app import run
from silicut.report.summary import RunSummary

pytestmark = pytest.mark.needs_ort


def arguments(out, *more):
    fixed = ("--network", tiny.NETWORK, "--target", "gemm@xc7z020", "--accelerator", "tiny", "--out", str(out))
    latency = () if "--latency" in more else ("--latency", "60%")
    shape = () if "--data" in more else ("--input-shape", "3x8x8")
    return ["prune", *fixed, *latency, *shape, *more]


PLANNED = arguments("", "--latency", "0.04ms", "--accelerator", "n3h", "--bits", "4/8", "--value", "log-energy", "--dry-run")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A dry run without data on the build n3h, which an xc7z020 cannot hold."""
    folder = tmp_path_factory.mktemp("planned") / "run"
    assert run([*PLANNED, "--out", str(folder)]) == 0
    return folder


def test_a_plan_says_what_is_simulated_and_what_does_not_fit(planned, capsys):
    summary = RunSummary.load(planned / "summary.json")
    assert summary.settings.how == "simulated"
    assert summary.outcome.sentence.startswith("Budget met: simulated ")
    assert summary.measured.ms <= summary.target_ms == pytest.approx(0.04)
    assert any("the build 'n3h' does not fit: DSP slices: 248 needed, xc7z020 allows 220" in w for w in summary.warnings)
    assert summary.simulation.cycles == round(summary.measured.ms * 1e-3 * GemmConfig().clock_hz)
    assert {layer.w_bits for layer in summary.simulation.layers if layer.w_bits} == {4, 8}


def test_the_page_has_the_sections_of_the_accelerator(planned):
    page = (planned / "report.html").read_text()
    for heading in ("Stages over time", "What it needs of xc7z020", "Under the roofs", "At work and waiting"):
        assert heading in page
    assert '<span class="tag measured">measured</span>' not in page
    assert "gemm@xc7z020, simulated, one image at a time" in page


def test_a_plan_is_printed(planned, capsys):
    assert run([*PLANNED, "--out", str(planned), "--resume"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "latency, simulated" in out
    assert "100 MHz assumed" in out
    assert "measured" not in out


REFUSED = [
    (("--engine", "onnxruntime"), "--engine must be left out with --target, which is simulated one image at a time"),
    (
        ("--threads", "2", "--batch", "4"),
        "--threads and --batch must be left out with --target, which is simulated one image at a time",
    ),
    (("--target", "gemm@xc7z999"), "part must be"),
    (("--target", "gemmy"), "target must be like gemm@xc7z020, not 'gemmy'"),
    (("--bits", "four"), "bits must be like 8/8 (of weights / of what layers read), not 'four'"),
    (("--edge-bits", "9"), "edge_bits must be 2..8, not 9"),
    (
        ("--accelerator", "huge"),
        "accelerator must be one of n3h, bismo-pynq-z1, bismo-ultra96, tiny, or a file such as",
    ),
    (("--rounding", "adaptive", "--rounded-epochs", "1"), "methods must leave weights to training"),
    (("--bits", "joint"), "value 'sensitivity' must come with training data, not without"),
    (
        ("--bits", "joint", "--value", "taylor", "--data", tiny.DATA),
        "value must be learned or sensitivity where bits are chosen too",
    ),
]


@pytest.mark.parametrize(("more", "sentence"), REFUSED)
def test_wrong_combinations_are_refused_in_one_sentence(more, sentence, tmp_path, capsys):
    assert run(arguments(tmp_path / "run", *more)) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"silicut: {sentence}"), err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_options_of_the_accelerator_want_one(tmp_path, capsys):
    assert (
        run(["prune", "--network", tiny.NETWORK, "--latency", "50%", "--out", str(tmp_path / "run"), "--bits", "4/4"]) == 2
    )
    assert capsys.readouterr().err == (
        "silicut: --bits must come with --target, an accelerator such as gemm@xc7z020, not without\n"
    )


def test_a_budget_out_of_reach_names_what_can_be_had(tmp_path, capsys):
    asked = arguments(tmp_path / "run", "--latency", "0.5%", "--value", "log-energy", "--dry-run")
    assert run(asked) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("silicut: a latency of 0.5% cannot be reached: the smallest plan is predicted to take ")


def test_a_layer_of_the_host_is_named(tmp_path, capsys):
    network = f"{tmp_path / 'attention.py'}:build"
    (tmp_path / "attention.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 16, 3)\n        self.norm = nn.GroupNorm(2, 16)\n"
        "        self.last = nn.Conv2d(16, 16, 3)\n\n"
        "    def forward(self, x):\n        return self.last(self.norm(self.conv(x))).mean((2, 3))\n\n\n"
        "def build():\n    return Net().eval()\n"
    )
    asked = ["--network", network, "--input-shape", "3x8x8", "--target", "gemm@xc7z020", "--latency", "50%"]
    assert run(["prune", *asked, "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert "group_norm" in err
    assert not (tmp_path / "run").exists()


def test_a_build_that_is_too_small_says_for_which_layer(tmp_path, capsys):
    small = GemmConfig.load(_written(tmp_path))
    assert small.name == "small"
    assert run(arguments(tmp_path / "run", "--accelerator", str(tmp_path / "small.json"))) == 1
    assert "stem" in capsys.readouterr().err


def _written(folder):
    path = folder / "small.json"
    replace(TINY, name="small", buffers=replace(Buffers(), feature_words=4)).save(path)
    return path


def test_a_resumed_run_must_be_for_the_same_build(planned, capsys):
    assert run([*PLANNED, "--out", str(planned), "--clock", "50", "--resume"]) == 2
    assert "clock" in capsys.readouterr().err
    assert json.loads((planned / "run.json").read_text())["clock"] is None
