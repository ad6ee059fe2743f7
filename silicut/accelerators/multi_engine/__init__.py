"""Several engines for convolutions, each shaped for some layers and at work on an image of its own (arXiv 1607.00064)."""
