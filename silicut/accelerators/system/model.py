"""What a system should take, from sums alone: told apart from the simulator, which it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from silicut.accelerators.system.work import Accelerator


def bytes_per_image(accelerators: Sequence[Accelerator]) -> int:
    """Return the bytes that all accelerators move for each image."""
    return sum(task.n_bytes for accelerator in accelerators for task in accelerator.tasks)


def computed_epoch(accelerators: Sequence[Accelerator], bytes_per_cycle: Fraction | None = None) -> int:
    """Return cycles between two images that no system goes below: of the busiest accelerator, and of memory.

    Args:
        accelerators: that share the memory.
        bytes_per_cycle: that it moves; None for any number.
    """
    busiest = max(sum(task.cycles for task in accelerator.tasks) for accelerator in accelerators)
    if bytes_per_cycle is None:
        return busiest
    return max(busiest, -(-bytes_per_image(accelerators) * bytes_per_cycle.denominator // bytes_per_cycle.numerator))
