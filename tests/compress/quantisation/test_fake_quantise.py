"""Fake quantisation: values and gradients number by number, by the definition of learned step sizes."""

import math

import numpy as np
import pytest
import torch

from silicut.compress.quantisation.fake_quantise import fake_quantise

CASES = {
    "unsigned": ((5, 3, 4, 2), (), 0, 15),
    "with a zero point": ((5, 40), (), -3, 4),
    "never positive": ((4, 30), (), -7, 0),
    "a step for each filter": ((6, 2, 3, 3), (6,), -3, 3),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_definition(case):
    shape, steps_shape, low, high = CASES[case]
    rng = np.random.default_rng(0)
    x, g = (rng.normal(0, 1, shape).astype(np.float32) for _ in range(2))
    step = rng.uniform(0.1, 0.3, steps_shape).astype(np.float32)
    values, by_value, by_log = _given_and_taken(x, step, low, high, g)
    expected, by_value_expected, by_step = _definition(x, np.broadcast_to(step, steps_shape), low, high, g)
    assert np.allclose(values, expected, atol=1e-5)
    assert np.array_equal(by_value, by_value_expected)
    gradient_scale = 1 / math.sqrt(x[0].size * max(-low, high))
    assert np.allclose(by_log, 10 * gradient_scale * by_step * step, rtol=1e-4, atol=1e-4)


def _given_and_taken(x, step, low, high, g):
    """Return values and gradients of `fake_quantise`."""
    values = torch.from_numpy(x).requires_grad_()
    log_step = torch.tensor(np.log(step)).requires_grad_()
    rounded = fake_quantise(values, log_step, low, high, x[0].size)
    rounded.backward(torch.from_numpy(g))
    return rounded.detach().numpy(), values.grad.numpy(), log_step.grad.numpy()


def _definition(x, step, low, high, g):
    """Return values, gradients by the values and LSQ's gradients by the steps, not scaled."""
    values, by_value, by_step = np.zeros(x.shape), np.zeros(x.shape, np.float32), np.zeros(step.shape)
    for at in np.ndindex(x.shape):
        i = at[0] if step.ndim else ()
        ratio = np.float64(x[at]) / step[i]
        values[at] = min(max(round(ratio), low), high) * step[i]
        if low < ratio < high:
            by_value[at] = g[at]
            by_step[i] += g[at] * (round(ratio) - ratio)
        else:
            by_step[i] += g[at] * (low if ratio <= low else high)
    return values, by_value, by_step


def test_filters_may_have_limits_of_their_own():
    x, g = (np.random.default_rng(i).normal(0, 1, (3, 50)).astype(np.float32) for i in range(2))
    step, limits = np.array([0.1, 0.2, 0.3], np.float32), (1.0, 3.0, 7.0)
    limit = torch.tensor(limits).reshape(3, 1)
    together = _given_and_taken(x, step, -limit, limit, g)
    for i, alone in enumerate(limits):
        expected = _given_and_taken(x[i : i + 1], step[i : i + 1], -alone, alone, g[i : i + 1])
        for found, part in zip(together, expected, strict=True):
            np.testing.assert_allclose(found[i : i + 1], part, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_what_saturates_is_that_of_differences():
    """There nothing is rounded, so the step's gradient is a real one: only LSQ's scale and the rate of steps lie between."""
    x = torch.tensor([[9.0, -9.0, 5.0, 7.0]], dtype=torch.float64)
    low, high, h = -2.0, 3.0, 1e-6
    log_step = torch.tensor(math.log(0.5), dtype=torch.float64, requires_grad=True)

    def loss(log_step):
        return fake_quantise(x, log_step, low, high, 4).pow(2).sum()

    loss(log_step).backward()
    with torch.no_grad():
        difference = (loss(log_step + h) - loss(log_step - h)) / (2 * h)
    assert float(log_step.grad) == pytest.approx(10 * float(difference) / math.sqrt(4 * 3), rel=1e-6)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_order_in_memory_changes_nothing_and_is_kept(order):
    x, g = (torch.randn(4, 3, 6, 5, generator=torch.Generator().manual_seed(i)) for i in range(2))
    values = x.clone(memory_format=order).requires_grad_()
    log_step = torch.tensor(-1.5, requires_grad=True)
    rounded = fake_quantise(values, log_step, 0, 7, 90)
    rounded.backward(g.contiguous(memory_format=order))
    expected = _given_and_taken(x.numpy(), log_step.exp().detach().numpy(), 0, 7, g.numpy())
    for found, part in zip((rounded.detach(), values.grad, log_step.grad), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), part, rtol=1e-4)
    assert rounded.is_contiguous(memory_format=order)
    assert values.grad.is_contiguous(memory_format=order)


def test_gradients_of_parts_of_a_tensor_add_up():
    """Incoming gradients may be views, expanded or in another order than the values."""
    x = torch.randn(4, 6, 8, 8, generator=torch.Generator().manual_seed(3)).contiguous(memory_format=torch.channels_last)
    log_step = torch.tensor(-1.0, requires_grad=True)
    rounded = fake_quantise(x, log_step, 0, 7, 384)
    rounded[:, ::2, 1:].sum().backward()
    g = torch.zeros_like(x)
    g[:, ::2, 1:] = 1.0
    _, _, expected = _given_and_taken(x.contiguous().numpy(), np.exp(np.float32(-1.0)), 0, 7, g.contiguous().numpy())
    assert float(log_step.grad) == pytest.approx(float(expected), rel=1e-4)


def test_a_step_of_a_usual_size_follows_lsq():
    step, rate = math.sqrt(0.1), 1e-3
    log_step = torch.tensor(math.log(step), requires_grad=True)
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(4))
    fake_quantise(x, log_step, 0, 3, 20).sum().backward()
    _, _, by_step = _definition(x.numpy(), np.asarray(step), 0, 3, np.ones((3, 20), np.float32))
    lsq = step - rate * float(by_step) / math.sqrt(20 * 3)
    found = math.exp(math.log(step) - rate * float(log_step.grad))
    assert found - step == pytest.approx(lsq - step, rel=0.02)
