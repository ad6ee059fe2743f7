"""How numbers and findings are put into words, the same on the page, in figures and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from silicut.report.comparisons import TriedDrop
from silicut.report.findings import LatencyParts
from silicut.report.simulation import SimulationSummary
from silicut.report.summary import Latency, RunSummary, Stage
from silicut.targets.engine import EngineSettings
from silicut.targets.profile import Validation

_Z95 = 1.959964  # standard normal quantile of a two-sided 95 % interval
_NBSP = "\u00a0"

_NARROWING = "what narrowing could save"
NO_CAUSE = "None of the known causes of a network that gets no faster applies."
"""What is said where there are no findings."""


def decimals_for(smallest: float, n_digits: int = 3) -> int:
    """Return how many decimals show a number with this many significant digits, at most 5.

    Example:
        >>> decimals_for(0.425), decimals_for(42.5), decimals_for(4250.0), decimals_for(0.0)
        (3, 1, 0, 0)
    """
    return min(5, max(0, n_digits - 1 - math.floor(math.log10(smallest)))) if smallest > 0 else 0


def number_text(number: float) -> str:
    """Return a number as text, with three significant digits and commas between thousands.

    Example:
        >>> number_text(75.263), number_text(1234.5)
        ('75.3', '1,234')
    """
    return f"{number:,.{decimals_for(number)}f}"


def ms_text(ms: float, decimals: int | None = None) -> str:
    """Return milliseconds as text, with three significant digits unless decimals are given.

    Example:
        >>> ms_text(0.42539).replace(chr(160), " "), ms_text(12.0, 2).replace(chr(160), " ")
        ('0.425 ms', '12.00 ms')
    """
    return f"{ms:.{decimals_for(ms) if decimals is None else decimals}f}{_NBSP}ms"


def percent_text(frac: float, decimals: int = 1) -> str:
    """Return a fraction in per cent.

    Example:
        >>> percent_text(0.1234).replace(chr(160), " ")
        '12.3 %'
    """
    return f"{100 * frac:.{decimals}f}{_NBSP}%".replace("-", "\u2212")


def change_text(before: float, after: float, decimals: int = 1) -> str:
    """Return the relative change of a number in per cent, signed.

    Example:
        >>> change_text(200, 100).replace(chr(160), " "), change_text(3, 3).replace(chr(160), " ")
        ('−50.0 %', '0.0 %')
    """
    change = 100 * (after / before - 1) if before else 0.0
    sign = "" if round(change, decimals) == 0 else "+" if change > 0 else "\u2212"
    return f"{sign}{abs(change):.{decimals}f}{_NBSP}%"


def error_text(predicted: float, measured: float) -> str:
    """Return how far a prediction was off.

    Example:
        >>> error_text(0.9, 1.0).replace(chr(160), " "), error_text(1.0, 1.0)
        ('10.0 % too low', 'exact')
    """
    error = predicted / measured - 1
    if round(100 * error, 1) == 0:
        return "exact"
    return f"{percent_text(abs(error))} too {'high' if error > 0 else 'low'}"


def count_text(number: float, unit: str = "") -> str:
    """Return a count or a size with three significant digits and a decimal prefix.

    Example:
        >>> count_text(272474).replace(chr(160), " "), count_text(999, "B").replace(chr(160), " ")
        ('272 k', '999 B')
    """
    prefixes = ("", "k", "M", "G", "T", "P")
    power = 0
    while abs(number) >= 999.5 and power < len(prefixes) - 1:
        number /= 1000
        power += 1
    digits = f"{number:.{decimals_for(abs(number))}f}" if power else f"{number:g}"
    return f"{digits}{_NBSP}{prefixes[power]}{unit}".rstrip(_NBSP)


def interval_text(latency: Latency, decimals: int) -> str:
    """Return "95 % low to high", or nothing for a latency that has no interval of its own."""
    if latency.high_ms <= latency.low_ms:
        return ""
    return f"95{_NBSP}%: {latency.low_ms:.{decimals}f} to {latency.high_ms:.{decimals}f}"


def engine_text(settings: EngineSettings) -> str:
    """Return the engine and how it runs.

    Example:
        >>> engine_text(EngineSettings(engine="onnxruntime"))
        'onnxruntime, 1 thread, batch 1'
    """
    if settings.is_simulated:
        return f"{settings.engine}, simulated, one image at a time"
    threads = "1 thread" if settings.n_threads == 1 else f"{settings.n_threads} threads"
    elsewhere = ", on another device" if settings.is_predicted else ""
    return f"{settings.engine}, {threads}, batch {settings.batch}{elsewhere}"


def listing(names: Sequence[str], n_shown: int = 3) -> str:
    """Return names in a sentence, the surplus counted.

    Example:
        >>> listing(["a", "b"]), listing(["a", "b", "c", "d", "e"])
        ('a and b', 'a, b, c and 2 more')
    """
    if len(names) > n_shown:
        return f"{', '.join(names[:n_shown])} and {len(names) - n_shown} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def drop_sentence(drop: TriedDrop) -> str:
    """Return what came of a latency that was tried for a drop of accuracy.

    Example:
        >>> drop_sentence(TriedDrop(limit_frac=0.5, drop=0.0123, is_allowed=False)).replace(chr(160), " ")
        'tried 50.0 % of the dense latency: 0.0123 lost after a short recovery, too much'
    """
    verdict = "little enough" if drop.is_allowed else "too much"
    return (
        f"tried {percent_text(drop.limit_frac)} of the dense latency: {drop.drop:.4g} lost after a short recovery, {verdict}"
    )


def numbers_text(numbers: Sequence[int], n_shown: int = 8) -> str:
    """Return numbers in a row, those in the middle left out where there are many.

    Example:
        >>> numbers_text([4, 8, 12]), numbers_text(range(20), 4)
        ('4 8 12', '0 1 ... 18 19')
    """
    if len(numbers) <= n_shown:
        return " ".join(map(str, numbers))
    half = n_shown // 2
    return f"{' '.join(map(str, numbers[:half]))} ... {' '.join(map(str, numbers[-half:]))}"


def part_rows(parts: LatencyParts) -> list[tuple[str, float]]:
    """Return the parts of a latency that are not 0, named, in milliseconds; what widths can change comes first."""
    rows = (
        (_NARROWING, parts.narrowing_ms),
        ("layers at their smallest widths", parts.least_ms),
        ("calls, input and output", parts.overhead_ms),
        ("layers whose channels must stay", parts.frozen_ms),
        ("layers on no channel group", parts.untouched_ms),
    )
    decimals = shared_decimals((parts.total_ms,))
    return [(name, ms) for name, ms in rows if round(ms, decimals) > 0]


def parts_sentence(parts: LatencyParts) -> str:
    """Return in one sentence how much of a latency depends on widths, and what the rest is."""
    decimals = shared_decimals((parts.total_ms,))
    rest = [f"{ms_text(ms, decimals)} in {name}" for name, ms in part_rows(parts) if name != _NARROWING]
    return (
        f"Of {ms_text(parts.total_ms, decimals)}, widths can change {ms_text(parts.narrowing_ms, decimals)} "
        f"({percent_text(1 - parts.fixed_frac, 0)})" + (f"; the rest is {listing(rest, 4)}." if rest else ".")
    )


def wilson_interval(stage: Stage) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy (Wilson, J. Am. Stat. Assoc. 22, 1927), as fractions.

    Example:
        >>> low, high = wilson_interval(Stage(name="dense", n=100, n_correct=100))
        >>> round(low, 3), high
        (0.963, 1.0)
    """
    z2_n = _Z95**2 / stage.n
    p = stage.accuracy_frac
    middle = (p + z2_n / 2) / (1 + z2_n)
    half = _Z95 / (1 + z2_n) * math.sqrt(p * (1 - p) / stage.n + z2_n / (4 * stage.n))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class AccuracyLoss:
    """Accuracy that a run cost, in percentage points; negative where it was gained.

    Attributes:
        first, last: the stages compared.
        points: lost.
        low, high: its 95 % interval.
    """

    first: Stage
    last: Stage
    points: float
    low: float
    high: float

    @property
    def is_seen(self) -> bool:
        """The interval leaves out 0, so the images show a difference."""
        return self.low > 0 or self.high < 0


