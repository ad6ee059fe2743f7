"""The agent of `silicut.search.reinforcement`: stable-baselines3's DDPG on an environment that chooses levels.

This module needs the extra "rl" and is imported only where the solver is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import DDPG
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from silicut.search.space import Level, Parameter, Space

if TYPE_CHECKING:
    from silicut.search.reinforcement import Ddpg

Observation = NDArray[np.float32]

_N_HIDDEN = (300, 300)
_TAU, _DISCOUNT = 0.01, 1.0
_N_EPISODES_KEPT = 128
_BASELINE_FRAC = 0.5


class Choices(gymnasium.Env[Observation, NDArray[np.float32]]):
    """An episode: one parameter after the other is given the level that an action in 0..1 stands for.

    Parameters of one level are left out.

    An observation holds what is known of the parameter to choose (each feature scaled to 0..1 over all parameters that have
    features; zeros for the others), then the levels chosen so far of those without features (0 where not yet chosen, else
    the place among its levels, 1 the last), and the last action. Rewards are 0: only the whole point has an outcome.

    Args:
        space: the parameters, in the order in which they are chosen; at least one has several levels.
        features: see `silicut.search.outcome.Described`.
    """

    def __init__(self, space: Space, features: Mapping[str, tuple[float, ...]]) -> None:
        self._free = tuple(parameter for parameter in space.parameters if len(parameter.levels) > 1)
        self._fixed = {p.name: p.levels[0] for p in space.parameters if p not in self._free}
        self._features = _scaled(self._free, features)
        self._machine = [i for i, parameter in enumerate(self._free) if parameter.name not in features]
        n_numbers = self._features.shape[1] + len(self._machine) + 1
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (n_numbers,), np.float32)
        self.action_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
        self._places: list[int] = []
        self._last_action = 0.0

    @property
    def n_steps(self) -> int:
        """Of an episode."""
        return len(self._free)

    @property
    def point(self) -> dict[str, Level]:
        """What the episode has chosen, once it is over."""
        chosen = {p.name: p.levels[place] for p, place in zip(self._free, self._places, strict=True)}
        return self._fixed | chosen

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; nothing about it is left to chance."""
        super().reset(seed=seed, options=options)
        self._places, self._last_action = [], 0.0
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Choose the level of the next parameter: its levels share 0..1 in equal parts."""
        n_levels = len(self._free[len(self._places)].levels)
        self._last_action = float(action[0])
        self._places.append(min(int(self._last_action * n_levels), n_levels - 1))
        return self._observation(), 0.0, len(self._places) == len(self._free), False, {}

    def _observation(self) -> Observation:
        next_one, n_chosen = min(len(self._places), len(self._features) - 1), len(self._places)
        chosen = [(self._places[i] + 1) / len(self._free[i].levels) if i < n_chosen else 0.0 for i in self._machine]
        return np.array([*self._features[next_one], *chosen, self._last_action], dtype=np.float32)


def _scaled(parameters: Sequence[Parameter], features: Mapping[str, tuple[float, ...]]) -> NDArray[np.float64]:
    """Return a row of features in 0..1 for each parameter, zeros for those without, shape (n parameters, n features)."""
    n_features = max((len(row) for row in features.values()), default=0)
    rows = np.zeros((len(parameters), n_features))
    known = [i for i, parameter in enumerate(parameters) if parameter.name in features]
    if known:
        given = np.array([features[parameters[i].name] for i in known], dtype=np.float64)
        span = np.ptp(given, axis=0)
        rows[known] = (given - given.min(axis=0)) / np.where(span > 0, span, 1.0)
    return rows


@dataclass(frozen=True)
class Step:
    """One choice of an episode: what was seen, done (of 0..1) and seen next, and whether that was the last."""

    observation: Observation
    action: float
    next_observation: Observation
    is_last: bool


class Agent:
    """An actor and a critic that choose points of a space.

    Chance is its own: neither PyTorch's nor NumPy's global generators are touched.

    Args:
        space: the parameters.
        features: see `silicut.search.outcome.Described`.
        options: rates and batch size.
        seed: of the networks and of what is replayed.
    """

    def __init__(self, space: Space, features: Mapping[str, tuple[float, ...]], options: Ddpg, seed: int) -> None:
        self._choices, self._options, self._seed = Choices(space, features), options, seed
        with _own_torch():
            torch.manual_seed(seed)
            self._ddpg = _FixedRates(
                "MlpPolicy", self._choices, buffer_size=_N_EPISODES_KEPT * self._choices.n_steps, tau=_TAU, gamma=_DISCOUNT,
                replay_buffer_class=_Replay, replay_buffer_kwargs={"seed": seed},
                policy_kwargs={"net_arch": list(_N_HIDDEN)}, device="cpu",
            )  # fmt: skip
        self._ddpg.set_logger(Logger(None, []))
        self._ddpg.actor.optimizer.param_groups[0]["lr"] = options.actor_rate
        self._ddpg.critic.optimizer.param_groups[0]["lr"] = options.critic_rate

    @property
    def point(self) -> dict[str, Level]:
        """What the last episode chose."""
        return self._choices.point

    def walk(self, explore: Callable[[float], float]) -> list[Step]:
        """Walk through an episode and return its steps.

        Args:
            explore: gives the action to take for the action that the actor wants, both of 0..1.
        """
        steps: list[Step] = []
        seen, _ = self._choices.reset()
        with _own_torch():
            while not (steps and steps[-1].is_last):
                action = explore(float(self._ddpg.predict(seen, deterministic=True)[0][0]))
                then, _, is_last, _, _ = self._choices.step(np.array([action], dtype=np.float32))
                steps.append(Step(seen, action, then, is_last))
                seen = then
        return steps

    def remember(self, steps: list[Step], reward: float) -> None:
        """Keep an episode for replay, every step with the episode's reward."""
        assert self._ddpg.replay_buffer is not None
        for step in steps:
            scaled = np.array([[2 * step.action - 1]], dtype=np.float32)  # the policy's own range
            self._ddpg.replay_buffer.add(
                step.observation[None], step.next_observation[None], scaled, np.array([reward]),
                np.array([step.is_last]), [{}],
            )  # fmt: skip

    def learn_from(self, n_updates: int) -> None:
        """Update actor and critic this many times from what is remembered."""
        with _own_torch():
            self._ddpg.train(n_updates, self._options.batch_size)


@contextmanager
def _own_torch() -> Iterator[None]:
    """Leave PyTorch's global chance alone, and use one thread: small networks are slower on more, much so on busy cores."""
    n_threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)


class _FixedRates(DDPG):
    """DDPG whose actor and critic have learning rates of their own."""

    def _update_learning_rate(self, optimizers: Any) -> None:
        """Leave the rates as they were set."""


class _Replay(ReplayBuffer):
    """A replay buffer with its own chance, whose rewards are less a moving average of those that were replayed."""

    def __init__(self, *arguments: Any, seed: int, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._rng = np.random.default_rng(seed)
        self._baseline: float | None = None

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Return a batch of random transitions."""
        chosen = self._rng.integers(self.buffer_size if self.full else self.pos, size=batch_size)
        mean = float(self.rewards[chosen].mean())
        self._baseline = mean if self._baseline is None else self._baseline + _BASELINE_FRAC * (mean - self._baseline)
        to_torch = self.to_torch
        return ReplayBufferSamples(
            to_torch(self.observations[chosen, 0]), to_torch(self.actions[chosen, 0]),
            to_torch(self.next_observations[chosen, 0]), to_torch(self.dones[chosen]),
            to_torch(self.rewards[chosen] - np.float32(self._baseline)),
        )  # fmt: skip
