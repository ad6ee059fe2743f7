"""Two processes against one: the same training, the same figures, and only one that writes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import together
import torch

import silicut
from silicut.training import n_processes, processes, rank
from silicut.training.processes import own_share, own_turns

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    """What one process finds, and what each of two finds, with a training that each has begun for the other."""
    folder, alone = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("one")
    together.begin(alone / "begun by one")
    shutil.copytree(alone / "begun by one", folder / "begun by one")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(silicut.__file__).parents[1])}
    arguments = [*command, HERE / "together.py", folder]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(alone / "begun by one")
    return folder, together.found(alone), [torch.load(folder / f"{r}.pt") for r in range(2)]


def assert_close(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("training", ["step", "generated", "teacher", "unused"])
def test_one_step_of_two_processes_is_the_step_of_one(one_and_two, training):
    """With plain SGD the step is the gradient; 31 images are shared as 15 and 16."""
    _, one, two = one_and_two
    for own in two:
        (weights, losses), (expected, expected_losses) = own["trainings"][training], one["trainings"][training]
        assert_close(weights, expected, rtol=1e-5, atol=1e-6)
        assert losses == pytest.approx(expected_losses, rel=1e-5)


def test_epochs_of_two_processes_are_those_of_one(one_and_two):
    _, one, two = one_and_two
    for own in two:
        assert_close(own["trainings"]["epochs"][0], one["trainings"]["epochs"][0], rtol=1e-3, atol=1e-4)
        assert own["trainings"]["epochs"][1] == pytest.approx(one["trainings"]["epochs"][1], rel=1e-4)


def test_a_training_goes_on_in_another_number_of_processes(one_and_two, tmp_path):
    folder, one, two = one_and_two
    for own in two:
        assert_close(own["trainings"]["resumed"][0], one["trainings"]["epochs"][0], rtol=1e-3, atol=1e-4)
    kept = shutil.copytree(folder / "begun by two", tmp_path / "kept")
    assert len(list(kept.iterdir())) == 2
    weights, losses = together.trained(together.network(), together.RECIPE, 95, folder=kept)
    assert_close(weights, one["trainings"]["epochs"][0], rtol=1e-3, atol=1e-4)
    assert losses == pytest.approx(one["trainings"]["epochs"][1], rel=1e-4)


def test_processes_agree_to_the_bit(one_and_two):
    _, _, (first, second) = one_and_two
    for training, (weights, losses) in first["trainings"].items():
        assert_close(second["trainings"][training][0], weights, rtol=0, atol=0)
        assert second["trainings"][training][1] == losses


@pytest.mark.parametrize("form", list(together.FORMS))
def test_batch_normalisation_is_that_of_the_whole_batch(one_and_two, form):
    _, one, two = one_and_two
    expected, parts = one["normalisations"][form], [own["normalisations"][form] for own in two]
    torch.testing.assert_close(torch.cat([part["y"] for part in parts]), expected["y"])
    x, *others = zip(*(part["gradients"] for part in parts), strict=True)
    torch.testing.assert_close(torch.cat(x), expected["gradients"][0])
    for both, whole in zip(others, expected["gradients"][1:], strict=True):
        torch.testing.assert_close(sum(both), whole)
    for part in parts:
        torch.testing.assert_close(part["statistics"], expected["statistics"])


def test_figures_are_exact(one_and_two):
    _, one, two = one_and_two
    for own in two:
        assert torch.equal(own["figures"]["right"], one["figures"]["right"])
        assert_close(own["figures"]["statistics"], one["figures"]["statistics"], rtol=1e-6, atol=1e-7)


def test_one_works_and_the_other_waits_without_computing(one_and_two):
    _, _, (first, second) = one_and_two
    for own in (first, second):
        assert own["waiting"]["seen"] == 1
        assert own["waiting"]["nested"] == "alone"
        assert own["waiting"]["waited_s"] >= 0.5
    assert second["waiting"]["computed_s"] < 0.2 * second["waiting"]["waited_s"]
    assert (first["is_first"], second["is_first"]) == (True, False)


def test_an_error_of_the_first_is_raised_everywhere(one_and_two):
    _, _, (first, second) = one_and_two
    refused = ("ConfigError", "a must be b, not c; d must be e, not f")
    assert first["failing"] == [refused, ("Unsendable", "of the user's")]
    assert second["failing"] == [refused, ("RuntimeError", "Unsendable: of the user's")]


def test_one_process_is_a_group_of_itself():
    assert (n_processes(), rank()) == (1, 0)
    share = own_share(torch.arange(3), torch.arange(3))
    assert (len(share.x), share.weight, share.is_part) == (3, 1.0, False)


@pytest.mark.parametrize(("n_images", "n"), [(8, 4), (7, 3), (3, 3), (2, 3)])
def test_shares_are_the_whole_batch_and_weigh_as_their_images(monkeypatch, n_images, n):
    batch, shares = torch.arange(n_images), []
    monkeypatch.setattr(processes, "n_processes", lambda: n)
    for own in range(n):
        monkeypatch.setattr(processes, "rank", lambda own=own: own)
        shares.append(own_share(batch, 10 * batch))
        assert list(own_turns(range(10))) == list(range(own, 10, n))
    if n_images >= n:
        assert torch.equal(torch.cat([share.x for share in shares]), batch)
        assert max(len(share.y) for share in shares) - min(len(share.y) for share in shares) <= 1
    else:
        assert all(torch.equal(share.x, batch) and not share.is_part for share in shares)
    of_each_mean = sum(share.weight * share.y.float().mean() for share in shares) / n
    torch.testing.assert_close(of_each_mean, (10 * batch).float().mean())
