"""How two executors of a network compare, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.records import Record
from silicut.report.part import Part


@dataclass(frozen=True, kw_only=True)
class IntegerDifference(Part):
    """One tensor of two integer executors.

    Attributes:
        tensor: its name.
        operator: name and kind of what makes it, "" for an input.
        n: numbers compared.
        n_differing: how many are not equal.
        index: of the first that differs, its image first; None where all are equal.
        a, b: both numbers there.
        largest: greatest difference.
    """

    tensor: str
    operator: str
    n: int
    n_differing: int
    index: tuple[int, ...] | None = None
    a: int | None = None
    b: int | None = None
    largest: int = 0


@dataclass(frozen=True, kw_only=True)
class RealDifference(Part):
    """One tensor of two executors of which at least one computes in floats.

    Attributes:
        tensor: its name in the second.
        other: its name in the first.
        operator: name and kind of what makes it, "" for an input.
        n: numbers compared.
        sqnr_db: energy of the first over energy of the difference, in decibels; None where there is no difference.
        largest: greatest difference.
        largest_steps: the same in steps of the quantised tensor; None where both are floats.
        index: where it is greatest.
    """

    tensor: str
    other: str
    operator: str
    n: int
    sqnr_db: float | None
    largest: float
    largest_steps: float | None
    index: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """Two executors of a network on the same inputs.

    Attributes:
        a, b: what they are.
        n_inputs: images, or what else lies along the first axis.
        integers: tensors that both have as integers, in order of execution; equality is equality.
        reals: tensors that at least one has as floats.
        roundings: the rounding modes of the integer networks.
    """

    schema: ClassVar[str] = "comparison/1"
    a: str
    b: str
    n_inputs: int
    integers: tuple[IntegerDifference, ...] = ()
    reals: tuple[RealDifference, ...] = ()
    roundings: tuple[str, ...] = ()

    @property
    def first(self) -> IntegerDifference | None:
        """The first tensor in which integers differ, None where all are equal."""
        return next((each for each in self.integers if each.n_differing), None)

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        if not self.integers:
            worst = min(self.reals, key=lambda each: float("inf") if each.sqnr_db is None else each.sqnr_db)
            noise = "no difference" if worst.sqnr_db is None else f"{worst.sqnr_db:.1f} dB in {worst.tensor}"
            return f"{len(self.reals)} tensors compared as reals; the lowest signal to noise: {noise}."
        n = sum(each.n for each in self.integers)
        if self.first is None:
            return f"0 of {n:,} integers differ, in {len(self.integers)} tensors."
        first, differing = self.first, sum(each.n_differing for each in self.integers)
        maker = f", made by {first.operator}" if first.operator else ", an input"
        where = ", ".join(map(str, first.index or ()))
        return (
            f"{differing:,} of {n:,} integers differ; the first: {first.tensor}[{where}]{maker}, is {first.a} in {self.a} "
            f"and {first.b} in {self.b}."
        )