def accuracy_loss(stages: Sequence[Stage]) -> AccuracyLoss | None:
    """Return what was lost from the first stage to the last one on as many images; None with fewer than two stages.

    Stages compared image by image: d = (lost - gained) / n, with variance (lost + gained - n d^2) / n^2 (McNemar,
    Psychometrika 12, 1947). Else the variances of both accuracies are added, which is wider.
    """
    comparable = [stage for stage in stages[1:] if stage.n == stages[0].n] or list(stages[1:])
    if not comparable:
        return None
    first, last = stages[0], comparable[-1]
    lost = first.accuracy_frac - last.accuracy_frac
    if last.n_lost is not None and last.n_gained is not None:
        variance = (last.n_lost + last.n_gained - last.n * lost**2) / last.n**2
    else:
        variance = sum(s.accuracy_frac * (1 - s.accuracy_frac) / s.n for s in (first, last))
    half = _Z95 * math.sqrt(max(variance, 0.0))
    return AccuracyLoss(first, last, 100 * lost, 100 * (lost - half), 100 * (lost + half))


def accuracy_sentence(loss: AccuracyLoss) -> str:
    """Return what happened to accuracy; a difference inside its interval is no difference."""
    first, last = (percent_text(stage.accuracy_frac, 2) for stage in (loss.first, loss.last))
    if not loss.is_seen:
        return f"{loss.last.n:,} images show no difference in accuracy ({first} before, {last} after)."
    verb, (low, high) = ("lost", (loss.low, loss.high)) if loss.points > 0 else ("gained", (-loss.high, -loss.low))
    return (
        f"Accuracy went from {first} to {last}: {abs(loss.points):.2f} points {verb} "
        f"(95{_NBSP}%: {low:.2f} to {high:.2f}, {loss.last.n:,} images)."
    )


