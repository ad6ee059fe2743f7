"""Time of transfers, against beats counted one by one."""

import numpy as np
import pytest

from silicut.hardware import MemoryClock


def beat_by_beat(sizes, words_per_beat, refresh_every, refresh_cycles):
    n_beats, cycles = 0, []
    for n_words in sizes:
        taken, left = 0, n_words
        while left > 0:
            left, taken, n_beats = left - words_per_beat, taken + 1, n_beats + 1
            if refresh_every and n_beats % refresh_every == 0:
                taken += refresh_cycles
        cycles.append(taken)
    return cycles


@pytest.mark.parametrize("refresh", [(0, 0), (1, 4), (7, 3), (100, 11)])
def test_transfers_take_their_beats_and_pauses(refresh):
    sizes = np.random.default_rng(1).integers(0, 60, 200).tolist()
    for ports in (1, 2, 5):
        clock = MemoryClock(ports, *refresh)
        assert [clock.transfer_cycles(n) for n in sizes] == beat_by_beat(sizes, ports, *refresh)
