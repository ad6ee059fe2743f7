"""The measuring protocol: many short rounds, all candidates in every round, everything relative to one reference.

On a shared machine the same network can take twice as long a second later, so times taken one after the other compare
the moments, not the networks. Here the candidates take turns in random order; a candidate's figure of a round is the
fastest of a short burst, and only ratios within a round are compared. Latency is defined once, for all uses:

    latency_ms(candidate) = p10_ms(reference) x median over the rounds of ms(candidate) / ms(reference)

The runs of one thread are timed by its processor clock (`inference_clock`): by the wall clock, with other programs on
the same two cores, a network of 6 ms seemed 1.6 to 9 times slower beside one of 1 ms than it is: long runs are always
interrupted, short ones seldom, and no median removes that. For several threads, where only the wall clock tells, a
disagreement between median and fastest runs is reported.

Where a session's buffers happen to lie in memory makes it up to 0.5 % faster or slower for as long as it lives. All
sessions are therefore loaded anew every few rounds, and the interval is a bootstrap over sessions and, within them,
over rounds (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from silicut.graph import Network
from silicut.records import BadFile, ConfigError, Progress, Record, TooNoisy, Tracker, content_hash, silent
from silicut.targets.device.rounds import Rounds, interval
from silicut.targets.engine import Engine, EngineSettings, Model

_BUSY = 1.1
PREDICTED = "nothing was measured: latencies are predicted from the profile of a device that is not this machine"
"""The warning of a measurement that is none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasureOptions(Record):
    """How long and how carefully to measure.

    Measuring goes on until every candidate's ratio is known to `ci_frac`, for at least `n_rounds` rounds; it ends with
    a warning after `max_rounds`, or where the next rounds would last beyond `max_s`.

    Attributes:
        n_rounds, max_rounds: fewest and most rounds, 1 <= n_rounds <= max_rounds; rounded up to whole sessions.
        runs_per_round: inferences of each candidate in a round that count, >= 1; one more goes before them.
        rounds_per_session: rounds after which all models are loaded anew, >= 1.
        n_warmup: inferences of each model after it is loaded, >= 0.
        max_s: seconds for all of it; `rounds_per_session` rounds are measured however long they take.
        ci_frac: half-width of the ratio's 95 % interval at which to stop, relative to the ratio.
        warn_frac, refuse_frac: half-width above which a warning is recorded, and above which `TooNoisy` is raised.
        warn_bias_frac, refuse_bias_frac: the same for the disagreement between median and fastest runs on a ratio.
        n_resamples: bootstrap resamples, >= 100.
        seed: of the order of the candidates and of the bootstrap, >= 0.

    Raises:
        ConfigError: every wrong field, at construction.

    Example:
        >>> MeasureOptions(n_rounds=0, ci_frac=-1.0)
        Traceback (most recent call last):
        silicut.records.errors.ConfigError: n_rounds must be >= 1, not 0; ci_frac must be > 0, not -1.0
    """

    schema: ClassVar[str] = "measure_options/1"
    n_rounds: int = 20
    max_rounds: int = 100
    runs_per_round: int = 4
    rounds_per_session: int = 5
    n_warmup: int = 2
    max_s: float = 60.0
    ci_frac: float = 0.01
    warn_frac: float = 0.02
    refuse_frac: float = 0.10
    warn_bias_frac: float = 0.05
    refuse_bias_frac: float = 0.20
    n_resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"n_rounds": 1, "runs_per_round": 1, "rounds_per_session": 1, "n_warmup": 0, "n_resamples": 100}
        least |= {"max_rounds": self.n_rounds, "seed": 0}
        wrong = [f"{name} must be >= {n}, not {getattr(self, name)}" for name, n in least.items() if getattr(self, name) < n]
        positive = ("max_s", "ci_frac", "warn_frac", "refuse_frac", "warn_bias_frac", "refuse_bias_frac")
        wrong += [f"{name} must be > 0, not {getattr(self, name)}" for name in positive if not getattr(self, name) > 0]
        if wrong:
            raise ConfigError(*wrong)

    def refusing(self, noise_percent: float) -> MeasureOptions:
        """Return the options under which ratios must be known to +- this many per cent (disagreement: twice that).

        Raises:
            ConfigError: it is not above 0.
        """
        if not noise_percent > 0:
            raise ConfigError(f"noise must be above 0 per cent, not {noise_percent:g}")
        return dataclasses.replace(self, refuse_frac=noise_percent / 100, refuse_bias_frac=2 * noise_percent / 100)


