"""Time of an external memory: beats of a fixed width, and pauses for refresh."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class MemoryClock:
    """Counts the beats of a port, or of ports that are used together, over a run.

    Attributes:
        refresh_every: beats after which the memory pauses; 0 for never.
        refresh_cycles: length of a pause.
        n_beats: how many have passed since the last pause.

    Example:
        >>> clock = MemoryClock(refresh_every=10, refresh_cycles=3)
        >>> [clock.cycles(8) for _ in range(3)]
        [8, 11, 11]
    """

    refresh_every: int = 0
    refresh_cycles: int = 0
    n_beats: int = 0

    def cycles(self, n_beats: int) -> int:
        """Return how long some beats take, with a pause whenever one is due."""
        if not self.refresh_every:
            return n_beats
        n_pauses, self.n_beats = divmod(self.n_beats + n_beats, self.refresh_every)
        return n_beats + n_pauses * self.refresh_cycles