def headline(summary: RunSummary) -> str:
    """Return the run in one sentence: what was measured before and after."""
    decimals = shared_decimals((summary.dense.ms, summary.measured.ms))
    was, now = ms_text(summary.dense.ms, decimals), ms_text(summary.measured.ms, decimals)
    speedup, low, high = summary.ratio.speedup
    if low > 1:
        return f"{summary.network} now runs {speedup:.2f} times as fast: {was} became {now}."
    if high < 1:
        return f"{summary.network} now runs slower: {was} became {now}."
    return f"{summary.network} runs no faster than before: {was} became {now}, which is no difference."


def shared_decimals(numbers: Iterable[float]) -> int:
    """Return decimals that give the smallest number above 0 three significant digits, so that a column lines up."""
    return decimals_for(min((n for n in numbers if n > 0), default=0.0))


def validation_sentences(check: Validation) -> list[str]:
    """Return what checking the predictions on fresh networks showed."""
    sentences = [
        f"On {len(check.measured_ms)} fresh random networks the prediction was wrong by "
        f"{percent_text(check.mean_error_frac)} on average and by {percent_text(check.max_error_frac)} at most "
        f"(R\u00b2 = {check.r2:.3f})."
    ]
    if check.isolated_ms:
        sentences.append(
            f"Summing layers measured alone would have been wrong by {percent_text(check.isolated_mean_error_frac)} "
            f"on average and by {percent_text(check.isolated_max_error_frac)} at most."
        )
    return sentences


def origins(summary: SimulationSummary) -> list[str]:
    """Return where the figures come from, one sentence each."""
    n = summary.n_images
    images = "one image" if n == 1 else f"{n:,} images"
    data = f"with data of {images}" if n else "without data, on which no cycle depends"
    return [
        f"Cycles are simulated, {data}; the clock of {summary.clock_hz / 1e6:g} MHz is assumed; every transfer is counted.",
        f"Resources are modelled: the array by {summary.resource_model}, memories counted, glue and flip-flops assumed; "
        "nothing is synthesised.",
    ]
