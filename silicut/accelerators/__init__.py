"""Accelerators, one folder each, always with the same names: config, program, cost, compile, simulate."""
