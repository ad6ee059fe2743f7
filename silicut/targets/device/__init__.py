"""What runs where the network runs: needs the standard library, numpy and the engine, and nothing of silicut.

A device kit carries this folder as it is, so its modules import each other relatively and nothing else of the package.
The engines of `silicut.targets` stand on the same modules: here and on a device the protocol is one.
"""
