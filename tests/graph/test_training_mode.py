"""A captured network trains as the user's module does: gradients, statistics, dropout, copies."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_checks import Net, assert_same_outputs, randomised
from torch import nn

from silicut import zoo
from silicut.graph import capture, network_with_weights, to_module

X = (3, 6, 6)


def example(*shape, batch=4, seed=0):
    return torch.randn(batch, *(shape or X), generator=torch.Generator().manual_seed(seed))


def step(module, x, n=2):
    """Train for some steps with the same random numbers; return the last output and gradients."""
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    torch.manual_seed(7)
    for _ in range(n):
        optimizer.zero_grad()
        output = module(x)
        output.square().mean().backward()
        optimizer.step()
    return output, {name: p.grad for name, p in module.named_parameters() if p.requires_grad}


def assert_trains_alike(module, x=None):
    x = example() if x is None else x
    captured = to_module(capture(randomised(module), x))
    output, gradients = step(module, x)
    own_output, own_gradients = step(captured, x)
    assert_same_outputs(own_output, output)
    assert own_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert (gradient is None) == (own_gradients[name] is None), name
        assert gradient is None or torch.equal(gradient, own_gradients[name]), name
    expected = module.state_dict()
    for name, value in captured.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert_same_outputs(captured.eval()(x), module.eval()(x))
    return captured


def conv_then(*parts):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *parts)


@pytest.mark.parametrize(
    "part",
    [
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4, momentum=0.3, eps=0.1),
        nn.BatchNorm2d(4, momentum=None),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.InstanceNorm2d(4),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.GroupNorm(2, 4),
        nn.Dropout(0.5),
        nn.Dropout2d(0.5),
        nn.AlphaDropout(0.5),
        nn.FeatureAlphaDropout(0.5),
        nn.RReLU(),
        nn.PReLU(4),
        Net(lambda s, x: F.dropout(x, 0.5, s.training)),
        Net(lambda s, x: x + F.batch_norm(x, None, None, training=True)),
    ],
    ids=lambda part: str(part).split("\n", 1)[0],
)
def test_layers_that_differ_between_training_and_evaluation(part):
    assert_trains_alike(conv_then(part))


def test_dropout_that_is_always_on_stays_on():
    module = Net(lambda s, x: F.dropout(s.a(x), 0.5), a=nn.Conv2d(3, 4, 1))
    captured = to_module(capture(module, example()))
    torch.manual_seed(1)
    expected = module.eval()(example())
    torch.manual_seed(1)
    assert_same_outputs(captured(example()), expected)
    assert (expected == 0).any()


def test_batch_norm_twice_in_one_pass():
    assert_trains_alike(Net(lambda s, x: s.bn(s.a(s.bn(x))), a=nn.Conv2d(3, 3, 1), bn=nn.BatchNorm2d(3)))


def test_in_place_and_residual_networks():
    def body(s, x):
        y = s.bn(s.a(x))
        y += x
        z = F.relu_(y)
        return s.drop(s.b(z)) + y

    assert_trains_alike(
        Net(body, a=nn.Conv2d(3, 3, 3, padding=1), bn=nn.BatchNorm2d(3), b=nn.Conv2d(3, 3, 1), drop=nn.Dropout(0.2))
    )


def test_blocks_without_gradients_and_detached_tensors_stop_gradients():
    def body(s, x):
        y = s.a(x)
        with torch.no_grad():
            scale = s.b(y).abs().mean((2, 3), keepdim=True)
        return y / (scale + 1) + s.c(y).detach() * y

    assert_trains_alike(Net(body, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 4, 1), c=nn.Conv2d(4, 4, 1)))


def test_a_gradient_block_within_a_block_without():
    def body(s, x):
        with torch.no_grad():
            y = s.a(x)
            with torch.enable_grad():
                z = s.b(x)
        return y + z

    assert_trains_alike(Net(body, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1)))


def test_frozen_parameters_stay_frozen():
    module = conv_then(nn.BatchNorm2d(4))
    module[0].weight.requires_grad_(False)
    captured = assert_trains_alike(module)
    assert {name for name, _ in captured.named_parameters()} == {"0.bias", "1.weight", "1.bias"}


def test_shared_weights_get_the_gradients_of_all_uses():
    module = Net(lambda s, x: s.b(s.a(x)) + s.a(x), a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1))
    module.b.weight = module.a.weight
    assert_trains_alike(module)


@pytest.mark.parametrize("name", ["resnet20", "resnet20-projection", "lenet5", "digits-resnet"])
def test_zoo_networks_train_alike(name):
    channels = zoo.network_entry(name).input_shape[0]
    assert_trains_alike(zoo.network(name), example(channels, 28, 28) if name == "lenet5" else example(channels, 8, 8))


# Copies.


def test_a_deep_copy_is_independent_and_keeps_everything():
    module = to_module(capture(randomised(conv_then(nn.BatchNorm2d(4), nn.Dropout(0.5))), example())).train()
    step(module, example())
    next(module.parameters()).requires_grad_(False)
    module.batch_norm_momentum["1"] = 0.7
    copied = copy.deepcopy(module)
    assert copied.training
    assert [p.requires_grad for p in copied.parameters()] == [p.requires_grad for p in module.parameters()]
    assert copied.batch_norm_momentum == {"1": 0.7}
    assert_same_outputs(copied.eval()(example()), module.eval()(example()))
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert (module(example()) != 0).any()
    assert (copied(example()) == 0).all()


def test_a_copy_keeps_its_number_type_and_place():
    module = to_module(capture(conv_then(nn.BatchNorm2d(4)), example())).to(torch.bfloat16)
    copied = copy.deepcopy(module)
    assert {p.dtype for p in copied.parameters()} == {torch.bfloat16}
    assert copied(example().bfloat16()).dtype == torch.bfloat16
    assert next(copy.deepcopy(module.to("meta")).parameters()).device.type == "meta"


def test_the_trained_weights_come_back_as_a_network():
    network = capture(conv_then(nn.BatchNorm2d(4)), example())
    module = to_module(network)
    step(module, example())
    trained = network_with_weights(module.to(torch.bfloat16).to(torch.float32))
    assert trained.structure_hash == network.structure_hash
    assert trained.weights_hash != network.weights_hash
    assert trained.parameters["1.num_batches_tracked"] == 2
    assert {name: a.dtype for name, a in trained.parameters.items()} == {
        name: a.dtype for name, a in network.parameters.items()
    }
    half = network_with_weights(module.to(torch.bfloat16))
    assert half.parameters["0.weight"].dtype == np.float32


def test_returned_weights_do_not_change_with_the_module():
    module = to_module(capture(conv_then(), example()))
    network = network_with_weights(module)
    before = network.parameters["0.weight"].copy()
    step(module, example())
    assert np.array_equal(network.parameters["0.weight"], before)


def test_momenta_are_known_by_prefix():
    module = nn.Sequential(
        nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, momentum=0.25), nn.BatchNorm2d(3, track_running_stats=False)
    )
    assert to_module(capture(module, example())).batch_norm_momentum == {"0": None, "1": 0.25}


def test_a_lone_batch_norm_at_the_root():
    module = nn.BatchNorm2d(3)
    assert to_module(capture(module, example())).batch_norm_momentum == {"": 0.1}
    assert_trains_alike(nn.BatchNorm2d(3))


def test_averaged_models_can_be_made_of_it():
    module = to_module(capture(conv_then(nn.BatchNorm2d(4)), example()))
    averaged = torch.optim.swa_utils.AveragedModel(module)
    averaged.update_parameters(module)
    assert_same_outputs(averaged.eval()(example()), module.eval()(example()))
