"""Time of an external memory: beats of a fixed width, pauses for refresh, latency that overlaps with what follows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class MemoryClock:
    """Counts beats over a run.

    Attributes:
        words_per_beat: words of 64 bits that one cycle carries.
        refresh_every: beats after which the memory pauses; 0 for never.
        refresh_cycles: length of a pause.
        n_beats: how many have passed since the last pause.

    Example:
        >>> clock = MemoryClock(words_per_beat=2, refresh_every=10, refresh_cycles=3)
        >>> [clock.transfer_cycles(15) for _ in range(3)]
        [8, 11, 11]
    """

    words_per_beat: int
    refresh_every: int = 0
    refresh_cycles: int = 0
    n_beats: int = 0

    def transfer_cycles(self, n_words: int) -> int:
        """Return how long a transfer of some words keeps the port: its beats, and a pause whenever one is due."""
        beats = -(-n_words // self.words_per_beat)
        if not self.refresh_every:
            return beats
        n_pauses, self.n_beats = divmod(self.n_beats + beats, self.refresh_every)
        return beats + n_pauses * self.refresh_cycles
