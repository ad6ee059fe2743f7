"""Options of the training on the command line: what is refused, in which words, and that nothing is left behind."""

import pytest
import tiny

from silicut.cli.app import run

WITHOUT_DATA = ("--network", tiny.NETWORK, "--input-shape", "3x8x8", "--latency", "60%")
WITH_DATA = ("--network", tiny.NETWORK, "--data", tiny.DATA, "--latency", "60%")
REFUSED = [
    (WITH_DATA, ("--milestones", "9"), "milestones must be from 1 to the number of epochs (8), not 9"),
    (WITH_DATA, ("--milestones", "0", "--soft-epochs", "-1"),
     "milestones must be from 1 to the number of epochs (8), not 0; soft_epochs must be 0 or more, not -1"),
    (WITH_DATA, ("--epochs", "0", "--soft-epochs", "1"),
     "milestones and soft_epochs must come with a recipe and its epochs, not without"),
    (WITHOUT_DATA, ("--milestones", "2"), "milestones and soft_epochs must come with data, not without"),
    (WITH_DATA[:-2], ("--max-drop", "1", "--milestones", "2"),
     "milestones and soft_epochs must come with a latency, not with max_drop"),
    (WITH_DATA, ("--precision", "half", "--ema-decay", "1"),
     "ema_decay must be from 0 to less than 1, not 1.0; precision must be auto, bf16, fp16 or fp32, not 'half'"),
    (WITH_DATA, ("--precision", "fp16"), "precision must be auto, bf16 or fp32 on cpu, not 'fp16'; it needs a CUDA device"),
]  # fmt: skip


@pytest.mark.needs_ort
@pytest.mark.parametrize(("subject", "more", "sentence"), REFUSED)
def test_what_is_refused_before_anything_is_measured(subject, more, sentence, tmp_path, capsys):
    arguments = ["prune", *subject, "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache"), *more]
    assert run(arguments) == 2
    assert capsys.readouterr().err == f"silicut: {sentence}\n"
    assert list(tmp_path.iterdir()) == []
