"""Several accelerators of any kind on one memory, at work on different images: simulated, and computed to compare with."""

from silicut.accelerators.system.model import bytes_per_image, computed_epoch
from silicut.accelerators.system.schedule import Stages, stages
from silicut.accelerators.system.simulate import SystemRun, Waits, simulate
from silicut.accelerators.system.work import Accelerator, Step, Task

__all__ = [
    "Accelerator",
    "Stages",
    "Step",
    "SystemRun",
    "Task",
    "Waits",
    "bytes_per_image",
    "computed_epoch",
    "simulate",
    "stages",
]
