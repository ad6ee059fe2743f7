"""The quality of a network after each step of a run, with the images that were lost and gained on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from silicut.records import ConfigError
from silicut.training import Metric, TrainingData, evaluate, from_first

DENSE, PRUNED = "dense", "pruned"
"""What the network is called as it came, and when channels are removed."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The quality of the network after one step.

    Attributes:
        name: of the step.
        score: accuracy 0..1, or what the user's function returned.
        n, n_correct: images evaluated and right; None with the user's function.
        n_lost, n_gained: images that the first network had right and this one wrong, and the reverse; None likewise.
    """

    name: str
    score: float
    n: int | None = None
    n_correct: int | None = None
    n_lost: int | None = None
    n_gained: int | None = None


@dataclass
class Judge:
    """Says how good a module is: by the user's own function, or by accuracy on the evaluation images.

    Attributes:
        data: None where there is none.
        own: the user's function, or None.
        metric: which outputs count as right; top-1 by default.
    """

    data: TrainingData | None
    own: Callable[[nn.Module], float] | None
    metric: Metric | None

    @property
    def is_able(self) -> bool:
        """Whether there is anything to judge by."""
        return self.own is not None or self.data is not None

    def quality(self, module: nn.Module) -> dict[str, Any]:
        """Return the user's figure, or which evaluation images are right, as packed bits.

        Raises:
            ConfigError: the user's function gave no finite number.
        """
        if self.own is not None:
            own = self.own
            found = from_first(lambda: float(own(module)))
            if not math.isfinite(found):
                raise ConfigError(f"evaluate must return a finite number, not {found}")
            return {"score": found}
        assert self.data is not None
        right = evaluate(module, self.data, self.metric).is_correct
        return {"n": len(right), "right": np.packbits(right).tobytes().hex()}


@dataclass
class Stages:
    """The stages of one run so far.

    Attributes:
        stages: in order.
        first: name of the stage that all others are compared with.
    """

    stages: list[Stage] = field(default_factory=list)
    first: str = DENSE
    _first_right: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def add(self, name: str, quality: dict[str, Any]) -> None:
        """Remember a stage by what `Judge.quality` returned."""
        self.stages.append(self.stage(name, quality))

    def stage(self, name: str, quality: dict[str, Any]) -> Stage:
        """Return the stage, compared with the first one image by image."""
        if "right" not in quality:
            return Stage(name=name, score=quality["score"])
        right = np.unpackbits(np.frombuffer(bytes.fromhex(quality["right"]), np.uint8), count=quality["n"]).astype(bool)
        if name == self.first:
            self._first_right = right
        return Stage(
            name=name,
            score=float(right.mean()),
            n=len(right),
            n_correct=int(right.sum()),
            n_lost=int((self._first_right & ~right).sum()),
            n_gained=int((right & ~self._first_right).sum()),
        )
