"""The instruction of POST, which works on windows without multiplying by weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from silicut.accelerators.gemm.program.queues import Queue
from silicut.hardware import Instruction, unsigned


@dataclass(frozen=True, kw_only=True)
class Pool(Instruction):
    """Take the maximum or the sum of each window, for some channels of one slab.

    ::

        for i in range(n_pixels):
            y, x = divmod(first_pixel + i, output_width)
            for c in range(n_channels):
                taps = [element first_channel + c of the slab at each tap of window (y, x)]       # pad_value outside
                result(pixel first_pixel + i, channel output_channel + c) of max(taps) if is_max else sum(taps)

    The registers are those of the window units; `first_channel` counts from the slab's first element of a pixel. A window of
    one tap is a subsample, a requantisation or a function; with the step of set_residual on and that of set_requantise off
    it is the addition of two tensors.
    The unit reads vector_word_bits in a cycle: for each word of a pixel's channels it goes through the taps, while
    the lanes finish the word before. Time: POST_STARTUP_CYCLES, and for each pixel, with w = vector_word_bits / bits,

    ::

        n_channels // w words, each max(kernel.height * kernel.width, ceil(w / n_vector_lanes))
        if n_channels % w: max(kernel.height * kernel.width, ceil(n_channels % w / n_vector_lanes))
    """

    mnemonic: ClassVar[str] = "pool"

    queue: str = Queue.POST

    is_max: int = unsigned(1, "maximum, else sum")
    slab: int = unsigned(7, "of the table")
    first_channel: int = unsigned(15, "first channel of the slab")
    n_channels: int = unsigned(15, "channels")
    first_pixel: int = unsigned(20, "first output pixel")
    n_pixels: int = unsigned(13, "output pixels")
    output_channel: int = unsigned(15, "channel of the output slabs of the first one")
