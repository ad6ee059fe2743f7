"""Names of a package that are imported when they are first asked for, so that nobody waits for what is not used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def deferred(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose names lie in modules that are not imported yet.

    Args:
        package: its full name, `__name__` there.
        places: by name, the module below the package that holds it.

    Example:
        >>> names = deferred("silicut.records", {"Journal": "journal"})
        >>> names("Journal").__name__
        'Journal'
        >>> names("Diary")
        Traceback (most recent call last):
        AttributeError: module 'silicut.records' has no attribute 'Diary'
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{places[name]}"), name)

    return find
