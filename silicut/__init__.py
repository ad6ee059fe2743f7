"""Cut trained networks to fit the silicon they must run on."""

from silicut.version import __version__

__all__ = ["__version__"]
