"""Capture from PyTorch: equality with the user's module, state-dict names, and what cannot be captured."""

import copy
import logging
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_checks import Net, assert_same_outputs, randomised
from torch import nn

from silicut.graph import Network, capture, network_with_weights, to_module
from silicut.records import UnsupportedModel

X = (3, 6, 6)


def example(*shape, batch=2, seed=0):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed))


def assert_captured(module, *shapes, batches=(1, 2, 5)):
    shapes = shapes or (X,)
    network = capture(randomised(module), tuple(example(*shape) for shape in shapes))
    captured = to_module(network)
    assert set(captured.state_dict()) == set(module.state_dict())
    for batch in batches:
        inputs = [example(*shape, batch=batch, seed=i) for i, shape in enumerate(shapes)]
        assert_same_outputs(captured(*inputs), module(*(x.clone() for x in inputs)))
    return network


def line_of(mark):
    """Return the "file:line" of the line of this file that ends with a marking comment."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return f"test_capture.py:{next(i for i, text in enumerate(lines, 1) if text.endswith(f'# {mark}'))}"


# The graph.


def test_operators_carry_the_users_module_paths_and_lines():
    class Part(nn.Module):
        def __init__(self, n_in):
            super().__init__()
            self.conv1 = nn.Conv2d(n_in, 4, 3, padding=1, padding_mode="circular")
            self.bn1 = nn.BatchNorm2d(4)

        def forward(self, x):
            return F.relu(self.bn1(self.conv1(x))) + 1  # four operators

    network = capture(nn.Sequential(Part(3), Part(4)), example(*X))
    assert [(o.name, o.kind) for o in network.operators][:5] == [
        ("0.conv1.pad", "pad"),
        ("0.conv1", "conv2d"),
        ("0.bn1", "batch_norm"),
        ("0.relu", "relu"),
        ("0.add", "add"),
    ]
    assert {o.source for o in network.operators[:5]} == {line_of("four operators")}
    assert network.producer["0.bn1"].arguments["running_mean"].name == "0.bn1.running_mean"
    assert [o.name for o in network.consumers["0.conv1"]] == ["0.bn1"]
    assert sorted(network.trainable)[:4] == ["0.bn1.bias", "0.bn1.weight", "0.conv1.bias", "0.conv1.weight"]
    assert network.n_parameters() == (3 * 4 * 9 + 4) + (4 * 4 * 9 + 4) + 2 * (4 + 4)


def test_an_operator_is_named_after_the_module_its_weight_belongs_to():
    module = Net(lambda s, x: F.conv2d(x, s.a.weight), a=nn.Conv2d(3, 4, 1))
    assert [o.name for o in capture(module, example(*X)).operators] == ["a"]


def test_a_module_used_twice_gives_distinct_names():
    module = Net(lambda s, x: s.r(s.a(s.r(s.a(x)))), a=nn.Conv2d(3, 3, 1), r=nn.ReLU())
    assert [o.name for o in capture(module, example(*X)).operators] == ["a", "r", "a_1", "r_1"]


def test_the_batch_is_free_in_every_shape():
    module = Net(lambda s, x: s.a(x).view(x.size(0), 2, -1).permute(1, 0, 2).reshape(2, -1), a=nn.Conv2d(3, 4, 1))
    network = assert_captured(module)
    assert network.tensors[network.inputs[0]].shape == (-1, 3, 6, 6)
    assert network.tensors[network.outputs[0]].shape == (2, -72)
    assert network.tensors[network.outputs[0]].sizes(3) == (2, 216)


def test_structure_hash_is_of_the_structure_and_weights_hash_of_the_weights():
    one = capture(nn.Conv2d(3, 4, 1), example(*X))
    same = capture(nn.Conv2d(3, 4, 1), example(*X, batch=7))
    other = capture(nn.Conv2d(3, 4, 1, stride=2), example(*X))
    assert one.structure_hash == same.structure_hash
    assert one.weights_hash != same.weights_hash
    assert one.structure_hash != other.structure_hash
    assert one.with_parameters(same.parameters).weights_hash == same.weights_hash
    assert one != same
    assert len({one, same}) == 2


def test_infinite_arguments_can_be_hashed():
    module = Net(lambda s, x: s.a(x).masked_fill(x[:, :1] > 0, float("-inf")), a=nn.Conv2d(3, 4, 1))
    network = assert_captured(module)
    assert network.structure_hash == capture(module, example(*X)).structure_hash


def test_with_parameters_refuses_other_names():
    network = capture(nn.Conv2d(3, 4, 1), example(*X))
    with pytest.raises(AssertionError):
        network.with_parameters({"weight": network.parameters["weight"]})


def test_a_network_that_reads_what_nothing_makes_is_our_mistake():
    network = capture(nn.Conv2d(3, 4, 1), example(*X))
    with pytest.raises(AssertionError, match="before anything makes them"):
        Network(network.inputs, network.outputs, "tensor", network.tensors, network.operators, {}, frozenset())


# The user's module stays as it is.


def test_the_module_is_not_changed():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    module[1].eval()
    before = copy.deepcopy(module.state_dict())
    capture(module, example(*X))
    assert [part.training for part in module.modules()] == [True, True, False, True]
    assert all(torch.equal(a, b) for a, b in zip(before.values(), module.state_dict().values(), strict=True))
    assert torch.is_grad_enabled()


def test_modes_are_put_back_when_capture_fails():
    module = Net(lambda s, x: s.a(x.double()), a=nn.Conv2d(3, 4, 1)).train()
    with pytest.raises(UnsupportedModel):
        capture(module, example(*X))
    assert module.training
    assert module.a.training


def test_it_works_without_gradients_too():
    with torch.no_grad():
        network = capture(nn.Conv2d(3, 4, 1), example(*X))
        assert not torch.is_grad_enabled()
    assert len(network.operators) == 1


# State-dict names.


def test_buffers_and_constants_that_no_state_dict_holds_stay_out_of_it():
    module = Net(lambda s, x: s.a(x - s.mean) * s.scale + s.kept + torch.tensor([1.0, 2, 3, 4])[:, None, None],
                 a=nn.Conv2d(3, 4, 1), scale=torch.full((4, 1, 1), 2.0))  # fmt: skip
    module.register_buffer("mean", torch.ones(3, 1, 1), persistent=False)
    module.register_buffer("kept", torch.ones(4, 1, 1))
    network = assert_captured(module)
    assert network.constants == {"mean", "scale", "unsqueeze_1"}  # the last is what the literal became
    assert network.trainable == {"a.weight", "a.bias"}
    captured = to_module(network)
    assert list(captured.state_dict()) == list(module.state_dict())
    again = network_with_weights(captured)
    assert again.weights_hash == network.weights_hash


@pytest.mark.parametrize("name", ["network", "batch_norm_momentum", "_steps", "_stores", "x", "out"])
def test_submodules_and_parameters_may_have_any_name(name):
    module = Net(lambda s, x: getattr(s, name)(x), **{name: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))})
    assert_captured(module)
    module = Net(lambda s, x: x * getattr(s, name), **{name: nn.Parameter(torch.ones(3, 1, 1))})
    assert_captured(module)


def test_an_unused_parameter_keeps_its_name():
    network = assert_captured(Net(lambda s, x: s.a(x), a=nn.Conv2d(3, 4, 1), spare=nn.Linear(2, 2)))
    assert "spare.weight" in network.trainable


def tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(3, 3, 1)
            self.b = nn.Conv2d(3, 3, 1)
            self.c = self.a
            self.b.weight = self.a.weight
            self.bn1 = nn.BatchNorm2d(3)
            self.bn2 = self.bn1

        def forward(self, x):
            return self.bn2(self.c(F.relu(self.bn1(self.b(F.relu(self.a(x)))))))

    return randomised(Tied())


def test_shared_weights_are_one_parameter_under_all_their_names():
    module = tied()
    network = assert_captured(module)
    assert network.aliases == {
        "b.weight": "a.weight",
        "c.weight": "a.weight",
        "c.bias": "a.bias",
        **{f"bn2.{n}": f"bn1.{n}" for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")},
    }
    captured = to_module(network)
    assert {name for name, _ in captured.named_parameters()} == {name for name, _ in module.named_parameters()}
    with torch.no_grad():
        captured.a.weight.mul_(2)
        captured.bn1.running_mean.add_(1)
    fresh = tied()
    fresh.load_state_dict(captured.state_dict())
    assert_same_outputs(fresh(example(*X)), captured(example(*X)))
    again = to_module(network)
    again.load_state_dict(fresh.state_dict())
    assert_same_outputs(again(example(*X)), captured(example(*X)))
    assert_same_outputs(to_module(network_with_weights(captured))(example(*X)), captured(example(*X)))
    assert_same_outputs(copy.deepcopy(captured)(example(*X)), captured(example(*X)))


def test_state_dicts_move_both_ways_and_through_files(tmp_path):
    module = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)))
    captured = to_module(capture(module, example(*X)))
    other = randomised(copy.deepcopy(module), seed=5)
    captured.load_state_dict(other.state_dict())
    assert_same_outputs(captured(example(*X)), other(example(*X)))
    torch.save(captured.state_dict(), tmp_path / "weights.pt")
    module.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert_same_outputs(module(example(*X)), other(example(*X)))


# In-place operators and views.


def _view_of_view(s, x):
    y = s.a(x)
    deeper = y.view(y.size(0), -1).view(y.size(0), 4, -1)
    y.relu_()
    return deeper


def _set_items(s, x):
    y = s.a(x)
    y[:, 0] = 1.5
    y[:, 1:, 2] *= 2
    y[..., -1] = y[..., 0]
    return s.b(y)


def _copies_stay(s, x):
    y = s.a(x)
    permuted = y.permute(0, 2, 3, 1).contiguous()
    y.add_(1)
    return permuted + y.permute(0, 2, 3, 1)


def _chain(s, x):
    y = s.a(x)
    z = y.relu_().mul_(2)
    z.add_(1)
    return s.b(y) + s.b(z)


def _changed_input(s, x):
    x.add_(1)
    return s.a(x)


def _or_in_place(s, x):
    mask = x > 0
    mask |= x < -1
    return s.a(x) * mask.any(1, keepdim=True)


def _last_view(s, x):
    return s.a(x).flatten(1).relu_()


@pytest.mark.parametrize(
    "body",
    [_view_of_view, _set_items, _copies_stay, _chain, _changed_input, _or_in_place, _last_view],
    ids=lambda f: f.__name__,
)
def test_in_place_operators_do_what_they_do_to_the_user(body):
    assert_captured(Net(body, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(4, 2, 1)))


def test_a_batch_norm_that_pytorch_rewrote_is_a_usual_one():
    def body(s, x):
        y = s.bn(s.a(x))
        view = y.flatten(2)
        y.relu_()
        return view

    network = assert_captured(Net(body, a=nn.Conv2d(3, 4, 1), bn=nn.BatchNorm2d(4)))
    norm = next(o for o in network.operators if o.kind == "batch_norm")
    assert norm.outputs == (norm.name,) == ("bn",)
    assert set(network.tensors) == {*network.inputs, *(output for o in network.operators for output in o.outputs)}


def test_dropout_beside_a_view_written_in_place_is_refused_with_its_line():
    class Hazard(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.drop = nn.Conv2d(3, 4, 1), nn.Dropout(0.5)

        def forward(self, x):
            y = self.a(x)
            z = y.flatten(1)
            y.mul_(2)  # the hazard
            return self.drop(z)

    with pytest.raises(UnsupportedModel) as caught:
        capture(Hazard(), example(*X))
    assert str(caught.value) == (
        f"aten.mul_.Tensor at {line_of('the hazard')} writes to memory that is read later under another name. "
        "Write it without the in-place operator; a network with dropout cannot be captured otherwise"
    )


def test_dropout_returns_its_own_input_in_evaluation_mode():
    def body(s, x):
        y = s.a(x)
        dropped = F.dropout(y, 0.5, s.training)
        dropped.relu_()
        return y

    with pytest.raises(UnsupportedModel, match="read later under another name"):
        capture(Net(body, a=nn.Conv2d(3, 4, 1)), example(*X))


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "through a view"])
def test_a_network_that_writes_to_its_buffers_is_refused(in_place):
    def body(s, x):
        if in_place:
            s.count += 1
        else:
            s.count[0] = 2
        return s.a(x) * s.count

    module = Net(body, a=nn.Conv2d(3, 4, 1))
    module.register_buffer("count", torch.zeros(1))
    with pytest.raises(UnsupportedModel, match="writes to count, which must stay as it is"):
        capture(module, example(*X))


# Inputs and outputs.


def test_the_batch_may_come_with_any_input():
    module = Net(lambda s, k, x: (s.a(x) * k).view(x.size(0), -1), a=nn.Conv2d(3, 4, 1))
    network = capture(randomised(module), (torch.tensor(2.0), example(*X)))
    for batch in (1, 4):
        x = example(*X, batch=batch)
        assert_same_outputs(to_module(network)(torch.tensor(3.0), x), module(torch.tensor(3.0), x))


def test_integer_inputs():
    module = Net(lambda s, i: s.out(s.table(i).mean(1)), table=nn.Embedding(10, 4), out=nn.Linear(4, 2))
    network = capture(randomised(module), torch.zeros(2, 5, dtype=torch.long))
    i = torch.randint(10, (3, 5), generator=torch.Generator().manual_seed(0))
    assert_same_outputs(to_module(network)(i), module(i))


def test_outputs_may_be_inputs_parameters_or_one_tensor_twice():
    module = Net(lambda s, x: (x, s.a.bias, s.a(x), s.a.bias), a=nn.Conv2d(3, 4, 1))
    assert_captured(module)
    assert_captured(Net(lambda s, x: (lambda y: {"a": y, "b": y})(s.a(x)), a=nn.Conv2d(3, 4, 1)))  # noqa: PLC3002


def test_other_shapes_are_refused():
    captured = to_module(capture(nn.Conv2d(3, 4, 1), example(*X)))
    with pytest.raises(
        ValueError, match=re.escape("captured shapes (n, 3, 6, 6), not (2, 3, 8, 8); capture the network with")
    ):
        captured(example(3, 8, 8))
    with pytest.raises(ValueError, match="captured shapes"):
        captured(example(*X), example(*X))


@pytest.mark.parametrize(
    "body",
    [
        lambda s, x: s.a(x).view(x.shape[0] // 2, 2, 4, 6, 6).mean(1),
        lambda s, x: s.a(x) * x.shape[0] ** 0.5,
        lambda s, x: s.a(x).chunk(2)[0],
        lambda s, x: s.a(x)[:3],
        lambda s, x: s.a(x).reshape(4, 2, -1),
    ],
    ids=["half the batch", "root of the batch", "chunks of the batch", "first images", "fixed view"],
)
def test_a_batch_that_cannot_be_free_is_the_examples(body):
    module = randomised(Net(body, a=nn.Conv2d(3, 4, 1)))
    network = capture(module, example(*X, batch=4))
    captured = to_module(network)
    assert network.tensors[network.inputs[0]].shape == (4, 3, 6, 6)
    assert_same_outputs(captured(example(*X, batch=4, seed=3)), module(example(*X, batch=4, seed=3)))
    with pytest.raises(ValueError, match=re.escape("captured shapes (4, 3, 6, 6), not (2, 3, 6, 6)")):
        captured(example(*X))


def test_variadic_and_keyword_forwards_keep_the_batch_free():
    class Variadic(nn.Module):
        def forward(self, first, *others, scale=2.0):
            return (first + sum(others)) * scale

    network = assert_captured(Variadic(), X, X, X)
    assert network.tensors[network.inputs[0]].shape[0] == -1


def test_a_moved_module_makes_its_constants_where_the_inputs_are():
    module = Net(lambda s, x: s.a(x) + torch.arange(6, device=x.device) + torch.zeros(x.shape[0], 1, 1, 1, device=x.device),
                 a=nn.Conv2d(3, 4, 1))  # fmt: skip
    assert_captured(module)
    captured = to_module(capture(module, example(*X))).to("meta")
    assert captured(example(*X).to("meta")).device.type == "meta"


# What cannot be captured.


class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:  # depends on values
            return x
        return -x


class Raises(nn.Module):
    def forward(self, x):
        return self.deeper(x)

    def deeper(self, x):
        raise RuntimeError("I am broken.\nIn two lines.")  # raised here


class Python(nn.Module):
    def forward(self, x):
        return x * float(x.numpy().sum())  # leaves PyTorch


@pytest.mark.parametrize(
    ("module", "mark", "message"),
    [
        (Branch(), "depends on values", r"GuardOnDataDependentSymNode: Could not guard on data-dependent expression .*"),
        (Raises(), "raised here", r"RuntimeError: I am broken"),
        (Python(), "leaves PyTorch", r"\w+: .*"),
    ],
    ids=["branch", "error", "python"],
)
def test_what_cannot_be_traced_is_one_sentence_with_the_users_line(module, mark, message, caplog, capfd):
    with pytest.raises(UnsupportedModel) as caught:
        capture(module, example(*X))
    advice = (
        r"\. The network must be traceable by torch\.export with these inputs: a fixed graph of tensor operators, "
        r"without branches on tensor values"
    )
    where = re.escape(line_of(mark))
    assert re.fullmatch(rf"torch\.export cannot trace the network at {where} \({message}\)" + advice, str(caught.value))
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_torch_cond_is_no_tensor_operator():
    class Conditional(nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))  # the condition

    with pytest.raises(UnsupportedModel) as caught:
        capture(Conditional(), example(*X))
    assert caught.value.offenders == (f"cond at {line_of('the condition')} is no tensor operator",)


@pytest.mark.parametrize("body", [lambda s, x: (x, None), lambda s, x: (x, 3), lambda s, x: {"a": x, "b": (x, None)}])
def test_outputs_that_are_no_tensors_are_refused(body):
    with pytest.raises(UnsupportedModel) as caught:
        capture(Net(body), example(*X))
    assert str(caught.value) == (
        "the network returns something that is no tensor. It must return a tensor, or tuples, lists and dicts of tensors"
    )


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (lambda s, x: {"a": [x, x + 1], "b": x + 2}, ("a.0", "a.1", "b")),
        (lambda s, x: (x, (x + 1, {"deep": x + 2})), ("0", "1.0", "1.1.deep")),
        (lambda s, x: [[x]], ("0.0",)),
    ],
)
def test_nested_outputs_come_flat_with_their_paths(body, keys):
    network = capture(Net(body), example(*X))
    assert network.output_structure == keys
    x = example(*X, batch=3)
    expected = [x + i for i in range(len(keys))]
    assert_same_outputs(to_module(network)(x), dict(zip(keys, expected, strict=True)))


def test_in_place_operators_whose_arguments_have_other_names_than_those_of_their_kin():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout(0.5, inplace=True), nn.ReLU(inplace=True), nn.Dropout2d(0.5, True))
    network = assert_captured(module)
    assert [o.kind for o in network.operators] == ["conv2d", "dropout", "relu", "feature_dropout"]


def test_layers_inside_pytorchs_own_modules_have_names_of_their_own():
    network = capture(nn.TransformerEncoderLayer(8, 2, 6, batch_first=True).eval(), torch.zeros(2, 4, 8))
    layers = [operator.name for operator in network.operators if operator.kind == "linear"]
    assert layers == ["self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2"]


# Constants.


def _constant_chain(s, x):
    table = torch.arange(6.0).view(2, 3)
    table[0] += 1  # in place, through a view
    first = table * 2
    table.mul_(3)
    with torch.no_grad():
        weights = (table - first).sum(0)
    return x * weights.view(1, 3, 1, 1).expand(x.shape[0], -1, 1, 1) + torch.tensor([0.5]) * torch.ones(()) - first[1, 2]


def test_chains_of_constants_are_computed_at_capture():
    network = assert_captured(Net(_constant_chain))
    assert [o.kind for o in network.operators] == ["expand", "mul", "add", "sub"]
    assert len(network.constants) == 3
    assert to_module(network).state_dict() == {}


def test_what_depends_on_chance_or_is_large_is_computed_in_every_pass():
    network = capture(Net(lambda s, x: x + torch.rand(3, 1, 1) + torch.zeros(2**23)[0]), example(*X))
    assert {"rand", "zeros"} <= {o.kind for o in network.operators}
    assert not network.constants


def test_a_constant_may_be_returned():
    assert_captured(Net(lambda s, x: (x, torch.arange(3) + 1)))


def test_number_types_that_numpy_lacks_are_refused():
    with pytest.raises(UnsupportedModel) as caught:
        capture(nn.Conv2d(3, 4, 1).bfloat16(), example(*X).bfloat16())
    assert str(caught.value) == (
        "weight must be a dense tensor of a type that NumPy has, not torch.bfloat16, torch.strided, cpu. "
        "Convert the network first, for example by module.float()"
    )


def test_half_and_double_networks_are_captured():
    for dtype in (torch.float16, torch.float64):
        module = randomised(nn.Conv2d(3, 4, 1)).to(dtype)
        network = capture(module, example(*X).to(dtype))
        assert_same_outputs(to_module(network)(example(*X).to(dtype)), module(example(*X).to(dtype)))


def test_an_operator_that_this_pytorch_lacks_is_named():
    network = capture(nn.ReLU(), example(*X))
    operator = network.operators[0]
    unknown = type(operator)(operator.name, "nowhere.relu.default", operator.arguments, operator.outputs)
    strange = Network(network.inputs, network.outputs, "tensor", network.tensors, (unknown,), {}, frozenset())
    with pytest.raises(UnsupportedModel, match=r"operator nowhere\.relu\.default of .* does not exist here\. Install"):
        to_module(strange)


def test_capture_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = capture(Net(_view_of_view, a=nn.Conv2d(3, 4, 1)), example(*X))
    assert np.isfinite(network.parameters["a.weight"]).all()
