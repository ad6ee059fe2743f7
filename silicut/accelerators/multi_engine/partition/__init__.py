"""Which engine executes which layers, and how large each is: the problem, dynamic programmes, moves for walks."""

from silicut.accelerators.multi_engine.partition.problem import Engine, Limits, Partition, PartitionProblem

__all__ = ["Engine", "Limits", "Partition", "PartitionProblem"]
