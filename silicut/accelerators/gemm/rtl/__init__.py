"""The accelerator as hardware in Amaranth: the blocks that the simulator's arithmetic and latencies are mirrored by.

Cycles in the documentation of ports: "t" is the cycle in which an input is there; what a register takes in at t is seen at
t + 1. Outputs are registers unless it is said otherwise. Registers of data have no reset, those of control have.
"""

import silicut.hardware.rtl  # noqa: F401  # says which extra is missing
