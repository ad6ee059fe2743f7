"""Deep deterministic policy gradients, as HAQ (arXiv 1811.08886) and N3H-Core (arXiv 2112.08193) search with them.

An episode chooses one parameter after the other, first those of the machine, then those of layer after layer; only its end
has an outcome. The agent learns between evaluations and never asks for one itself, so this search stops and goes on like all
others: replaying the stored outcomes trains the same agent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from silicut.records import ConfigError, ToolMissing
from silicut.search.outcome import Described, Objective, Outcome, Search
from silicut.search.random_points import RandomPoints
from silicut.search.space import Point

if TYPE_CHECKING:
    from silicut.search.agent import Agent

_MAX_SEED = 2**32


@dataclass(frozen=True)
class Ddpg:
    """A deterministic policy that learns from whole episodes (Lillicrap et al. 2016), with the settings of N3H-Core.

    Attributes:
        n_warm_up: episodes of random actions before the agent acts and learns.
        noise: standard deviation of the truncated normal noise on the first actions of the agent, of 0..1.
        noise_decay: the noise is multiplied by this after every episode.
        actor_rate, critic_rate: learning rates (Adam).
        batch_size: transitions of one update; there is one update for each step of an episode.

    Raises:
        ConfigError: an attribute is not above 0, or the decay above 1.
    """

    n_warm_up: int = 20
    noise: float = 0.5
    noise_decay: float = 0.99
    actor_rate: float = 1e-4
    critic_rate: float = 1e-3
    batch_size: int = 64
    name = "ddpg"

    def __post_init__(self) -> None:
        names = ("n_warm_up", "noise", "noise_decay", "actor_rate", "critic_rate", "batch_size")
        problems = [f"{name} must be above 0, not {getattr(self, name)}" for name in names if not getattr(self, name) > 0]
        if self.noise_decay > 1:
            problems.append(f"noise_decay must be at most 1, not {self.noise_decay}")
        if problems:
            raise ConfigError(*problems)

    def search(self, objective: Objective, n_evaluations: int, rng: np.random.Generator) -> Search[Point]:
        """Return the search over the points of an objective; it ends after as many episodes as evaluations are allowed.

        Raises:
            ToolMissing: stable-baselines3 or gymnasium is not installed (extra "rl").
        """
        try:
            from silicut.search.agent import Agent
        except ImportError as error:
            if error.name not in ("stable_baselines3", "gymnasium"):
                raise
            raise ToolMissing("stable-baselines3 or gymnasium", "rl") from None
        features = objective.features if isinstance(objective, Described) else {}
        if objective.space.size == 1:
            return RandomPoints().search(objective, n_evaluations, rng)
        return self._episodes(Agent(objective.space, features, self, int(rng.integers(_MAX_SEED))), n_evaluations, rng)

    def _episodes(self, agent: Agent, n_episodes: int, rng: np.random.Generator) -> Search[Point]:
        reference: Outcome | None = None
        for episode in range(n_episodes):
            steps = agent.walk(self._action(episode, rng))
            outcome = yield agent.point
            if reference is None and outcome.is_feasible:
                reference = outcome
            agent.remember(steps, reward(outcome, reference))
            if episode >= self.n_warm_up:
                agent.learn_from(len(steps))

    def _action(self, episode: int, rng: np.random.Generator) -> Callable[[float], float]:
        """Return what an episode does where the actor wants some action."""
        if episode < self.n_warm_up:
            return lambda _wanted: float(rng.random())
        sigma = self.noise * self.noise_decay ** (episode - self.n_warm_up)
        return lambda wanted: _noisy(wanted, sigma, rng)


def reward(outcome: Outcome, reference: Outcome | None) -> float:
    """Return what an episode earns: -1 less the violation where a limit is broken, else what is saved of a reference's cost.

    With a limit on latency the first is N3H-Core's minus latency over target, and with a loss as cost the second its gain of
    accuracy. What costs twice the reference or more earns -1, so that nothing within the limits earns less than what is not.

    Args:
        outcome: the episode's.
        reference: the first that kept all limits, if any did.

    Example:
        >>> reward(Outcome(9.0, 0.5, ("too large",)), None), reward(Outcome(9.0), Outcome(10.0))
        (-1.5, 0.1)
    """
    if not outcome.is_feasible:
        return -1.0 - outcome.violation
    if reference is None:
        return 0.0
    return max(-1.0, (reference.cost - outcome.cost) / (abs(reference.cost) or 1.0))


def _noisy(wanted: float, sigma: float, rng: np.random.Generator) -> float:
    """Return a number of the normal distribution around another, of 0..1, that is truncated to 0..1."""
    while not 0 <= (drawn := float(rng.normal(wanted, sigma))) <= 1:
        pass
    return drawn
