"""Grids: what their points stand for."""

import numpy as np
import pytest

from silicut.accelerators.gemm.config import Memory
from silicut.accelerators.gemm.design import GRID, N3H_SPACE, config_of
from silicut.flows.board_memory import memory_of
from silicut.targets.parts import device_table


def test_points_are_builds():
    chance = np.random.default_rng(0)
    for space in (GRID, N3H_SPACE):
        for _ in range(20):
            point = space.random(chance)
            if point["dsp_outputs"] % point["dsp_passes"] == 0:
                config = config_of(point, Memory(n_ports=4), 2e8)
                assert config.lut.n_rows == point["lut_rows"]
                assert config.dsp.rhs_depth == point["dsp_rhs_depth"]
                assert (config.memory.n_ports, config.clock_hz) == (4, 2e8)


def test_the_second_grid_is_that_of_the_released_search():
    sizes = [len(parameter.levels) for parameter in N3H_SPACE.parameters if len(parameter.levels) > 1]
    assert sizes == [4, 50, 50, 50, 25, 4]


@pytest.mark.parametrize(
    ("bandwidth", "efficiency", "board", "expected"),
    [
        (None, 1.0, None, (2, 0, 0)),
        (None, 0.75, None, (2, 3, 1)),
        (4.2, 1.0, None, (6, 7, 1)),
        (None, 1.0, "pynq-z2", (4, 0, 0)),
        (0.4, 1.0, None, (1, 1, 1)),
    ],
)
def test_a_memory_carries_its_bandwidth(bandwidth, efficiency, board, expected):
    found = memory_of(100e6, board and device_table().board(board), bandwidth, efficiency)
    assert (found.n_ports, found.refresh_every, found.refresh_cycles) == expected
