"""The exact time of a compiled network, as a recurrence over the steps of its schedule.

The simulator executes a program: instructions with tokens, registers, counters. The recurrence knows none of these. It
takes the loop nests of the schedules (how long a step keeps its unit busy: `durations`), the order of jobs in the six
queues and the addresses that each touches (who must wait for whom: `waits`), and adds up max-plus (`recurrence`). That both
arrive at the same cycle is a test of either.
"""

from silicut.accelerators.gemm.cost.exact.recurrence import ExactTime, exact_time

__all__ = ["ExactTime", "exact_time"]
