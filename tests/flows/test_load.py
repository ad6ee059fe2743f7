"""A plan carried over to what a training has gathered, by the names a user calls."""

import pytest
import tiny
import torch

import silicut
from silicut.graph import capture
from silicut.records import ConfigError

KEPT = {"stem": tuple(range(0, 32, 2)), "block.conv1": (0, 9)}


@pytest.fixture(scope="module")
def plan():
    network = capture(tiny.build(), tiny.example())
    return silicut.Plan(
        widths={name: len(kept) for name, kept in KEPT.items()},
        kept=KEPT,
        removed_blocks=(),
        value=("log-energy", 1.0),
        solver="coupled",
        predicted_ms=1.0,
        target_ms=1.0,
        bound=1.0,
        hashes={"network": network.structure_hash},
    )


def test_a_users_training_goes_on_behind_apply(plan, tmp_path):
    model = tiny.build()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    x, y = tiny.images(32, 0)
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    average = {name: tensor * 2 for name, tensor in model.state_dict().items()}

    smaller = silicut.apply(plan, model, tiny.example())
    parts = silicut.kept_parts(plan.save(tmp_path / "plan.json"), model, tiny.example())
    fresh = torch.optim.AdamW(smaller.parameters(), 0.01)
    fresh.load_state_dict(silicut.sliced_optimizer_state(optimizer, model, fresh, smaller, parts))

    even = list(KEPT["stem"])
    moment = optimizer.state[model.block.conv1.weight]["exp_avg"]
    assert torch.equal(fresh.state[smaller.block.conv1.weight]["exp_avg"], moment[[0, 9]][:, even])
    assert int(fresh.state[smaller.block.conv1.weight]["step"]) == 1
    cut = silicut.sliced_state_dict(average, parts)
    assert cut.keys() == smaller.state_dict().keys()
    assert torch.equal(cut["head.weight"], 2 * smaller.head.weight)


def test_a_plan_of_another_network_cuts_nothing(plan):
    with pytest.raises(ConfigError, match=r"^the plan must be for this network"):
        silicut.kept_parts(plan, tiny.Tiny(16).eval(), tiny.example())
