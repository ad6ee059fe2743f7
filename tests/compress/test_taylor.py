"""First-order importance against gradients of explicit channel gates."""

import numpy as np
import pytest
import residual
import torch
from torch.nn import functional

from silicut.compress.taylor import taylor
from silicut.graph import capture
from silicut.records import ConfigError


def batches(n=3):
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 2, 4, 4, generator=generator), torch.randint(0, 3, (8,), generator=generator)) for _ in range(n)]


def gated(x, stream, inner, block):
    """Return the network's output with a gate on every channel of each group and of the block's branch."""
    net = residual.module()
    x = torch.relu(net.stem(x) * stream[:, None, None])
    y = torch.relu(net.block[0](x) * inner[:, None, None])
    y = net.block[2](y) * (stream * block)[:, None, None]
    return net.head(torch.relu(x + y).mean((2, 3)))


def by_gates(data):
    """Return importances by the gradients of gates at 1, absolute a batch, summed over batches."""
    sums = [np.zeros(4), np.zeros(3), np.zeros(4)]
    for x, y in data:
        gates = [torch.ones(n, requires_grad=True) for n in (4, 3, 4)]
        gradients = torch.autograd.grad(functional.cross_entropy(gated(x, *gates), y), gates)
        sums = [total + gradient.abs().numpy() for total, gradient in zip(sums, gradients, strict=True)]
    return sums


def test_importances_are_gradients_of_gates():
    stream, inner, block = by_gates(batches())
    norm = stream.sum() + inner.sum()
    scores = taylor(*residual.parts(residual.captured()), batches())
    for name, importance in (("stem", stream), ("block.0", inner)):
        order = np.argsort(-importance, kind="stable")
        assert scores[name].order.tolist() == order.tolist()
        lost = importance.sum() - np.cumsum(importance[order])
        np.testing.assert_allclose(scores[name].values[1:], -lost / norm, rtol=1e-4, atol=1e-7)
    assert scores["block.0"].values[0] == pytest.approx(-block.sum() / norm, rel=1e-4)
    assert scores["block.0"].values[0] < scores["block.0"].values[1]


def test_parameters_that_the_user_does_not_train_are_scored_too():
    module = residual.Residual().eval()
    module.load_state_dict(residual.module().state_dict())
    module.stem.requires_grad_(False)
    module.block[0].requires_grad_(False)
    frozen = taylor(*residual.parts(capture(module, torch.zeros(1, 2, 4, 4))), batches())
    for name, score in taylor(*residual.parts(residual.captured()), batches()).items():
        np.testing.assert_allclose(frozen[name].values, score.values, rtol=1e-5, atol=1e-8)


def test_weights_need_not_be_called_weight():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            net = residual.module()
            self.filters, self.matrix = (torch.nn.Parameter(p.detach().clone()) for p in (net.stem.weight, net.head.weight))

        def forward(self, x):
            return functional.linear(torch.relu(functional.conv2d(x, self.filters)).mean((2, 3)), self.matrix)

    network, channels, blocks = residual.parts(capture(Plain(), torch.zeros(1, 2, 4, 4)))
    scores = taylor(network, channels, blocks, batches(1))
    assert [len(score.order) for score in scores.values()] == [4]


def test_the_loss_may_be_the_users():
    parts = residual.parts(residual.captured())
    doubled = taylor(*parts, batches(), lambda output, y: 2 * functional.cross_entropy(output, y))
    squared = taylor(*parts, batches(), lambda output, y: (output**2).mean())
    plain = taylor(*parts, batches())
    np.testing.assert_allclose(doubled["stem"].values, plain["stem"].values, rtol=1e-5, atol=1e-8)  # only shares count
    assert not np.allclose(squared["stem"].values, plain["stem"].values, rtol=1e-3)


def test_no_batch_and_a_loss_that_is_not_finite_are_refused():
    parts = residual.parts(residual.captured())
    with pytest.raises(ConfigError, match="batches must be at least one batch with a finite loss, not none"):
        taylor(*parts, [])
    with pytest.raises(ConfigError, match="not a loss with gradients that are not finite; check data and loss"):
        taylor(*parts, batches(1), lambda output, y: output.sum() * float("nan"))
