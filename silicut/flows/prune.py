"""Prune a trained network to a measured latency, recover its accuracy, and hand back what runs.

profile -> score -> solve and verify -> apply -> recalibrate -> fine-tune -> export -> measure -> report. Every step is kept
in the run's folder when there is one, so that a run can be stopped and resumed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from silicut.compress import Plan, Restrictions, Scores, kept_channels, pruned, removed_by
from silicut.compress import options as restricted
from silicut.compress.own_class import smaller_own_class
from silicut.compress.taylor import taylor
from silicut.flows.as_module import as_module
from silicut.flows.budget import Budget
from silicut.flows.choose_value import AUTO, WITHOUT_DATA, accuracy_by_value
from silicut.flows.export import Agreement, agreement, save_model
from silicut.flows.pruning_problem import LATENCY, VALUES, Subject, score
from silicut.flows.run_folder import PROFILE, RunFolder
from silicut.flows.verify import DENSE, PRUNED, Outcome, SolveOptions, Verifier
from silicut.graph import Network, capture, fold_batch_norm, to_module
from silicut.records import Cache, ConfigError, DoesNotFit, NothingToPrune, NumericMismatch, Progress, Record, silent
from silicut.search import SOLVERS, Variable
from silicut.targets import Engine, Measurement, MeasureOptions, measure
from silicut.targets.profile import Profile, ProfileOptions, profile_network
from silicut.training import (
    RECOVERY,
    Batches,
    EpochResult,
    Loss,
    Metric,
    Recipe,
    TrainingData,
    evaluate,
    fit,
    is_training_data,
    recalibrate_batch_norm,
)
from silicut.zoo.data.loaders import LoaderData

_PLAN = "plan"
_CALIBRATION_IMAGES = 2000
_TAYLOR_BATCHES, _TAYLOR_BATCH_SIZE = 32, 64
_AGREEMENT_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """What to ask of a pruning run besides network, data and budget.

    Attributes:
        value: "sp-lamp", "log-energy", "taylor", or "auto": the one whose plan keeps most accuracy before training, on
            training images; "log-energy" without data.
        solver: "coupled", "knapsack" or "descent".
        restrictions: layers and blocks to leave alone.
        recipe: of the fine-tuning; None leaves it out.
        profiling: how thoroughly to profile.
        measuring: how latency is measured; twice as surely as by default, because choosing among measured plans favours
            those that happened to measure fast.
        time_limit_s: of each solve.
        is_dry_run: stop after the plan has been measured.
    """

    value: str = AUTO
    solver: str = "coupled"
    restrictions: Restrictions = field(default_factory=Restrictions)
    recipe: Recipe | None = RECOVERY
    profiling: ProfileOptions = field(default_factory=ProfileOptions)
    measuring: MeasureOptions = field(default_factory=lambda: MeasureOptions(n_rounds=40, ci_frac=0.005))
    time_limit_s: float = 10.0
    is_dry_run: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.value not in (AUTO, *VALUES):
            problems.append(f"value must be one of {', '.join((AUTO, *VALUES))}, not {self.value!r}")
        if self.solver not in SOLVERS:
            problems.append(f"solver must be one of {', '.join(SOLVERS)}, not {self.solver!r}")
        if not self.time_limit_s > 0:
            problems.append(f"time_limit_s must be above 0, not {self.time_limit_s}")
        if problems:
            raise ConfigError(*problems)


PAPER = PruneOptions(
    value="sp-lamp",
    solver="knapsack",
    restrictions=Restrictions(may_remove_blocks=False),
    profiling=ProfileOptions(least_width=1),
)
"""SP-LAMP as published (arXiv 2305.14403), literally: one filter of score 1 kept, the rest grouped by the latency step,
group knapsack over independent costs, no blocks removed."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The quality of the network after one step.

    Attributes:
        name: of the step.
        score: accuracy 0..1, or what the user's function returned.
        n, n_correct: images evaluated and right; None with the user's function.
        n_lost, n_gained: images that the dense network had right and this one wrong, and the reverse; None likewise.
    """

    name: str
    score: float
    n: int | None = None
    n_correct: int | None = None
    n_lost: int | None = None
    n_gained: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """The result of a run.

    Attributes:
        module: the pruned network, ready to train or run: the user's own class where it can hold it.
        is_own_class: whether it is.
        network: the same as data, with the final weights.
        plan: what was removed.
        outcome: how the plan measured and how it was found.
        profile: cost of every layer.
        stages: quality after each step; empty without data.
        epochs: of fine-tuning.
        measurement: dense and pruned as exported; None in a dry run.
        agreement: of the ONNX model with PyTorch; None in a dry run.
        dense: the network as it came.
    """

    module: nn.Module
    is_own_class: bool
    network: Network
    plan: Plan
    outcome: Outcome
    profile: Profile
    stages: tuple[Stage, ...]
    epochs: tuple[EpochResult, ...]
    measurement: Measurement
    agreement: Agreement | None
    dense: Network

    def save(self, folder: str | Path) -> Path:
        """Write plan.json, network.json, model.safetensors and model.onnx into a folder; return its path."""
        folder = Path(folder)
        self.plan.save(folder / "plan.json")
        self.profile.save(folder / "profile.json")
        save_model(self.network, folder, self.profile.settings.batch)
        return folder


def prune(  # noqa: PLR0913
    model: nn.Module | Network | str | Path,
    inputs: torch.Tensor | Sequence[torch.Tensor],
    budget: str = "50%",
    engine: str | Engine = "onnxruntime",
    *,
    data: TrainingData | tuple[Batches, Batches] | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    loss: Loss | None = None,
    metric: Metric | None = None,
    options: PruneOptions | None = None,
    folder: RunFolder | str | Path | None = None,
    resumes: bool = False,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Pruned:
    """Prune a trained network so that it measures within a latency budget on an engine.

    With a folder every step's result is kept as soon as it is there, and the same call with `resumes` goes on behind the
    last one; a run that fails before it has a plan leaves the folder as it was.

    Args:
        model: the trained network, which is not changed: a module, a `Network`, or the path of an ONNX file.
        inputs: one example tensor per argument, batch first; its batch size is that of the latency.
        budget: "50%" of the measured dense latency, or "3ms".
        engine: a name of `silicut.targets.ENGINES` (one thread), or an engine.
        data: to recalibrate, fine-tune and evaluate with, such as (training loader, evaluation loader) of (images, labels);
            without it the network comes back pruned, not recovered.
        evaluate: the user's own quality of a module; by default accuracy on the data.
        loss: of (outputs, labels) for fine-tuning and "taylor"; cross-entropy by default.
        metric: which outputs count as right; top-1 by default.
        options: everything else.
        folder: where to keep results as they are made: new or empty.
        resumes: go on with the run in `folder`; network, budget, engine and options must be those it was begun with.
        cache: where profiles are kept; the user's cache folder by default.
        progress: told every step.

    Raises:
        UnsupportedModel: the network cannot be captured.
        NothingToPrune, DoesNotFit, NotFaster, TooNoisy: there is no plan; the message says what there is.
        OutputExists: `folder` holds something and `resumes` is False.
        ConfigError: options do not fit the network, or a resumed run was begun with others.
    """
    from silicut.targets import engine as engine_by_name

    batch = int((inputs if isinstance(inputs, torch.Tensor) else inputs[0]).shape[0])
    target = engine_by_name(engine, n_threads=1, batch=batch) if isinstance(engine, str) else engine
    options, own_data = options or PruneOptions(), _training_data(data)
    task = _Task(as_module(model, inputs), inputs, Budget.parse(budget), target, options, own_data, evaluate, loss, metric)
    if isinstance(folder, str | Path):
        folder = RunFolder(folder, task.settings(), resumes=resumes)
    with nullcontext() if folder is None else folder.kept_from(_PLAN):
        return _Run(task, folder, cache or Cache(), progress).pruned()


def _training_data(data: TrainingData | tuple[Batches, Batches] | None) -> TrainingData | None:
    if data is None or is_training_data(data):
        return data
    if isinstance(data, tuple | list) and len(data) == 2:
        return LoaderData("data", *data)
    raise ConfigError(f"data must be a TrainingData or (training loader, evaluation loader), not {type(data).__name__}")


@dataclass
class _Task:
    """What was asked."""

    model: nn.Module
    inputs: torch.Tensor | Sequence[torch.Tensor]
    budget: Budget
    engine: Engine
    options: PruneOptions
    data: TrainingData | None
    evaluate: Callable[[nn.Module], float] | None
    loss: Loss | None
    metric: Metric | None

    def settings(self) -> dict[str, Any]:
        """Return what a resumed run must ask again; a dry run may be gone on with to its end."""
        options = {name: value for name, value in asdict(self.options).items() if name != "is_dry_run"}
        return {"budget": str(self.budget), "data": None if self.data is None else self.data.name, **options}


class _Run:
    """One run, step by step; properties are made when first needed."""

    def __init__(self, task: _Task, folder: RunFolder | None, cache: Cache, progress: Progress) -> None:
        self._task, self._folder, self._cache, self._progress = task, folder, cache, progress
        self._options = task.options
        self._stages: list[Stage] = []
        self._dense_right = np.zeros(0, bool)

    def pruned(self) -> Pruned:
        task, data = self._task, self._task.data
        self._check()
        self._stage(DENSE, task.model)
        outcome, plan = self._outcome, self._plan
        network = pruned(self._subject.network, plan.kept, plan.removed_blocks)
        own = smaller_own_class(task.model, network, plan.removed_blocks)
        module: nn.Module = to_module(network) if own is None else own
        if self._options.is_dry_run:
            return self._result(module, network, own is not None, (), outcome.measurement, None)
        self._stage(PRUNED, module)
        epochs: tuple[EpochResult, ...] = ()
        if data is not None:
            recalibrate_batch_norm(module, data, _CALIBRATION_IMAGES)
            self._stage("batch norm recalibrated", module)
            epochs = self._fine_tune(module, data)
        network = network.with_parameters(_weights(module, network))
        agreed = self._export(module, network)
        measurement = self._record("measured", Measurement, lambda: self._measure(network))
        return self._result(module, network, own is not None, epochs, measurement, agreed)

    def _check(self) -> None:
        """Find what is wrong before anything slow starts."""
        task, subject = self._task, self._subject
        self._check_types()
        all_widths = [Variable(g.name, tuple(range(1, g.n_channels + 1))) for g in subject.channels.groups]
        free = restricted(all_widths, subject.channels, subject.blocks, self._options.restrictions)
        if free and all(len(group.levels) == 1 for group in free):
            raise NothingToPrune("the freeze patterns leave no channel and no residual block to remove; freeze fewer layers")
        if task.data is None:
            _ = self._scores  # quickly made, or refused for want of data
        if self._folder is not None:
            network, engine = subject.network, task.engine.fingerprint()
            self._folder.works_on({"network": network.structure_hash, "weights": network.weights_hash, "engine": engine})

    def _check_types(self) -> None:
        network = self._subject.network
        dtypes = {network.tensors[name].dtype for name in network.inputs}
        if wrong := sorted(d for d in dtypes if "float" in d and d != "float32"):
            raise ConfigError(f"inputs must be float32, not {', '.join(wrong)}; convert them and the network with .float()")
        if self._task.data is not None and network.output_structure != "tensor":
            structure = network.output_structure if isinstance(network.output_structure, str) else "dict"
            raise ConfigError(
                f"the network must return one tensor to be trained and evaluated on data, not a {structure}; wrap it in a "
                "module that returns its logits, or leave the data out and train result.module yourself"
            )

    def _result(
        self,
        module: nn.Module,
        network: Network,
        is_own_class: bool,
        epochs: tuple[EpochResult, ...],
        measurement: Measurement,
        agreed: Agreement | None,
    ) -> Pruned:
        return Pruned(
            module=module.eval(),
            is_own_class=is_own_class,
            network=network,
            plan=self._plan,
            outcome=self._outcome,
            profile=self._profile,
            stages=tuple(self._stages),
            epochs=epochs,
            measurement=measurement,
            agreement=agreed,
            dense=self._subject.network,
        )

    def _step(self, name: str, make: Callable[[], Any]) -> Any:
        return make() if self._folder is None else self._folder.step(name, make)

    def _record(self, name: str, kind: type[Any], make: Callable[[], Record]) -> Any:
        """Return a step's record, from the folder where it was done before."""
        return kind.from_json(self._step(name, lambda: make().to_json()), name)

    @cached_property
    def _subject(self) -> Subject:
        return Subject.of(capture(self._task.model, self._task.inputs))

    @cached_property
    def _profile(self) -> Profile:
        path = None if self._folder is None else self._folder.file(PROFILE)
        if path is not None and path.exists():
            return Profile.load(path)
        profile = profile_network(
            self._subject.network,
            self._task.engine,
            cache=self._cache,
            options=self._options.profiling,
            progress=self._progress,
        )
        if path is not None:
            profile.save(path)
        return profile

    @cached_property
    def _scores(self) -> Scores:
        return self._scores_of(self._value)

    def _scores_of(self, value: str) -> Scores:
        return score(self._subject, value, None if self._task.data is None else self._gradients)

    @cached_property
    def _value(self) -> str:
        """The value function: as asked, or the one that keeps most accuracy untrained."""
        if self._options.value != AUTO:
            return self._options.value
        if self._task.data is None:
            return WITHOUT_DATA
        found: Mapping[str, float] = self._step("accuracy by value", self._accuracy_by_value)
        return max(found, key=found.__getitem__)

    def _accuracy_by_value(self) -> Mapping[str, float]:
        assert self._task.data is not None
        try:
            return accuracy_by_value(
                self._subject,
                self._profile,
                self._scores_of,
                self._task.data,
                self._task.budget.limit_frac(self._profile.dense_ms),
                restrictions=self._options.restrictions,
                solver=self._options.solver,
                metric=self._task.metric,
                progress=self._progress,
            )
        except DoesNotFit:
            return {WITHOUT_DATA: 0.0}  # the verifier says what can be reached

    def _gradients(self, subject: Subject) -> Scores:
        assert self._task.data is not None
        batches = self._task.data.training_batches(0, _TAYLOR_BATCH_SIZE, 0)
        few = itertools.islice(batches, _TAYLOR_BATCHES)
        loss = self._task.loss or nn.functional.cross_entropy
        return taylor(subject.folded, subject.channels, subject.blocks, few, loss)

    @cached_property
    def _verifier(self) -> Verifier:
        options = SolveOptions(
            solver=self._options.solver, time_limit_s=self._options.time_limit_s, measuring=self._options.measuring
        )
        return Verifier(
            self._subject,
            self._profile,
            self._scores,
            self._options.restrictions,
            self._task.engine,
            options,
            self._progress,
        )

    @cached_property
    def _outcome(self) -> Outcome:
        outcome: Outcome = self._record(_PLAN, Outcome, lambda: self._verifier.run(self._task.budget))
        return outcome

    @cached_property
    def _plan(self) -> Plan:
        path = None if self._folder is None else self._folder.file("plan.json")
        if path is not None and path.exists():
            return Plan.load(path)
        outcome, subject = self._outcome, self._subject
        plan = Plan(
            widths=outcome.levels,
            kept=kept_channels(outcome.levels, self._scores),
            removed_blocks=removed_by(outcome.levels, subject.blocks),
            value=(self._value, outcome.solution.value),
            solver=self._options.solver,
            predicted_ms=outcome.solution.costs[LATENCY],
            target_ms=outcome.limit_frac * self._profile.dense_ms,
            bound=outcome.solution.bound,
            hashes={
                "network": subject.network.structure_hash,
                "weights": subject.network.weights_hash,
                "profile": self._profile.hash,
            },
        )
        if path is not None:
            plan.save(path)
        return plan

    def _stage(self, name: str, module: nn.Module) -> None:
        """Evaluate the module and remember it, if there is anything to evaluate with."""
        if self._task.evaluate is None and self._task.data is None:
            return
        result = self._step(f"quality: {name}", lambda: self._quality(module))
        if "right" not in result:
            self._stages.append(Stage(name=name, score=result["score"]))
            return
        right = np.unpackbits(np.frombuffer(bytes.fromhex(result["right"]), np.uint8), count=result["n"]).astype(bool)
        self._dense_right = right if name == DENSE else self._dense_right
        self._stages.append(
            Stage(
                name=name,
                score=float(right.mean()),
                n=len(right),
                n_correct=int(right.sum()),
                n_lost=int((self._dense_right & ~right).sum()),
                n_gained=int((right & ~self._dense_right).sum()),
            )
        )

    def _quality(self, module: nn.Module) -> dict[str, Any]:
        """Return the user's figure, or which evaluation images are right, as packed bits."""
        if self._task.evaluate is not None:
            found = float(self._task.evaluate(module))
            if not math.isfinite(found):
                raise ConfigError(f"evaluate must return a finite number, not {found}")
            return {"score": found}
        assert self._task.data is not None
        right = evaluate(module, self._task.data, self._task.metric).is_correct
        return {"n": len(right), "right": np.packbits(right).tobytes().hex()}

    def _fine_tune(self, module: nn.Module, data: TrainingData) -> tuple[EpochResult, ...]:
        if self._options.recipe is None:
            return ()
        folder = None if self._folder is None else self._folder.file("checkpoint")
        results = fit(
            module,
            data,
            self._options.recipe,
            teacher=self._task.model,
            loss=self._task.loss,
            folder=folder,
            on_epoch=self._log_epoch,
            progress=self._progress,
        )
        for result in results:  # a kill may have come between an epoch's checkpoint and its line
            self._log_epoch(result)
        self._stage("fine-tuned", module)
        return tuple(results)

    def _log_epoch(self, result: EpochResult) -> None:
        self._step(f"epoch {result.epoch}", lambda: asdict(result))

    def _export(self, module: nn.Module, network: Network) -> Agreement:
        images = self._images(network)
        result: Agreement = self._record(
            "agreement", Agreement, lambda: agreement(module, network, images, self._task.engine)
        )
        if self._folder is not None:
            save_model(network, self._folder.path, self._task.engine.settings.batch)
        if not result.is_close:
            raise NumericMismatch(
                f"the ONNX model differs from PyTorch by {result.max_abs_difference:.3g} on outputs up to "
                f"{result.max_abs_output:.3g}; please report the network"
            )
        return result

    def _images(self, network: Network) -> list[np.ndarray]:
        """Return inputs to compare on: evaluation images where there is data, random ones else."""
        if self._task.data is not None and len(network.inputs) == 1:
            x, _ = next(iter(self._task.data.evaluation_batches(_AGREEMENT_IMAGES)))
            return [x.numpy()]
        rng = np.random.default_rng(0)
        return [rng.standard_normal(network.tensors[n].sizes(4)).astype(np.float32) for n in network.inputs]

    def _measure(self, network: Network) -> Measurement:
        models = {DENSE: self._subject.folded, PRUNED: fold_batch_norm(network)}
        return measure(self._task.engine, models, DENSE, self._options.measuring, self._progress)


def _weights(module: nn.Module, network: Network) -> Mapping[str, np.ndarray]:
    """Return a module's weights by the network's names; constants, which no state dict holds, are the network's."""
    state = module.state_dict()
    trained = {n: state[n].detach().cpu().contiguous().numpy().copy() for n in network.parameters if n in state}
    return {**network.parameters, **trained}
