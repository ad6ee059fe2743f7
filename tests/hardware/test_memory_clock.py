"""Time of transfers, against beats counted one by one."""

import numpy as np
import pytest

from silicut.hardware import MemoryClock


def beat_by_beat(transfers, refresh_every, refresh_cycles):
    n_beats, cycles = 0, []
    for n in transfers:
        taken = 0
        for _ in range(n):
            taken, n_beats = taken + 1, n_beats + 1
            if refresh_every and n_beats % refresh_every == 0:
                taken += refresh_cycles
        cycles.append(taken)
    return cycles


@pytest.mark.parametrize("refresh", [(0, 0), (1, 4), (7, 3), (100, 11)])
def test_transfers_take_their_beats_and_pauses(refresh):
    transfers = np.random.default_rng(1).integers(0, 60, 200).tolist()
    clock = MemoryClock(*refresh)
    assert [clock.cycles(n) for n in transfers] == beat_by_beat(transfers, *refresh)
