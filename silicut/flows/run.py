"""One pruning run, step by step: what was asked, what each step gave, and where it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from silicut.compress import Plan, Scores, pruned, removed_by
from silicut.compress import options as restricted
from silicut.compress.own_class import smaller_own_class
from silicut.compress.quantisation.sensitivity import Sensitivity
from silicut.flows.bit_search import sensitivity_images
from silicut.flows.budget import Budget
from silicut.flows.decisions import NOTHING_ELSE, Decisions
from silicut.flows.deployment import Deployed, Deployment
from silicut.flows.export import Agreement, agreement, inputs_to_compare, onnx_file, save_model
from silicut.flows.latency import WORST, Latencies, Target
from silicut.flows.masked_training import MaskedTraining, Removal, shortened, train_masked, weights_of
from silicut.flows.max_drop import Drop, fastest_within
from silicut.flows.options import ONE_BUDGET
from silicut.flows.planning import Planner
from silicut.flows.platform import Candidate, Platform
from silicut.flows.pruning_problem import Subject
from silicut.flows.result import Pruned
from silicut.flows.run_folder import CHECKPOINT, MASKED, RunFolder, profile_file
from silicut.flows.stages import DENSE, PRUNED, Judge, Stages
from silicut.flows.task import Task
from silicut.flows.values import (
    AUTO,
    MEASURED,
    NEED_DATA,
    SENSITIVITY,
    WITHOUT_DATA,
    ValueOptions,
    Values,
    compare_values,
    needs_data,
)
from silicut.flows.verify import Outcome, SolveOptions, Verifier
from silicut.graph import Network, capture, fold_batch_norm, to_module
from silicut.records import (
    Cache,
    ConfigError,
    DoesNotFit,
    NothingToPrune,
    NumericMismatch,
    Progress,
    Record,
    TooNoisy,
    content_hash,
    write_atomically,
)
from silicut.report.simulation import SimulationSummary
from silicut.search import Variable
from silicut.targets import Measurement
from silicut.targets.profile import Profile
from silicut.training import (
    EpochResult,
    TrainingData,
    check_precision,
    fit,
    from_first,
    is_first,
    n_processes,
    recalibrate_batch_norm,
)
from silicut.training.modes import device_of

PLAN, VALUES_STEP, MEASUREMENT, DEPLOYMENT = "plan", "values", "measured", "deployed"
LOSSES_OF_BITS = "losses-of-bits.json"
DENSE_FILE = "dense.onnx"  # of runs for a device elsewhere: what the pruned network is to be compared with there
_CALIBRATION_IMAGES = 2000
_RECALIBRATED = "batch norm recalibrated"
_TYPICAL_FRAC = 0.5  # of the dense latency: where values are compared when no latency was asked for


@dataclass(frozen=True, eq=False)
class _Built:
    """A pruned network, as data and as a module; whether the module is of the user's own class."""

    network: Network
    module: nn.Module
    is_own_class: bool


