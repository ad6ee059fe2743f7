"""What is collected for doctests: modules in Amaranth only where it is installed."""

from importlib.util import find_spec

if find_spec("amaranth") is None:
    collect_ignore_glob = ["silicut/hardware/rtl/*", "silicut/accelerators/gemm/rtl/*"]
