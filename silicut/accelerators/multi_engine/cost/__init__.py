"""What engines cost: cycles, slices and blocks of memory, and bytes moved. Each is told once, from sizes alone."""
