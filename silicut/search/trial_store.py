"""Trials that outlive their process: an Optuna study that several searches may write at once.

Every evaluation is one trial, claimed before it begins: of two processes that claim a point at once, the earlier trial
counts and the other process waits for it. A trial whose process is dead is failed, so that its point may be claimed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silicut.records import ConfigError
from silicut.search.outcome import Evaluation, Outcome
from silicut.search.space import Level, Point, Space
from silicut.search.storage import imported_optuna, opened, without_chatter
from silicut.search.worker import is_running, this_worker

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

PATIENCE_S = 600.0
"""After this time a trial of a process of which nothing can be known (on another computer) counts as dead."""

_SHORT_WAIT_S, _LONG_WAIT_S = 0.01, 1.0
_LIMITS = "limits"


class TrialStore:
    """The trials of one objective in a storage.

    A trial's parameters are the levels, its value the cost, its constraint the violation; its user attributes are worker,
    seconds, reasons, details and what the search notes (solver and seed). Optuna's own tools read it.

    Args:
        storage: a file, or a URL as Optuna takes it ("sqlite:///trials.db", "redis://...").
        name: the study's name: the objective's.
        space: what the parameters are.

    Raises:
        ConfigError: the storage holds a study of this name whose parameters are others.
        BadFile: the file is no journal of trials, or nothing can be reached at the URL.
        ToolMissing: Optuna is not installed (extra "search").
    """

    def __init__(self, storage: str | Path, name: str, space: Space) -> None:
        optuna = imported_optuna()
        self._space, self._distributions = space, _distributions(space)
        self._storage: BaseStorage = opened(storage)
        with without_chatter():
            self._study: Study = optuna.create_study(
                storage=self._storage, study_name=name, load_if_exists=True, sampler=optuna.samplers.RandomSampler()
            )
        self._study_id = self._storage.get_study_id_from_name(name)
        self._known: dict[tuple[Level, ...], Outcome] = {}
        self._read: set[int] = set()
        self._check_space(storage)
        self._fail_dead()

    def outcomes(self) -> Mapping[tuple[Level, ...], Outcome]:
        """Return every outcome that is stored, by the point's key."""
        for trial in self._trials(is_complete=True):
            if trial.number not in self._read:
                self._read.add(trial.number)
                self._known.setdefault(self._space.key(trial.params), _outcome(trial))
        return self._known

    def evaluated(self, point: Point, evaluate: Callable[[Point], Outcome], notes: Mapping[str, Any]) -> Evaluation[Point]:
        """Return the evaluation of a point: stored, awaited from another process, or made and stored now.

        Args:
            point: a point of the space.
            evaluate: called only if nobody has evaluated the point or is about to.
            notes: user attributes of a new trial (JSON values).
        """
        wait_s, key = _SHORT_WAIT_S, self._space.key(point)
        while (stored := self._known.get(key) or self.outcomes().get(key)) is None:
            if (trial_id := self._claimed(point, notes)) is not None:
                return Evaluation(point, self._finished(trial_id, point, evaluate))
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONG_WAIT_S)
            self._fail_dead()
        return Evaluation(point, stored, is_known=True)

    def _claimed(self, point: Point, notes: Mapping[str, Any]) -> int | None:
        """Begin a trial of a point and return its id, or None where another trial of the point came first."""
        optuna = imported_optuna()
        key = self._space.key(point)
        if any(self._space.key(trial.params) == key for trial in self._trials(is_complete=False)):
            return None
        claim = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=dict(point),
            distributions=self._distributions,
            user_attrs={**notes, "worker": this_worker()},
        )
        trial_id = self._storage.create_new_trial(self._study_id, claim)
        number = self._storage.get_trial(trial_id).number
        earlier = [t for is_complete in (False, True) for t in self._trials(is_complete) if t.number < number]
        if any(self._space.key(trial.params) == key for trial in earlier):
            self._fail(number)
            return None
        return trial_id

    def _finished(self, trial_id: int, point: Point, evaluate: Callable[[Point], Outcome]) -> Outcome:
        """Evaluate a point that was claimed, and store what was found, last of all that it is complete."""
        number, started = self._storage.get_trial(trial_id).number, time.monotonic()
        try:
            outcome = evaluate(point)
        except BaseException:
            self._fail(number)
            raise
        self._known[self._space.key(point)] = outcome
        optuna = imported_optuna()
        with suppress(optuna.exceptions.UpdateFinishedTrialError):  # a process elsewhere has lost patience with this one
            trial = optuna.trial.Trial(self._study, trial_id)
            trial.set_constraint(_LIMITS, outcome.violation)
            trial.set_user_attr("seconds", round(time.monotonic() - started, 6))
            trial.set_user_attr("reasons", list(outcome.reasons))
            trial.set_user_attr("details", dict(outcome.details))
            self._study.tell(number, float(outcome.cost), skip_if_finished=True)
        return outcome

    def _trials(self, is_complete: bool) -> list[FrozenTrial]:
        """Return the trials that are complete, or those that are running."""
        states = imported_optuna().trial.TrialState
        wanted = (states.COMPLETE if is_complete else states.RUNNING,)
        trials: list[FrozenTrial] = self._study.get_trials(deepcopy=False, states=wanted)
        return trials

    def _fail_dead(self) -> None:
        """Fail the trials whose process is gone."""
        for trial in self._trials(is_complete=False):
            is_alive = is_running(trial.user_attrs["worker"]) if "worker" in trial.user_attrs else None
            if is_alive is None:
                began = trial.datetime_start
                is_alive = began is None or (datetime.now() - began).total_seconds() < PATIENCE_S
            if not is_alive:
                self._fail(trial.number)

    def _fail(self, number: int) -> None:
        self._study.tell(number, state=imported_optuna().trial.TrialState.FAIL, skip_if_finished=True)

    def _check_space(self, storage: str | Path) -> None:
        parameters = [[parameter.name, list(parameter.levels)] for parameter in self._space.parameters]
        stored = self._study.user_attrs.get("parameters")
        if stored is None and not self._study.get_trials(deepcopy=False):
            self._study.set_user_attr("parameters", parameters)
        elif stored != parameters:
            raise ConfigError(
                f"{storage} must hold trials of {self._study.study_name!r} over these parameters and levels, not over "
                "others; give another storage"
            )


def _distributions(space: Space) -> dict[str, Any]:
    optuna = imported_optuna()
    return {p.name: optuna.distributions.CategoricalDistribution(p.levels) for p in space.parameters}


def _outcome(trial: FrozenTrial) -> Outcome:
    assert trial.value is not None
    attributes = trial.user_attrs
    return Outcome(trial.value, trial.constraints[_LIMITS], tuple(attributes["reasons"]), attributes["details"])
