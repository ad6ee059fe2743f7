import copy

import pytest
import torch
from blobs import blobs, small_network
from torch import nn
from torch.nn import functional

from silicut.graph import capture, to_module
from silicut.training import batch_norm_buffers, recalibrate_batch_norm


def cumulative_average(module, batches):
    """The independent way: torch's own average over all batches (momentum None)."""
    reference = copy.deepcopy(module)
    for part in reference.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            part.reset_running_stats()
            part.train()
        else:
            part.training = False
    with torch.no_grad():
        for x, _ in batches:
            reference(x)
    return reference


def network_with_momentum(momentum):
    module = nn.Sequential(small_network()[0], nn.BatchNorm2d(4, momentum=momentum), nn.ReLU(), nn.BatchNorm2d(4))
    with torch.no_grad():
        module[1].running_mean.fill_(7)
        module[1].running_var.fill_(9)
    return module


class Generated(nn.Module):
    """Batch norm without layers: buffers in plain submodules, the way a generated module holds them."""

    def __init__(self, of):
        super().__init__()
        self.conv, self.norm = copy.deepcopy(of[0]), nn.Module()
        for name, tensor in of[1].state_dict().items():
            self.norm.register_buffer(name, tensor.clone())
        self.batch_norm_momentum = {"norm": 0.03}

    def forward(self, x):
        norm = self.norm
        return functional.batch_norm(
            self.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training, 0.03
        )


@pytest.mark.parametrize("momentum", [0.1, 0.5, 1.0, None])
def test_statistics_are_the_cumulative_average(momentum):
    module, data = network_with_momentum(momentum), blobs(n_training=90)
    module.eval()
    expected = cumulative_average(module, data.training_batches(0, 30, 4))
    recalibrate_batch_norm(module, data, n_images=1000, batch_size=30, seed=4)
    for name, tensor in expected.state_dict().items():
        if name.endswith(("mean", "var")):
            torch.testing.assert_close(module.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    assert not module.training


def test_a_module_that_names_its_momentum_is_recalibrated_alike():
    layered = network_with_momentum(0.1)[:2]
    generated = Generated(layered)
    recalibrate_batch_norm(layered, blobs(), n_images=60, batch_size=20)
    recalibrate_batch_norm(generated, blobs(), n_images=60, batch_size=20)
    torch.testing.assert_close(generated.norm.running_mean, layered[1].running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(generated.norm.running_var, layered[1].running_var, rtol=1e-4, atol=1e-5)


def test_only_so_many_images_are_used_and_batches_weigh_by_their_images():
    used = []
    module = network_with_momentum(1.0)[:2]
    module.register_forward_pre_hook(lambda _, inputs: used.append(len(inputs[0])))
    batches = list(blobs().training_batches(0, 20, 0))
    recalibrate_batch_norm(module, batches, n_images=50)
    assert used == [20, 20, 10]
    x = torch.cat([x for x, _ in batches])[:50]
    expected = functional.conv2d(x, module[0].weight, module[0].bias, padding=1).mean((0, 2, 3))
    torch.testing.assert_close(module[1].running_mean, expected)


def test_dropout_stays_off_and_parameters_stay():
    module = small_network()
    one, other = copy.deepcopy(module), copy.deepcopy(module)
    one.insert(0, nn.Dropout(0.5))
    recalibrate_batch_norm(one, blobs())
    recalibrate_batch_norm(other, blobs())
    torch.testing.assert_close(one[2].running_var, other[1].running_var)
    assert one.training
    for before, after in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(before, after)


def test_without_batch_norm_nothing_happens():
    module = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
    assert batch_norm_buffers(module) == {}
    recalibrate_batch_norm(module, blobs())


def test_frozen_batch_norms_are_left_alone():
    module = network_with_momentum(0.0)
    recalibrate_batch_norm(module, blobs())
    assert module[1].running_mean.tolist() == [7] * 4
    assert module[3].running_mean.tolist() != [0] * 4


def test_statistics_survive_an_error():
    module = network_with_momentum(0.1)
    with pytest.raises(RuntimeError, match="channels"):
        recalibrate_batch_norm(module, [(torch.zeros(4, 3, 6, 6), torch.zeros(4))])
    assert module[1].running_mean.tolist() == [7] * 4


def test_wrong_amounts_are_refused():
    with pytest.raises(ValueError, match="n_images must be 1 or more, not 0"):
        recalibrate_batch_norm(small_network(), blobs(), n_images=0)
    with pytest.raises(ValueError, match="at least one training image"):
        recalibrate_batch_norm(small_network(), [])


def test_generated_modules_train_and_recalibrate_like_the_ones_they_were_captured_from():
    layered = network_with_momentum(0.2)
    generated = to_module(capture(layered.eval(), torch.zeros(2, 2, 6, 6)))
    assert batch_norm_buffers(generated).keys() == batch_norm_buffers(layered).keys() == {"1", "3"}
    assert [buffers.momentum for buffers in batch_norm_buffers(generated).values()] == [0.2, 0.1]
    for module in (layered, generated):
        recalibrate_batch_norm(module, blobs(), n_images=60, batch_size=20)
    for name, tensor in layered.state_dict().items():
        if name.endswith(("mean", "var")):
            torch.testing.assert_close(generated.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
