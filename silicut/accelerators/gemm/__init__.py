"""A heterogeneous accelerator of matrix products: a bit-serial core of LUTs, a core of DSP slices, one instruction set."""
