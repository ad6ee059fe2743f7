"""What POST does with data: the maximum or the sum of windows."""

from __future__ import annotations

import numpy as np

from silicut.accelerators.gemm.program.post_instructions import Pool
from silicut.accelerators.gemm.program.queues import Unit
from silicut.accelerators.gemm.program.registers import Windows
from silicut.accelerators.gemm.simulate.machine import Machine, Sums
from silicut.accelerators.gemm.simulate.moves import Interval
from silicut.accelerators.gemm.simulate.rows import RowReader, pixel_runs


def pooled(pool: Pool, windows: Windows, machine: Machine, when: Interval) -> Sums:
    """Return the maximum or sum of each window, array (pixels, channels).

    Raises:
        Fault: a row was never written.
    """
    kernel, slab = windows.kernel, windows.slabs[pool.slab]
    reader = RowReader(machine.units[Unit.POST].features, windows, Unit.POST, when)
    channels = slice(pool.first_channel, pool.first_channel + pool.n_channels)
    values = np.zeros((pool.n_pixels, pool.n_channels), np.int64)
    for run in pixel_runs(pool.first_pixel, pool.n_pixels, windows.map.output_width):
        rows = [reader.seen(slab, run, i)[:, channels] for i in range(kernel.height)]
        taps = [row[j * kernel.dilation_x :: kernel.stride_x][: run.n] for row in rows for j in range(kernel.width)]
        seen = np.stack(taps).astype(np.int64)
        values[run.at : run.at + run.n] = seen.max(axis=0) if pool.is_max else seen.sum(axis=0)
    return values