class Run:
    """One run; properties are made when first needed.

    Args:
        task: what was asked.
        folder: where results are kept as they are made; None keeps none.
        cache: of profiles.
        progress: told every step.
    """

    def __init__(self, task: Task, folder: RunFolder | None, cache: Cache, progress: Progress) -> None:
        self._task, self._folder, self._cache, self._progress = task, folder, cache, progress
        self._options = task.options
        self._stages = Stages()
        self._judge = Judge(task.data, task.evaluate, task.metric)
        self._masked_epochs: tuple[EpochResult, ...] = ()

    def pruned(self) -> Pruned:
        """Do every step that is not done, and return the result."""
        task, data = self._task, self._task.data
        self._check()
        self._add_stage(DENSE, task.model)
        _ = self._targets, self._value, self._subject, self._scores, self._drops  # in this order in all processes
        outcome = self._accepted_outcome()
        plan, _ = self._plan, self._compared
        built = self._built(plan.widths)
        if self._options.is_dry_run:
            return self._result(built, (), outcome.measurements, None, None)
        module = built.module
        self._add_stage(PRUNED, module)
        epochs: tuple[EpochResult, ...] = ()
        if data is not None:
            recalibrate_batch_norm(module, data, _CALIBRATION_IMAGES)
            self._add_stage(_RECALIBRATED, module)
            epochs = self._fine_tune(module, data)
        network = built.network.with_parameters(weights_of(module, built.network))
        agreed = self._export(module, network)
        deployed = self._deployed(network)
        measured = self._final_measurements(network)
        return self._result(replace(built, network=network), epochs, measured, agreed, deployed)

    # What is asked

    def _check(self) -> None:
        """Find what is wrong before anything slow starts."""
        task, subject = self._task, self._captured
        self._check_types()
        all_widths = [Variable(g.name, tuple(range(1, g.n_channels + 1))) for g in subject.channels.groups]
        free = restricted(all_widths, subject.channels, subject.blocks, self._options.restrictions)
        if free and not self._decides_bits and all(len(group.levels) == 1 for group in free):
            raise NothingToPrune("the freeze patterns leave no channel and no residual block to remove; freeze fewer layers")
        if task.data is None and self._value in NEED_DATA:
            raise ConfigError(needs_data(self._value))
        if self._decides_bits and self._options.value not in (AUTO, *MEASURED):
            raise ConfigError(
                f"value must be {' or '.join(MEASURED)} where bits are chosen too, not {self._options.value!r}: what bits "
                "lose is a divergence, and so must be what channels are worth"
            )
        if len(task.platforms) > 1 and self._options.engine_mode == WORST and self._options.solver in ONE_BUDGET:
            raise ConfigError(
                f"solver {self._options.solver!r} must have one engine, or a weighted mean, not each of several"
            )
        if task.max_drop is not None and not self._judge.is_able:
            raise ConfigError("max_drop must come with data (or a function that evaluates), not without")
        self._check_training()
        _ = self._dense_planner.size_budgets
        self._check_platforms()
        if self._folder is not None:
            network, engines = subject.network, [platform.fingerprint() for platform, _ in task.platforms]
            engine = engines[0] if len(engines) == 1 else engines
            self._folder.works_on({"network": network.structure_hash, "weights": network.weights_hash, "engine": engine})

    def _check_platforms(self) -> None:
        for platform, _ in self._task.platforms:
            if platform.settings.is_simulated and self._task.max_drop is not None:
                raise ConfigError(f"max_drop must be left out for {platform.name}, whose integers lose more; give a latency")
            if platform.settings.is_simulated and n_processes() > 1:
                raise ConfigError(f"{platform.name} must be pruned for in one process, not {n_processes()}")
            platform.check(self._captured.network)

    def _check_training(self) -> None:
        task, options = self._task, self._options
        if options.schedule.n_masked and (task.data is None or task.budget is None):
            without = "data, not without" if task.data is None else "a latency, not with max_drop"
            raise ConfigError(f"milestones and soft_epochs must come with {without}")
        if task.data is not None and options.recipe is not None:
            check_precision(options.recipe.precision, device_of(task.model))

    def _check_types(self) -> None:
        network = self._captured.network
        dtypes = {network.tensors[name].dtype for name in network.inputs}
        if wrong := sorted(d for d in dtypes if "float" in d and d != "float32"):
            raise ConfigError(f"inputs must be float32, not {', '.join(wrong)}; convert them and the network with .float()")
        if self._task.data is not None and network.output_structure != "tensor":
            structure = network.output_structure if isinstance(network.output_structure, str) else "dict"
            raise ConfigError(
                f"the network must return one tensor to be trained and evaluated on data, not a {structure}; wrap it in a "
                "module that returns its logits, or leave the data out and train result.module yourself"
            )

    @cached_property
    def _captured(self) -> Subject:
        """The network as it came."""
        return Subject.of(capture(self._task.model, self._task.inputs))

    @cached_property
    def _dense_planner(self) -> Planner:
        batch = self._task.platforms[0][0].settings.batch
        return Planner(self._captured, self._options.restrictions, self._options.limits, batch)

    @cached_property
    def _subject(self) -> Subject:
        """The network that channels are removed from: as it came, or trained with masks."""
        recipe, data, schedule = self._options.recipe, self._task.data, self._options.schedule
        if not schedule.n_masked or recipe is None or data is None:
            return self._captured
        how = MaskedTraining(
            schedule=schedule,
            limit_frac=self._profiled_latencies.limit,
            plan=self._removal,
            recipe=shortened(recipe, schedule.n_masked),
            data=data,
            teacher=self._task.model,
            loss=self._task.loss,
            folder=self._file(MASKED),
            on_epoch=lambda result: self._log_epoch(result, "masked epoch"),
            progress=self._progress,
        )
        from_first(lambda: self._removal(self._captured, how.limit_frac))  # a budget out of reach is refused before training
        subject, masked, results = train_masked(self._task.model, self._captured, how)
        self._masked_epochs = tuple(results)
        self._add_stage("masked", masked)
        return subject

    def _removal(self, subject: Subject, limit_frac: float) -> Removal:
        """Return what the plan for a latency removes of a network with its present weights.

        Values that take long to measure are stood in for by the quick one they are based on.
        """
        planner = replace(self._dense_planner, subject=subject)
        value = self._options.base_value if self._value in MEASURED else self._value
        scores = self._values_of(planner, None).scores(value)
        levels = self._verifier_of(planner, scores).solve(self._profiled_latencies, limit_frac).levels
        return self._planner_for_solving(planner).kept(levels, scores), removed_by(levels, subject.blocks)

    @cached_property
    def _planner(self) -> Planner:
        return replace(self._dense_planner, subject=self._subject)

    # Steps and where they are kept

    def _step(self, name: str, make: Callable[[], Any]) -> Any:
        return make() if self._folder is None else self._folder.step(name, make)

    def _record(self, name: str, kind: type[Any], make: Callable[[], Record]) -> Any:
        """Return a step's record, from the folder where it was done before."""
        return kind.from_json(self._step(name, lambda: make().to_json()), name)

    def _file(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder.file(name)

    # Profiles and values

    @cached_property
    def _targets(self) -> tuple[Target, ...]:
        platforms = self._task.platforms
        return tuple(Target(each, self._profile(each, i), weight) for i, (each, weight) in enumerate(platforms))

    def _profile(self, platform: Platform, number: int) -> Profile:
        return from_first(lambda: self._made_profile(platform, number))

    def _made_profile(self, platform: Platform, number: int) -> Profile:
        path = self._file(profile_file(platform.name, number))
        if path is not None and path.exists():
            return Profile.load(path)
        profile = platform.profile(self._captured.network, self._options.profiling, self._cache, self._progress)
        if path is not None:
            profile.save(path)
        return profile

    @cached_property
    def _values(self) -> Values:
        """The value functions of the network as it came."""
        file = None if self._folder is None else self._folder.shared("divergences.jsonl")
        return self._values_of(self._dense_planner, file)

    def _values_of(self, planner: Planner, file: Path | None) -> Values:
        options = ValueOptions(self._options.base_value, self._options.value_limit_s)
        groups = {group.name for group in self._captured.channels.groups}
        levels = [v for target in self._targets for v in target.profile.variables if v.name in groups]
        return Values(planner, levels, self._task.data, options, self._task.loss, file, self._progress)

    @property
    def _value(self) -> str:
        """The value function: as asked, or the one that keeps most accuracy untrained."""
        if self._options.value != AUTO:
            return self._options.value
        if self._decides_bits:
            return SENSITIVITY
        if self._task.data is None:
            return WITHOUT_DATA
        accuracy = self._compared["accuracy_frac"]
        return max(accuracy, key=accuracy.__getitem__)

    @cached_property
    def _compared(self) -> Mapping[str, Mapping[str, float]]:
        """How well values did; nothing without data."""
        if self._task.data is None:
            return {}
        found: Mapping[str, Mapping[str, float]] = self._step(VALUES_STEP, lambda: from_first(self._comparison))
        return found

    def _comparison(self) -> dict[str, dict[str, float]]:
        values, asked = self._values, self._options.value
        if self._decides_bits and asked == AUTO:
            asked = self._value
        if asked != AUTO:
            is_short = values.seconds_for(asked) <= self._options.value_limit_s
            return {"accuracy_frac": {}, "rank_correlation": {asked: values.rank_correlation(asked)} if is_short else {}}
        try:
            return compare_values(values, self._levels_for, self._task.metric, self._progress)
        except DoesNotFit:  # the verifier says what can be reached
            return {"accuracy_frac": {WITHOUT_DATA: 0.0}, "rank_correlation": {}}

    def _levels_for(self, value: str) -> Mapping[str, int]:
        latencies = self._profiled_latencies
        return self._verifier_of(self._dense_planner, self._values.scores(value)).solve(latencies, latencies.limit).levels

    @property
    def _profiled_latencies(self) -> Latencies:
        """What the budget (a typical one where a drop was asked for) means by the profiles alone."""
        budget = self._task.budget or Budget(100 * _TYPICAL_FRAC, True)
        profiled = [target.profile.dense_ms for target in self._targets]
        return Latencies.within(self._targets, self._options.engine_mode, budget, profiled)

    @cached_property
    def _scores(self) -> Scores:
        return from_first(self._made_scores)

    def _made_scores(self) -> Scores:
        if self._subject is self._captured:
            return self._values.scores(self._value)
        return self._values_of(self._planner, self._file("divergences-masked.jsonl")).scores(self._value)

    # The plan

    def _verifier_of(self, planner: Planner, scores: Scores) -> Verifier:
        options = SolveOptions(
            solver=self._options.solver,
            time_limit_s=self._options.time_limit_s,
            measuring=self._options.measuring,
            mode=self._options.engine_mode,
            max_rounds=min(platform.max_rounds for platform, _ in self._task.platforms),
        )
        return Verifier(self._planner_for_solving(planner), self._targets, scores, options, self._progress)

    def _planner_for_solving(self, planner: Planner) -> Planner:
        """Return a planner that knows what is chosen besides widths."""
        return replace(planner, besides=self._besides)

    @cached_property
    def _besides(self) -> Decisions:
        """What is chosen together with widths, and what it loses."""
        decider, network = self._task.platforms[0][0].bit_decider, self._captured.network
        if decider is None:
            return NOTHING_ELSE

        path = None if self._folder is None else self._folder.shared(LOSSES_OF_BITS)
        if path is not None and path.exists():
            return decider.decisions(network, Sensitivity.load(path))
        assert self._task.data is not None
        lost = decider.sensitivity(network, sensitivity_images(self._task.data), self._progress)
        if path is not None:
            lost.save(path)
        return decider.decisions(network, lost)

    @property
    def _decides_bits(self) -> bool:
        return any(platform.bit_decider is not None for platform, _ in self._task.platforms)

    @cached_property
    def _budget(self) -> Budget:
        if self._task.budget is not None:
            return self._task.budget
        return Budget(100 * min(drop.limit_frac for drop in self._drops if drop.is_allowed), True)

    @cached_property
    def _drops(self) -> tuple[Drop, ...]:
        if self._task.max_drop is None:
            return ()
        dense = self._stages.stages[0].score
        found = self._step("drops", lambda: from_first(lambda: self._tried_drops(dense)))
        return tuple(Drop(**drop) for drop in found)

    def _tried_drops(self, dense: float) -> list[dict[str, Any]]:
        assert self._task.max_drop is not None
        verifier = self._verifier_of(self._planner, self._scores)
        allowed = self._task.max_drop / (1.0 if self._task.evaluate is not None else 100.0)
        drops = fastest_within(verifier, allowed, lambda levels: dense - self._score_after_recovery(levels))
        return [asdict(drop) for drop in drops]

    def _score_after_recovery(self, levels: Mapping[str, int]) -> float:
        """Return the quality of a plan after its short recovery, kept by plan."""

        def score() -> float:
            module = self._built(levels).module
            if (data := self._task.data) is not None:
                recalibrate_batch_norm(module, data, _CALIBRATION_IMAGES)
                if (recipe := self._options.recipe) is not None and (epochs := self._options.drop_epochs):
                    short = shortened(recipe, epochs)
                    fit(module, data, short, teacher=self._task.model, loss=self._task.loss, progress=self._progress)
            return self._stages.stage("tried", self._judge.quality(module)).score

        return float(self._step(f"drop of plan {content_hash(dict(levels))}", score))

    @cached_property
    def _outcome(self) -> Outcome:
        verifier, budget = self._verifier_of(self._planner, self._scores), self._budget
        outcome: Outcome = self._record(PLAN, Outcome, lambda: from_first(lambda: verifier.run(budget)))
        return outcome

    def _accepted_outcome(self) -> Outcome:
        """Return the outcome, if its plan may be used.

        Raises:
            DoesNotFit: it measures above the budget, and nobody said that the nearest will do.
        """
        outcome = self._outcome
        if not outcome.is_within and not self._options.accepts_nearest:
            raise DoesNotFit(
                f"no plan was found that measures within {self._budget} in {len(outcome.rounds)} rounds: the nearest takes "
                f"{100 * outcome.chosen.ratio:.1f} % of the dense latency; ask for at least that, or accept it "
                "(--accept-nearest, accepts_nearest=True)"
            )
        return outcome

    @cached_property
    def _plan(self) -> Plan:
        return from_first(self._made_plan)

    def _made_plan(self) -> Plan:
        path = self._file("plan.json")
        if path is not None and path.exists():
            return Plan.load(path)
        outcome, subject = self._outcome, self._subject
        first = self._targets[0].profile
        hashes = {"network": subject.network.structure_hash, "weights": subject.network.weights_hash, "profile": first.hash}
        planner = self._planner_for_solving(self._planner)
        plan = Plan(
            widths=planner.widths(outcome.levels),
            kept=planner.kept(outcome.levels, self._scores),
            removed_blocks=removed_by(outcome.levels, subject.blocks),
            value=(self._value, outcome.solution.value),
            solver=self._options.solver,
            predicted_ms=outcome.chosen.predicted_frac * first.dense_ms,
            target_ms=outcome.limit_frac * first.dense_ms,
            bound=outcome.solution.bound,
            hashes=hashes,
        )
        if path is not None:
            plan.save(path)
        return plan

    def _built(self, levels: Mapping[str, int]) -> _Built:
        """Return the network that some levels leave."""
        subject = self._subject
        removed = removed_by(levels, subject.blocks)
        kept = self._planner_for_solving(self._planner).kept(levels, self._scores)
        network = pruned(subject.network, kept, removed)
        own = smaller_own_class(self._task.model, network, removed)
        return _Built(network, to_module(network) if own is None else own, own is not None)

    # Recovery, export, result

    def _add_stage(self, name: str, module: nn.Module) -> None:
        """Evaluate the module and remember it, if there is anything to evaluate with."""
        if self._judge.is_able:
            self._stages.add(name, self._step(f"quality: {name}", lambda: self._judge.quality(module)))

    def _fine_tune(self, module: nn.Module, data: TrainingData) -> tuple[EpochResult, ...]:
        if self._options.recipe is None:
            return ()
        n_epochs, recipe = self._options.schedule.n_final, self._options.recipe
        results = fit(
            module,
            data,
            recipe if n_epochs == recipe.epochs else shortened(recipe, n_epochs),
            teacher=self._task.model,
            loss=self._task.loss,
            folder=self._file(CHECKPOINT),
            on_epoch=self._log_epoch,
            progress=self._progress,
        )
        for result in results:  # a kill may have come between an epoch's checkpoint and its line
            self._log_epoch(result)
        self._add_stage("fine-tuned", module)
        return tuple(results)

    def _log_epoch(self, result: EpochResult, kind: str = "epoch") -> None:
        self._step(f"{kind} {result.epoch}", lambda: asdict(result))

    def _export(self, module: nn.Module, network: Network) -> Agreement:
        images = inputs_to_compare(network, self._task.data)
        platform = self._task.platforms[0][0]
        batch = platform.settings.batch
        result: Agreement = self._record(
            "agreement", Agreement, lambda: from_first(lambda: agreement(module, network, images, platform.exact()))
        )
        if self._folder is not None and is_first():
            save_model(network, self._folder.path, batch)
            if platform.settings.is_predicted:
                dense = onnx_file(self._captured.network, batch)
                write_atomically(self._folder.file(DENSE_FILE), dense)
        if not result.is_close:
            raise NumericMismatch(
                f"the ONNX model differs from PyTorch by {result.max_abs_difference:.3g} on outputs up to "
                f"{result.max_abs_output:.3g}; please report the network"
            )
        return result

    def _candidate(self, network: Network) -> Candidate:
        return Candidate(fold_batch_norm(network), self._outcome.levels)

    def _deployed(self, network: Network) -> Deployed | None:
        """Return what runs on an accelerator, from the folder where it was made before."""
        platform, path = self._task.platforms[0][0], None if self._folder is None else self._folder.path
        asked = Deployment(
            network=network,
            dense=self._captured.network,
            levels=self._outcome.levels,
            data=self._task.data,
            folder=path,
        )
        if self._folder is not None and self._folder.has_done(DEPLOYMENT):
            found: Deployed | None = Deployed.load(self._folder.path)
        else:
            found = platform.deploy(asked, self._progress)
        if found is not None:
            self._step(DEPLOYMENT, lambda: True)
            self._add_stage("integer", found.module)
        return found

    def _simulation(self, network: Network, deployed: Deployed | None) -> SimulationSummary | None:
        """Return where the cycles of the pruned network go; None on engines."""
        if deployed is not None:
            return deployed.simulation
        platform = self._task.platforms[0][0]
        return platform.simulated(self._candidate(network), self._captured.network, "network", self._progress)

    def _final_measurements(self, network: Network) -> tuple[Measurement, ...]:
        try:
            return tuple(self._final_measurement(network, i) for i in range(len(self._task.platforms)))
        except TooNoisy as error:
            if self._folder is None:
                raise
            raise TooNoisy(
                f"{error}. The pruned network is finished and lies in {self._folder.path}; only its final measurement is "
                "missing: the same command with --resume (resumes=True) measures again"
            ) from None

    def _final_measurement(self, network: Network, number: int) -> Measurement:
        platform = self._task.platforms[number][0]
        name = MEASUREMENT if number == 0 else f"{MEASUREMENT} on {platform.name}"
        candidates = {DENSE: Candidate(self._captured.folded), PRUNED: self._candidate(network)}

        def measured() -> Measurement:
            return platform.measure(candidates, self._options.measuring, self._progress)

        found: Measurement = self._record(name, Measurement, lambda: from_first(measured))
        return found

    def _result(
        self,
        built: _Built,
        epochs: tuple[EpochResult, ...],
        measurements: tuple[Measurement, ...],
        agreed: Agreement | None,
        deployed: Deployed | None,
    ) -> Pruned:
        return Pruned(
            module=built.module.eval(),
            is_own_class=built.is_own_class,
            network=built.network,
            plan=self._plan,
            outcome=self._outcome,
            targets=self._targets,
            planner=self._planner_for_solving(self._planner),
            scores=self._scores,
            engine_mode=self._options.engine_mode,
            stages=tuple(self._stages.stages),
            epochs=epochs,
            masked_epochs=self._masked_epochs,
            measurements=measurements,
            agreement=agreed,
            values=self._compared,
            drops=self._drops,
            dense=self._captured.network,
            deployed=deployed,
            simulation=self._simulation(built.network, deployed),
        )
