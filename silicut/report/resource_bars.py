"""What a build needs of its part, as bars of a page (`resources.html.jinja`)."""

from __future__ import annotations

from dataclasses import dataclass

from silicut.report.estimate import OnAccelerator

_AMOUNTS = {"n_luts": "LUTs", "n_ffs": "flip-flops", "n_dsps": "DSP slices", "n_bram36": "BRAM36"}
_GROUPS = ("arrays", "buffers", "glue")


@dataclass(frozen=True)
class ResourceBar:
    """One amount of the part.

    Attributes:
        name: of the amount.
        needed, there: by the build, on the part.
        shares: of each group of users, in per cent of the bar.
        limit: where the part ends, in per cent of the bar.
        title: every user with what it takes.
    """

    name: str
    needed: int
    there: int
    shares: tuple[tuple[str, float], ...]
    limit: float
    title: str

    @property
    def is_exceeded(self) -> bool:
        """More is needed than there is."""
        return self.needed > self.there


def resource_bars(summary: OnAccelerator) -> tuple[ResourceBar, ...]:
    """Return a bar for each amount of the part."""
    return tuple(_bar(summary, name, words) for name, words in _AMOUNTS.items())


def _bar(summary: OnAccelerator, name: str, words: str) -> ResourceBar:
    needed, there = summary.total(name), getattr(summary.part, name)
    whole = 1.02 * max(needed, there, 1)
    shares = [(group, sum(getattr(user, name) for user in summary.resources if user.group == group)) for group in _GROUPS]
    title = ", ".join(f"{user.name} {getattr(user, name):,}" for user in summary.resources if getattr(user, name))
    percents = tuple((group, 100 * n / whole) for group, n in shares)
    return ResourceBar(words, needed, there, percents, 100 * there / whole, title)