class Measured(Protocol):
    """Where something was measured: an engine, or what is known of one elsewhere."""

    @property
    def settings(self) -> EngineSettings:
        """Engine, threads, batch."""

    def fingerprint(self) -> dict[str, Any]:
        """Return what a time measured there depends on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing(Record):
    """What was measured of one candidate.

    Attributes:
        model_hash: `content_hash` of the file's bytes, or of the network's structure and weights.
        latency_ms: the latency, as defined in `silicut.targets.measure`; `latency_low_ms`, `latency_high_ms`: the 95 %
            interval of it that follows from the interval of the ratio.
        ratio: median over the rounds of candidate over reference; `ratio_low`, `ratio_high`: its 95 % interval.
        ratio_of_minima: fastest run of all over the reference's fastest: what `ratio` is on a machine left alone, so the
            two disagree where other work slowed long networks down more than short ones.
        p10_ms, median_ms, min_ms: over all the runs that count.
        cv_frac: coefficient of variation (standard deviation over mean) of these runs.
        n: how many runs these are.
        ratios: the ratio of each round, in order.
    """

    schema: ClassVar[str] = "timing/1"
    model_hash: str
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    ratio_of_minima: float
    p10_ms: float
    median_ms: float
    min_ms: float
    cv_frac: float
    n: int
    ratios: tuple[float, ...]

    @property
    def half_width_frac(self) -> float:
        """Half the width of the ratio's interval, relative to the ratio."""
        return (self.ratio_high - self.ratio_low) / 2 / self.ratio

    @property
    def disagreement_frac(self) -> float:
        """How far the ratio is from the ratio of minima, relative to the latter."""
        return abs(self.ratio / self.ratio_of_minima - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement(Record):
    """The latencies of several networks, measured together.

    Attributes:
        settings: engine, threads, batch.
        fingerprint: machine and engine, as `Engine.fingerprint` gave it.
        options: how it was measured.
        reference: name of the network that all ratios are relative to.
        timings: by name of the network.
        n_rounds: rounds that were measured.
        elapsed_s: seconds that it took.
        warnings: sentences on what makes the figures less sure than asked for; empty when nothing does.
    """

    schema: ClassVar[str] = "measurement/1"
    settings: EngineSettings
    fingerprint: dict[str, Any]
    options: MeasureOptions
    reference: str
    timings: dict[str, Timing]
    n_rounds: int
    elapsed_s: float
    warnings: tuple[str, ...]


def measure(
    engine: Engine,
    models: Mapping[str, Model],
    reference: str,
    options: MeasureOptions | None = None,
    progress: Progress = silent,
) -> Measurement:
    """Return the latencies of several networks, measured together on one engine.

    Args:
        engine: where they run.
        models: networks, ONNX files or their bytes by name.
        reference: the name of the one that the others are compared with.
        options: `MeasureOptions()` when None.
        progress: told after every round; the note is the widest interval's half-width.

    Raises:
        TooNoisy: an interval is wider than `refuse_frac`.
        ConfigError: `reference` is not one of the models.
        BadFile, UnsupportedModel: the engine cannot run a model.
    """
    if reference not in models:
        raise ConfigError(f"reference must be one of {', '.join(map(repr, models))}, not {reference!r}")
    options = options or MeasureOptions()
    hashes = {name: model_hash(model) for name, model in models.items()}
    names = list(models)
    rounds = Rounds(lambda i: engine.load(models[names[i]]), len(models), names.index(reference), options)
    n_sessions = math.ceil(options.max_rounds / options.rounds_per_session)
    tracker = Tracker(progress, "measure", n_sessions * options.rounds_per_session)
    while not rounds.is_done():
        note = f"+-{100 * rounds.widest_frac:.1f} %" if rounds.sessions else ""
        rounds.measure_session(lambda note=note: tracker.step(note))  # type: ignore[misc]
    return measurement_of(rounds, hashes, reference, options, engine)


def measurement_of(
    rounds: Rounds, hashes: Mapping[str, str], reference: str, options: MeasureOptions, where: Measured
) -> Measurement:
    """Return what rounds say, wherever they were measured.

    Args:
        rounds: of as many candidates as there are hashes, in their order.
        hashes: `model_hash` of each candidate, by its name.
        reference: the name of the one that the others are compared with.
        options: by which the rounds were measured.
        where: the engine, or what is known of it.

    Raises:
        TooNoisy: an interval is wider than `refuse_frac`.
    """
    runs_ms = rounds.runs_ms()
    reference_ms = runs_ms[list(hashes).index(reference)]
    timings = {
        name: _timing(hashes[name], ratios, own_ms, reference_ms, options)
        for name, ratios, own_ms in zip(hashes, rounds.ratios(), runs_ms, strict=True)
    }
    _refuse(timings, reference, options)
    is_predicted = where.settings.is_predicted
    return Measurement(
        settings=where.settings,
        fingerprint=where.fingerprint(),
        options=options,
        reference=reference,
        timings=timings,
        n_rounds=rounds.n_rounds,
        elapsed_s=rounds.elapsed_s,
        warnings=(PREDICTED,) if is_predicted else tuple(_warnings(timings, reference, options)),
    )


def model_hash(model: Model) -> str:
    """Return the hash by which a measurement names a model.

    Raises:
        BadFile: its file cannot be read.
    """
    return content_hash(_content(model))


def _content(model: Model) -> Any:
    """Return what identifies a model: the bytes of a file, or the hashes of a network."""
    if isinstance(model, bytes):
        return model
    if isinstance(model, Network):
        return {"structure": model.structure_hash, "weights": model.weights_hash}
    try:
        return model.read_bytes()
    except OSError as error:
        raise BadFile(f"{model} cannot be read ({error.strerror}); check the path") from None


def _timing(
    model_hash: str, ratios: np.ndarray, runs_ms: np.ndarray, reference_ms: np.ndarray, options: MeasureOptions
) -> Timing:
    ratio = float(np.median(ratios))
    low, high = interval(ratios, options)
    unit_ms = float(np.quantile(reference_ms, 0.1))
    return Timing(
        model_hash=model_hash,
        latency_ms=unit_ms * ratio,
        latency_low_ms=unit_ms * low,
        latency_high_ms=unit_ms * high,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        ratio_of_minima=float(runs_ms.min() / reference_ms.min()),
        p10_ms=float(np.quantile(runs_ms, 0.1)),
        median_ms=float(np.median(runs_ms)),
        min_ms=float(runs_ms.min()),
        cv_frac=float(runs_ms.std() / runs_ms.mean()),
        n=runs_ms.size,
        ratios=tuple(ratios.ravel().tolist()),
    )


def _refuse(timings: Mapping[str, Timing], reference: str, options: MeasureOptions) -> None:
    unsure = [
        f"{name!r} to +-{_percent(timing.half_width_frac)}"
        for name, timing in timings.items()
        if timing.half_width_frac > options.refuse_frac
    ]
    biased = [
        f"{name!r} by {_percent(timing.disagreement_frac)}"
        for name, timing in timings.items()
        if timing.disagreement_frac > options.refuse_bias_frac
    ]
    problems = []
    if unsure:
        limit = _percent(options.refuse_frac)
        problems.append(f"latency relative to {reference!r} is known only of {', '.join(unsure)} (allowed are {limit})")
    if biased:
        limit = _percent(options.refuse_bias_frac)
        problems.append(f"median and fastest runs disagree on {', '.join(biased)} (allowed are {limit})")
    if problems:
        raise TooNoisy(
            f"{'; '.join(problems)}: stop other work on the machine, use one thread, measure longer (max_rounds "
            f"{options.max_rounds}, max_s {options.max_s:g}), or allow more noise"
        )


def _warnings(timings: Mapping[str, Timing], reference: str, options: MeasureOptions) -> list[str]:
    found = [
        f"the ratio of {name!r} to {reference!r} is known only to +-{_percent(timing.half_width_frac)}, more than "
        f"{_percent(options.warn_frac)}: raise max_rounds and max_s, or stop other work on the machine"
        for name, timing in timings.items()
        if timing.half_width_frac > options.warn_frac
    ]
    found += [
        f"median and fastest runs disagree on the ratio of {name!r} to {reference!r} by "
        f"{_percent(timing.disagreement_frac)}: other work may have slowed one down more than the other"
        for name, timing in timings.items()
        if timing.disagreement_frac > options.warn_bias_frac
    ]
    base = timings[reference]
    if len(base.ratios) < options.n_rounds:
        found.append(f"only {len(base.ratios)} of {options.n_rounds} rounds fitted into {options.max_s:g} s: raise max_s")
    if base.median_ms > _BUSY * base.p10_ms:
        found.append(
            f"the machine was busy or changed its clock: half of the runs of {reference!r} took at least "
            f"{base.median_ms / base.p10_ms:.2f} times its p10, so milliseconds are less sure than ratios"
        )
    return found


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
