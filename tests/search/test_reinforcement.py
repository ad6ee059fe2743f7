"""The agent that chooses levels one after the other."""

import numpy as np
import pytest
from black_box_cases import arrays

from silicut.search import Ddpg, Outcome, Parameter, Space, minimise
from silicut.search.reinforcement import _noisy

pytest.importorskip("stable_baselines3", reason="needs the extra rl")
pytest.importorskip("gymnasium", reason="needs the extra rl")

import torch
from stable_baselines3.common.env_checker import check_env

from silicut.search.agent import Agent, Choices

SPACE = Space(
    (
        Parameter("rows", (1, 2, 4, 8)),
        Parameter("w0", (2, 3)),
        Parameter("fixed", (9,)),
        Parameter("w1", (2, 3, 4)),
        Parameter("lanes", (1, 2)),
    )
)
FEATURES = {"w0": (3.0, 64.0, 5.0), "w1": (7.0, 16.0, 5.0)}


def test_the_environment_is_what_agents_expect():
    check_env(Choices(SPACE, FEATURES), warn=False)


def test_observations_hold_scaled_features_chosen_levels_and_the_last_action():
    choices = Choices(SPACE, FEATURES)
    seen, _ = choices.reset()
    observed = [seen]
    for action in (0.6, 0.1, 0.999, 1.0):
        seen, reward, is_last, is_cut, _ = choices.step(np.array([action], np.float32))
        assert reward == 0.0
        assert not is_cut
        observed.append(seen)
    assert is_last
    assert choices.point == {"rows": 4, "w0": 2, "w1": 4, "lanes": 2, "fixed": 9}
    expected = [  # three features of the parameter to choose; rows, lanes; the last action
        [0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0.75, 0, 0.6],
        [1, 0, 0, 0.75, 0, 0.1],
        [0, 0, 0, 0.75, 0, 0.999],
        [0, 0, 0, 0.75, 1, 1],
    ]
    np.testing.assert_allclose(observed, expected, rtol=1e-6)


def test_levels_share_the_actions_equally():
    choices = Choices(Space((Parameter("w", (2, 3, 4, 5, 6, 7, 8)),)), {})
    chosen = []
    for action in np.linspace(0, 1, 701):
        choices.reset()
        choices.step(np.array([action], np.float32))
        chosen.append(choices.point["w"])
    counts = [chosen.count(level) for level in range(2, 9)]
    assert max(counts) - min(counts) <= 2
    assert chosen == sorted(chosen)


def test_noise_is_a_truncated_normal():
    rng = np.random.default_rng(0)
    drawn = np.array([_noisy(0.9, 0.5, rng) for _ in range(20_000)])
    assert 0 <= drawn.min() <= drawn.max() <= 1
    from scipy.stats import truncnorm

    assert abs(drawn.mean() - truncnorm.mean(-1.8, 0.2, 0.9, 0.5)) < 0.01


def test_an_episode_is_remembered_with_one_reward_and_replayed_less_its_average():
    agent = Agent(SPACE, FEATURES, Ddpg(), seed=0)
    steps = agent.walk(lambda wanted: 0.25)
    agent.remember(steps, -1.5)
    replay = agent._ddpg.replay_buffer
    assert [step.is_last for step in steps] == [False, False, False, True]
    assert replay.pos == 4
    assert set(replay.rewards[:4, 0]) == {np.float32(-1.5)}
    np.testing.assert_allclose(replay.actions[:4, 0, 0], -0.5)
    np.testing.assert_array_equal(replay.dones[:4, 0], [0, 0, 0, 1])
    assert float(replay.sample(8).rewards.abs().max()) == 0.0
    agent.remember(steps, 0.5)
    batch = replay.sample(4000)  # the baseline moves half-way to the batch's mean of about -0.5
    assert abs(float(batch.rewards.mean()) - 0.5) < 0.05


def test_rates_networks_and_targets_are_those_of_the_paper():
    agent = Agent(SPACE, FEATURES, Ddpg(), seed=0)
    ddpg = agent._ddpg
    agent.remember(agent.walk(lambda wanted: wanted), 0.0)
    agent.learn_from(3)
    assert ddpg.actor.optimizer.param_groups[0]["lr"] == 1e-4
    assert ddpg.critic.optimizer.param_groups[0]["lr"] == 1e-3
    assert (ddpg.tau, ddpg.gamma) == (0.01, 1.0)
    widths = [tuple(p.shape) for p in ddpg.actor.parameters() if p.dim() == 2]
    assert widths == [(300, 6), (300, 300), (1, 300)]
    assert [tuple(p.shape) for p in ddpg.critic.parameters() if p.dim() == 2] == [(300, 7), (300, 300), (1, 300)]
    assert ddpg._n_updates == 3


def test_global_chance_is_left_alone():
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    minimise(arrays(), Ddpg(n_warm_up=2), 4)
    assert (torch.rand(1).item(), np.random.rand()) == expected


def test_it_learns():
    class Counting:
        """The more, the better; half of all points break the limit."""

        name = "counting"
        space = Space(tuple(Parameter(f"p{i}", tuple(range(8))) for i in range(4)))

        def evaluate(self, point):
            total = sum(point.values())
            return Outcome(40.0 - total, 1.0, ("odd start",)) if point["p0"] > 5 else Outcome(40.0 - total)

    result = minimise(Counting(), "ddpg", 180, seed=0)
    costs, violations = ([getattr(e.outcome, name) for e in result.evaluations] for name in ("cost", "violation"))
    assert np.mean(costs[-15:]) < np.mean(costs[:15]) - 3
    assert np.mean(violations[-15:]) < np.mean(violations[:15])
